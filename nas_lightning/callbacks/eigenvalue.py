"""How sharp the validation loss is in alpha."""

from typing import Any

import pytorch_lightning as pl
import torch

from nas_lightning.selection.eigenvalue import COLUMN, EVERY
from nas_lightning.streams import stream_seed
from nas_lightning.supernet.curvature import hessian_product, largest_eigenvalue
from nas_lightning.supernet.module import SupernetModule


class HessianEigenvalue(pl.Callback):
    """Logs `hessian_eigenvalue` after the first epoch, every second one from there, and the run's last (arXiv 1909.09656).

    The largest eigenvalue of the Hessian of the loss on the epoch's last validation batch, augmented, batch norms on its own
    statistics, with respect to the operations' alpha of all cell types, plus alpha's weight decay, as RobustDARTS' program
    has it; penalties of alpha are left out. In full precision under autocast too. By Lanczos' iteration, 10 to 30 backward
    passes where that program makes one for each of alpha's 56 to 224 entries. Nothing of the search moves by it.
    """

    def __init__(self) -> None:
        self._value: float | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._value = None
        trainer.callback_metrics.pop(COLUMN, None)  # else the next epoch's row would repeat it

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, SupernetModule)
        is_due = trainer.current_epoch % EVERY == 0 or trainer.current_epoch + 1 == trainer.max_epochs
        if is_due and batch_idx + 1 == trainer.num_training_batches:
            part = ("valid", *pl_module.bilevel.batches)[-1]  # what alpha follows
            decay = trainer.optimizers[1].param_groups[0].get("weight_decay", 0.0)
            self._value = decay + _largest(pl_module, batch[part], trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._value is not None:
            pl_module.log(COLUMN, self._value, logger=False)


def _largest(module: SupernetModule, batch: Any, epoch: int) -> float:
    device, seed = module.device, stream_seed(module.seed, epoch, COLUMN)
    # A supernet may draw noise: the epoch's stream goes on as if nothing had been measured.
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        product = hessian_product(module.halves, batch)
    size = sum(sum(map(sum, rows)) for rows in module.architecture.candidates.values())
    start_N = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return largest_eigenvalue(product, start_N)
