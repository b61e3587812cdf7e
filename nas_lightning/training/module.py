"""The training of a found architecture from scratch, as a LightningModule."""

from typing import Literal

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torchvision.ops import StochasticDepth

from nas_lightning.errors import UserError, is_number
from nas_lightning.meters import Means
from nas_lightning.optimizers.base import OptimizerFactory, SchedulerFactory
from nas_lightning.streams import epoch_seed

Batch = tuple[Tensor, Tensor]


class NetworkModule(pl.LightningModule):
    """Ordinary training of one network from scratch. A batch is (x [B, 3, H, W], y [B]).

    validates: what the validation loop's images are, and the columns of metrics.csv begin with: "test" or "validation".

    label_smoothing: share of the label's weight that is spread over all classes, in [0, 1); in training only.
    auxiliary_weight: of the auxiliary head's loss, where the network has such a head.
    drop_path: probability at the end of training that an edge's output is left out for an image, in [0, 1); it grows
        linearly, drop_path * epoch / epochs.
    class_weights: float [classes], of each class in the training's losses; None for 1.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        seed: int = 0,
        label_smoothing: float = 0.0,
        auxiliary_weight: float = 0.0,
        drop_path: float = 0.0,
        class_weights: Tensor | None = None,
        validates: Literal["test", "validation"] = "test",
    ) -> None:
        super().__init__()
        for key, value in (("label_smoothing", label_smoothing), ("drop_path", drop_path)):
            if not (is_number(value) and 0 <= value < 1):
                raise UserError(f"recipe.{key} must be at least 0 and below 1, got {value!r}.")
        if not (is_number(auxiliary_weight) and auxiliary_weight >= 0):
            raise UserError(f"recipe.auxiliary_weight must be 0 or more, got {auxiliary_weight!r}.")
        self.network = network
        self.seed = seed
        self.label_smoothing = label_smoothing
        self.auxiliary_weight = auxiliary_weight
        self.drop_path = drop_path
        self.register_buffer("class_weights", class_weights, persistent=False)  # of the images, not of the network
        self._factories = optimizer, scheduler
        self.train_means, self.validation_means = Means("train"), Means(validates)

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[LRScheduler]]:
        optimizer_factory, scheduler_factory = self._factories
        optimizer = optimizer_factory(self.network.parameters())
        return [optimizer], [] if scheduler_factory is None else [scheduler_factory(optimizer)]

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(epoch_seed(self.seed, self.current_epoch))
        if not self.drop_path:  # networks of other origin have probabilities of their own
            return
        probability = self.drop_path * self.current_epoch / (self.trainer.max_epochs or 1)
        for module in self.network.modules():
            if isinstance(module, StochasticDepth):
                module.p = probability

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, logits = self.loss(batch)
        self.train_means.update(loss, logits, batch[1])
        if self.trainer.is_last_batch:
            self.train_means.log(self)
            rate = self.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
            self.log("lr", rate, on_step=False, on_epoch=True, logger=False)
        return loss

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(what is minimised, logits), in training mode."""
        x, y = batch
        output = self.network(x)
        logits, auxiliary = output if isinstance(output, tuple) else (output, None)
        loss = self._loss(logits, y)
        if auxiliary is not None:
            loss = loss + self.auxiliary_weight * self._loss(auxiliary, y)
        return loss, logits

    def _loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(logits, y, self.class_weights, label_smoothing=self.label_smoothing)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        x, y = batch
        logits = self.network(x)
        self.validation_means.update(F.cross_entropy(logits, y), logits, y)
        self.validation_means.log(self)

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """(predicted class [B], its true one [B])."""
        x, y = batch
        return self.network(x).argmax(1), y
