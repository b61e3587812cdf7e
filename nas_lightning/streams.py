"""Where random numbers come from: every stream follows from the run's seed, the epoch and what it is for."""

import hashlib


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of the global generator in an epoch, so that an interrupted run goes on as if it had not been."""
    return seed * 1_000_003 + epoch


def stream_seed(seed: int, epoch: int, role: str) -> int:
    """A 63-bit seed for the random stream of one role in one epoch; streams of other arguments are unrelated."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{role}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
