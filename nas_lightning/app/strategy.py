"""How the processes of one search on several devices of a machine start."""

import logging
import multiprocessing
import os
import sys
import threading

from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torchmetrics import Metric

from nas_lightning.app.quiet import quiet_libraries


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
