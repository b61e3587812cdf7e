"""The weights of a training's best epoch, kept until it ends."""

from typing import Any

import pytorch_lightning as pl
from torch import Tensor


class BestWeights(pl.Callback):
    """Keeps the module's state of the epoch with the largest `metric`, of the first of equal ones, on the CPU.

    The checkpoint has it: a run that goes on keeps what an uninterrupted one does, and no file can lag behind another.

    epoch: counted from 0, -1 before the first one's end. value: its metric.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.epoch, self.value = -1, -float("inf")
        self.weights: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        value = float(trainer.callback_metrics[self.metric])
        if value > self.value:
            self.epoch, self.value = trainer.current_epoch, value
            self.weights = {name: each.detach().to("cpu", copy=True) for name, each in pl_module.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "value": self.value, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epoch, self.value, self.weights = (state_dict[name] for name in ("epoch", "value", "weights"))
