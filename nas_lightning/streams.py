"""Where random numbers come from: every stream follows from the run's seed, the epoch and what it is for."""

import hashlib


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Seed of a rank's global generator in an epoch, so that an interrupted run goes on as if it had not been."""
    return stream_seed(seed, epoch, f"rank/{rank}") if rank else seed * 1_000_003 + epoch


def stream_seed(seed: int, epoch: int, role: str) -> int:
    """A 63-bit seed for the random stream of one role in one epoch; streams of other arguments are unrelated."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{role}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
