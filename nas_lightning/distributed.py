"""One search on several devices of a machine: how its processes start, and how their gradients become one."""

import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterable

import torch
import torch.distributed
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torchmetrics import Metric

from nas_lightning.quiet import quiet_libraries


class AveragedGradients(DDPStrategy):
    """Lightning's processes and collectives without DistributedDataParallel: a module averages its own gradients.

    DistributedDataParallel expects one backward pass a step through the same parameters each time. A search has two; that of
    alpha is `autograd.grad`, which it does not see, so alpha comes apart without a word; and it stops at the weights of
    operations that are left out, which get no gradient, unless it walks the graph in every step. `mean_over_ranks_` after
    each half step has neither trouble. What it gives up, sending while the backward pass still runs, is worth little: a
    supernet has few weights for its work.

    Each process is spawned by the one that the user started. That one has read the configuration and the images (which
    all share in memory on a CPU), and it alone writes the report, so that a search on several devices is one job of a
    sweep too, under every launcher. Parameters are equal at the start, for they are copies of one process's.
    """

    def __init__(self) -> None:
        # Lightning would leave the start of the processes to SLURM inside one of its jobs.
        super().__init__(cluster_environment=LightningEnvironment(), start_method="spawn")

    def setup_environment(self) -> None:
        """In each new process, which knows nothing of how this program logs: rank 0 speaks for all."""
        threading.Thread(target=_end_with_the_program, daemon=True).start()
        quiet_libraries()
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
        if self.local_rank:
            logging.disable(logging.WARNING)
        super().setup_environment()

    def configure_ddp(self) -> None:
        """Leave the module as it is, but for the sums of its metrics: they came in memory that the processes share."""
        assert self.lightning_module is not None
        for module in self.lightning_module.modules():
            if isinstance(module, Metric):
                module.reset()


def _end_with_the_program() -> None:
    """One that is killed must not leave processes behind that write into a folder where the next launch goes on."""
    program = multiprocessing.parent_process()
    assert program is not None
    program.join()
    os._exit(1)


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
