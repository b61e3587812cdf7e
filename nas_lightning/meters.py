"""Means over the images of an epoch, kept on the device."""

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import Metric


class _Mean(Metric):
    """Mean over images, from the means of batches and their sizes; over all ranks.

    torchmetrics' MeanMetric either waits for the device to look for nan or, with nan_strategy="disable", forgets the sizes.
    """

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, mean: Tensor, size: int) -> None:
        self.total += mean * size
        self.count += size

    def compute(self) -> Tensor:
        return self.total / self.count


class Means(nn.Module):
    """Mean loss and accuracy (a fraction) over an epoch, kept on the device: a step never waits for the host."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.loss, self.accuracy = _Mean(), _Mean()

    def update(self, loss: Tensor, logits: Tensor, y: Tensor) -> None:
        """logits: [B, K], or [M, B, K] of M passes, whose accuracy is their mean."""
        self.loss.update(loss.detach(), len(y))
        self.accuracy.update((logits.detach().argmax(-1) == y).float().mean(), len(y))

    def log(self, module: pl.LightningModule) -> None:
        """Hand both to Lightning, which takes their value at the epoch's end and resets them.

        Not to the loggers: MetricsFile gives them the whole epoch at once, with the epoch as the step.
        """
        values = {f"{self.name}_loss": self.loss, f"{self.name}_accuracy": self.accuracy}
        module.log_dict(values, on_step=False, on_epoch=True, logger=False)
