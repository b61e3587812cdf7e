"""A search on several devices of a machine: how their gradients become one."""

from collections.abc import Iterable

import torch
import torch.distributed
from torch import Tensor


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def mean_over_ranks_(tensors: Iterable[Tensor | None]) -> None:
    """Replace each tensor by its mean over the ranks, the same bits on all of them; one rank alone changes nothing.

    All of them travel as one flat tensor. None, a gradient that nothing led to, must be None on every rank.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    if not given or not _is_distributed():
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in given])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    for tensor, mean in zip(given, flat.split([tensor.numel() for tensor in given]), strict=True):
        tensor.copy_(mean.view(tensor.shape))


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of what each rank has; every rank gets it."""
    if not _is_distributed():
        return tensor
    total = tensor.clone()
    torch.distributed.all_reduce(total)
    return total


def equal_on_all_ranks(tensors: Iterable[Tensor]) -> bool:
    """Whether each tensor has the same bits on all ranks; every rank gets the same answer."""
    if not _is_distributed():
        return True
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    first = flat.clone()
    torch.distributed.broadcast(first, src=0)
    differing = (flat != first).any().float()
    torch.distributed.all_reduce(differing)
    return differing.item() == 0
