"""LightningModules: the search of an architecture, and the training of a found one from scratch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric
from torchvision.ops import StochasticDepth

from nas_lightning.architecture import Architecture
from nas_lightning.bilevel import FirstOrder
from nas_lightning.errors import UserError
from nas_lightning.genotype import Genotype
from nas_lightning.relaxations import Relaxation
from nas_lightning.spaces import SearchSpace

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
SchedulerFactory = Callable[[torch.optim.Optimizer], LRScheduler]
Batch = tuple[Tensor, Tensor]


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of the global generator in an epoch, so that an interrupted run goes on as if it had not been."""
    return seed * 1_000_003 + epoch


@dataclass(frozen=True)
class ArchClip:
    """Clipping of alpha's gradient, sn term included: EDD's variant "clip" (arXiv 2306.06855, table 1).

    mode: "none", "norm" (L2 norm over all of alpha) or "value" (each entry). The paper names no value; 5 is the only
    clip value in the authors' programs.
    """

    mode: Literal["none", "norm", "value"] = "none"
    value: float = 5.0

    def __post_init__(self) -> None:
        if self.mode not in ("none", "norm", "value"):
            raise UserError(f"model.arch_clip.mode must be none, norm or value, got {self.mode!r}.")
        if not self.value > 0:
            raise UserError(f"model.arch_clip.value must be positive, got {self.value!r}.")

    def __call__(self, alphas: list[nn.Parameter]) -> None:
        if self.mode == "norm":
            nn.utils.clip_grad_norm_(alphas, self.value)
        elif self.mode == "value":
            nn.utils.clip_grad_value_(alphas, self.value)


class _Means(nn.Module):
    """Mean loss and accuracy (a fraction) over an epoch, kept on the device: a step never waits for the host."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.loss = MeanMetric(nan_strategy="disable")
        self.accuracy = MeanMetric(nan_strategy="disable")

    def update(self, loss: Tensor, logits: Tensor, y: Tensor) -> None:
        self.loss.update(loss.detach(), len(y))
        self.accuracy.update((logits.detach().argmax(1) == y).float().mean(), len(y))

    def log(self, module: pl.LightningModule) -> None:
        """Hand both to Lightning, which takes their value at the epoch's end and resets them.

        Not to the loggers: MetricsFile gives them the whole epoch at once, with the epoch as the step.
        """
        values = {f"{self.name}_loss": self.loss, f"{self.name}_accuracy": self.accuracy}
        module.log_dict(values, on_step=False, on_epoch=True, logger=False)


class SupernetModule(pl.LightningModule):
    """Search by bilevel optimisation: the weights on the training half, alpha on the validation half.

    A batch is {"train": (x, y), "valid": (x, y)} with x [B, 3, H, W] float and y [B] class indices. Optimisation is
    manual, in the order `bilevel` says; the learning rate changes once an epoch. Each epoch's validation loop measures
    the discretised supernet: weight 1 on the operations of the derived architecture, nothing else.

    weight_clip: largest L2 norm of the weights' gradient, None for no clipping.
    weight_clip_includes_arch: count alpha's gradient in that norm (the last architecture step's plus what the weight
        loss adds), as NAS-Bench-201's programs do; at small temperatures it can dominate and shrink the weight step.
    seed: of the initial alpha, and with the epoch of everything random in an epoch.
    """

    def __init__(
        self,
        space: SearchSpace,
        relaxation: Relaxation,
        num_classes: int,
        weight_optimizer: OptimizerFactory,
        arch_optimizer: OptimizerFactory,
        weight_scheduler: SchedulerFactory | None = None,
        bilevel: FirstOrder | None = None,
        weight_clip: float | None = 5.0,
        weight_clip_includes_arch: bool = False,
        arch_clip: ArchClip | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if weight_clip is not None and not weight_clip > 0:
            raise UserError(f"model.weight_clip must be positive, or null for no clipping, got {weight_clip!r}.")
        self.automatic_optimization = False
        self.space = space
        self.bilevel = bilevel or FirstOrder()
        self.weight_clip = weight_clip
        self.weight_clip_includes_arch = weight_clip_includes_arch
        self.arch_clip = arch_clip or ArchClip()
        self.seed = seed
        self._factories = weight_optimizer, arch_optimizer, weight_scheduler
        self.architecture = Architecture(space.cells, relaxation, torch.Generator().manual_seed(seed))
        self.supernet = space.supernet(num_classes)
        self.train_means, self.valid_means, self.discrete_means = _Means("train"), _Means("valid"), _Means("discrete")

    def genotype(self) -> Genotype:
        """The architecture alpha stands for now."""
        return self.space.derive(self.architecture.scores())

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[LRScheduler]]:
        weight_factory, arch_factory, scheduler_factory = self._factories
        optimizers = [weight_factory(self.supernet.parameters()), arch_factory(self.architecture.parameters())]
        return optimizers, [] if scheduler_factory is None else [scheduler_factory(optimizers[0])]

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(epoch_seed(self.seed, self.current_epoch))

    def training_step(self, batch: dict[str, Batch], batch_idx: int) -> None:
        if self.bilevel.order == "weights_first":
            self._weight_step(*batch["train"])
            self._arch_step(*batch["valid"])
        else:
            self._arch_step(*batch["valid"])
            self._weight_step(*batch["train"])
        if self.trainer.is_last_batch:  # logging costs more than a small step, and only the epoch's value is wanted
            self.train_means.log(self)
            self.valid_means.log(self)
            rate = self.optimizers()[0].param_groups[0]["lr"]  # type: ignore[index]
            self.log("weight_lr", rate, on_step=False, on_epoch=True, logger=False)

    def _weight_step(self, x: Tensor, y: Tensor) -> None:
        optimizer = self.optimizers()[0]  # type: ignore[index]
        optimizer.zero_grad()
        edges = self.architecture.relaxed() if self.weight_clip_includes_arch else self.architecture.constant()
        logits = self.supernet(x, edges)
        loss = F.cross_entropy(logits, y)
        self.manual_backward(loss)
        weights = list(self.supernet.parameters())
        for weight in weights:
            if weight.grad is None:  # left out at beta 0: the gradient is 0, and momentum and weight decay still act
                weight.grad = torch.zeros_like(weight)
        if self.weight_clip is not None:
            clipped = weights + list(self.architecture.parameters()) if self.weight_clip_includes_arch else weights
            nn.utils.clip_grad_norm_(clipped, self.weight_clip)
        optimizer.step()
        self.train_means.update(loss, logits, y)

    def _arch_step(self, x: Tensor, y: Tensor) -> None:
        optimizer = self.optimizers()[1]  # type: ignore[index]
        alphas = list(self.architecture.parameters())
        logits = self.supernet(x, self.architecture.relaxed())
        loss = F.cross_entropy(logits, y)
        for alpha, gradient in zip(alphas, self.bilevel.alpha_gradients(loss, alphas), strict=True):
            alpha.grad = self.trainer.strategy.reduce(gradient, reduce_op="mean")
        self.arch_clip(alphas)
        optimizer.step()
        self.valid_means.update(loss, logits, y)

    def on_train_epoch_end(self) -> None:
        scheduler = self.lr_schedulers()
        if scheduler is not None:
            scheduler.step()  # type: ignore[union-attr]

    def on_validation_epoch_start(self) -> None:
        self._discrete = self.architecture.one_hot(self.genotype())

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        x, y = batch
        logits = self.supernet(x, self._discrete)
        self.discrete_means.update(F.cross_entropy(logits, y), logits, y)
        self.discrete_means.log(self)


class NetworkModule(pl.LightningModule):
    """Ordinary training of one network from scratch. A batch is (x [B, 3, H, W], y [B]); validation is the test split.

    label_smoothing: share of the label's weight that is spread over all classes, in [0, 1); in training only.
    auxiliary_weight: of the auxiliary head's loss, where the network has such a head.
    drop_path: probability at the end of training that an edge's output is left out for an image, in [0, 1); it grows
        linearly, drop_path * epoch / epochs.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        seed: int = 0,
        label_smoothing: float = 0.0,
        auxiliary_weight: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        for key, value in (("label_smoothing", label_smoothing), ("drop_path", drop_path)):
            if isinstance(value, str | bool) or not 0 <= value < 1:
                raise UserError(f"recipe.{key} must be at least 0 and below 1, got {value!r}.")
        if isinstance(auxiliary_weight, str | bool) or not auxiliary_weight >= 0:
            raise UserError(f"recipe.auxiliary_weight must be 0 or more, got {auxiliary_weight!r}.")
        self.network = network
        self.seed = seed
        self.label_smoothing = label_smoothing
        self.auxiliary_weight = auxiliary_weight
        self.drop_path = drop_path
        self._factories = optimizer, scheduler
        self.train_means, self.test_means = _Means("train"), _Means("test")

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[LRScheduler]]:
        optimizer_factory, scheduler_factory = self._factories
        optimizer = optimizer_factory(self.network.parameters())
        return [optimizer], [] if scheduler_factory is None else [scheduler_factory(optimizer)]

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(epoch_seed(self.seed, self.current_epoch))
        probability = self.drop_path * self.current_epoch / (self.trainer.max_epochs or 1)
        for module in self.network.modules():
            if isinstance(module, StochasticDepth):
                module.p = probability

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        x, y = batch
        output = self.network(x)
        logits, auxiliary = output if isinstance(output, tuple) else (output, None)
        loss = F.cross_entropy(logits, y, label_smoothing=self.label_smoothing)
        if auxiliary is not None:
            loss = loss + self.auxiliary_weight * F.cross_entropy(auxiliary, y, label_smoothing=self.label_smoothing)
        self.train_means.update(loss, logits, y)
        if self.trainer.is_last_batch:
            self.train_means.log(self)
            rate = self.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
            self.log("lr", rate, on_step=False, on_epoch=True, logger=False)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        x, y = batch
        logits = self.network(x)
        self.test_means.update(F.cross_entropy(logits, y), logits, y)
        self.test_means.log(self)
