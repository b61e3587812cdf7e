"""What pulls at alpha."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from nas_lightning.callbacks.architecture import by_entry
from nas_lightning.supernet.module import SupernetModule


class AlphaGradients(pl.Callback):
    """Logs `alpha_gradient/<cell>/<edge>/<operation>`: the loss's gradient in alpha, mean over an epoch's architecture steps.

    As alpha's optimiser gets it, clipped where `model.arch_clip` clips: what is negative is pushed up. The temperature moves
    between epochs, so that the rows before and after an update show what it does to the gradient, which grows with 1 / t.
    An epoch in which alpha rests has no values. Nothing of the search moves by it.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._sums, self._steps = {}, 0

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        assert isinstance(pl_module, SupernetModule)
        if optimizer is not trainer.optimizers[1]:
            return
        self._steps += 1
        for name, alpha in pl_module.architecture.alpha.items():
            gradient: Any = alpha.grad
            self._sums[name] = gradient.double() + self._sums.get(name, 0.0)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SupernetModule)
        if self._steps:
            means = {name: total / self._steps for name, total in self._sums.items()}
            pl_module.log_dict(by_entry("alpha_gradient", means, pl_module.architecture), logger=False)
