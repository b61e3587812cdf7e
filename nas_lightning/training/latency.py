"""How long a network takes for one image on this machine."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median

import torch
from torch import nn

WORDS = "median of single images in turns, CPU, one thread"

_WARM_UP, _FEWEST, _MOST = 3, 5, 50
_SECONDS = 10.0  # for all networks together, unless the fewest rounds take longer


def latencies(networks: Mapping[str, nn.Module], side: int) -> dict[str, float]:
    """Milliseconds of each network for one image of `side` pixels, as WORDS says: 50 rounds, fewer where these take long.

    They take turns, so that what else the machine does meets all alike. The networks are on the CPU and in eval mode then.
    """
    image = torch.zeros(1, 3, side, side)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    with one_thread():
        begin = time.perf_counter()
        for number in range(_WARM_UP + _MOST):
            if number >= _WARM_UP + _FEWEST and time.perf_counter() - begin > _SECONDS:
                break
            for name, network in networks.items():
                taken = _seconds(network, image)
                if number >= _WARM_UP:
                    seconds[name].append(taken)
    return {name: 1e3 * median(each) for name, each in seconds.items()}


@contextmanager
def one_thread() -> Iterator[None]:
    """What PyTorch computes meanwhile takes one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.inference_mode()
def _seconds(network: nn.Module, image: torch.Tensor) -> float:
    network.cpu().eval()
    start = time.perf_counter()
    network(image)
    return time.perf_counter() - start
