"""The search of an architecture as a LightningModule."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from nas_lightning.bilevel.base import Batch, Bilevel, Outputs
from nas_lightning.bilevel.first_order import FirstOrder
from nas_lightning.derive.base import DeriveRule, derived
from nas_lightning.errors import UserError, brief, check_flag, is_number
from nas_lightning.genotypes.base import Genotype
from nas_lightning.meters import Means
from nas_lightning.optimizers.base import ArchOptimizerFactory, OptimizerFactory, SchedulerFactory
from nas_lightning.optimizers.clip import ArchClip, JointClip
from nas_lightning.optimizers.lookahead import SgdLookahead
from nas_lightning.penalties.base import Penalty
from nas_lightning.perturbations.base import Perturbation
from nas_lightning.relaxations import Relaxation
from nas_lightning.schedules.base import is_start, whole_epochs
from nas_lightning.spaces import SearchSpace
from nas_lightning.spaces.widening import Widening, widen
from nas_lightning.streams import epoch_seed, stream_seed
from nas_lightning.supernet.architecture import Architecture
from nas_lightning.supernet.compatible import check_arch_optimizer, check_derive, check_penalty_fits, check_step
from nas_lightning.supernet.contracts import check_bilevel, check_penalty, check_perturbation, check_relaxation
from nas_lightning.supernet.discretise import discretisation
from nas_lightning.supernet.halves import HalfSteps
from nas_lightning.supernet.ranks import equal_on_all_ranks, mean_over_ranks_
from nas_lightning.supernet.runner import StepRunner
from nas_lightning.supernet.skipping import step_bound


class SupernetModule(pl.LightningModule):
    """Search by bilevel optimisation: the weights on the training half, alpha on the validation half.

    A batch is {"train": (x, y), "valid": (x, y)} with x [B, 3, H, W] float and y [B] class indices. Optimisation is
    manual, in the order `bilevel` says; the learning rate changes once an epoch. Each epoch's validation loop measures
    the discretised supernet: weight 1 on the operations of the derived architecture, nothing else, unless `discretise`
    says otherwise.

    relaxation, bilevel, penalty, perturbation: what the half steps are, see their folders. derive: the rule by which
        architectures are derived, the space's own unless given.
    weight_clip: largest L2 norm of the weights' gradient, None for no clipping.
    weight_clip_includes_arch: count alpha's gradient in that norm (the last architecture step's plus what the weight
        loss adds, see `JointClip`), as NAS-Bench-201's programs do; at small temperatures it dominates and shrinks the
        weight step.
    arch_start: epochs (int) or fraction of the run (float) in which only the weights are trained: alpha's first step comes
        after them (PC-DARTS: 15 of 50).
    discretise: what the discretised accuracy is measured on: `derived`, or as programs of others do, `cold` and
        `gaea_artefact` (supernet/discretise.py).
    seed: of the initial alpha, and with the epoch of everything random in an epoch.

    On several ranks each half step's gradient is the mean of theirs; batch norms use the statistics of a rank's own batch, and
    running ones, where the supernet keeps some, become the mean of the ranks' after each half step. What is drawn in a step
    (S4's noise) is the same on every rank, but for drop path's masks, which belong to images.

    class_weights: float [classes], of each class in both losses and the discretised one; None for 1.
    graphs: replay both half steps as CUDA graphs. compile: compile the cells with torch.compile; all candidates are then
        computed in every step, for each set of operations would be compiled anew. Where either cannot be had, one
        sentence says so and the run goes on eagerly.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        space: SearchSpace,
        relaxation: Relaxation,
        num_classes: int,
        weight_optimizer: OptimizerFactory,
        arch_optimizer: ArchOptimizerFactory,
        weight_scheduler: SchedulerFactory | None = None,
        bilevel: Bilevel | None = None,
        penalty: Penalty | None = None,
        perturbation: Perturbation | None = None,
        derive: DeriveRule | None = None,
        weight_clip: float | None = 5.0,
        weight_clip_includes_arch: bool = False,
        arch_clip: ArchClip | None = None,
        arch_start: int | float = 0,
        discretise: str = "derived",
        seed: int = 0,
        graphs: bool = False,
        compile: bool = False,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        for key, flag in (("trainer.graphs", graphs), ("trainer.compile", compile)):
            check_flag(key, flag)
        if weight_clip is not None and not (is_number(weight_clip) and weight_clip > 0):
            raise UserError(f"model.weight_clip must be positive, or null for no clipping, got {weight_clip!r}.")
        if not is_start(arch_start):
            raise UserError(f"model.arch_start must be a number of epochs or a fraction below 1, got {arch_start!r}.")
        self.automatic_optimization = False
        self.space = space
        self.rule = derive or space.rule
        self.bilevel: Bilevel = bilevel or FirstOrder()
        self.weight_clip = weight_clip
        self.arch_clip = arch_clip or ArchClip()
        self.arch_start = arch_start
        self.discretise = discretisation(discretise)
        self.seed = seed
        self._factories = weight_optimizer, arch_optimizer, weight_scheduler
        self.architecture = Architecture(space.cells, relaxation, torch.Generator().manual_seed(seed))
        self.supernet = space.supernet(num_classes)
        self.register_buffer("class_weights", class_weights, persistent=False)  # of the images, not of the search
        self.penalty = penalty  # one that holds tensors is a module: they are on the device, and in the checkpoint
        self.halves = HalfSteps(self.architecture, self.supernet, penalty, perturbation, class_weights)
        joint = weight_clip_includes_arch and weight_clip is not None
        self.joint_clip = JointClip(self.halves.alphas()) if joint else None
        self.halves.skipping.dense |= joint
        self.runner = StepRunner(self.halves, graphs, compile)
        self.alpha_rests = False  # in a stage, see `callbacks.Decisions`
        self.partial: Tensor | None
        self.register_buffer("partial", None)  # int64 [] once operations have become wider, and then in checkpoints
        self.train_means, self.valid_means, self.discrete_means = Means("train"), Means("valid"), Means("discrete")
        check_relaxation(self.architecture.view())
        check_penalty(self.halves)
        check_perturbation(self.halves)
        check_bilevel(self.bilevel)
        check_step(self.halves, self.bilevel, graphs, weight_clip_includes_arch)
        check_penalty_fits(self.architecture, penalty)
        check_derive(space, self.rule, self.halves)

    def genotype(self) -> Genotype:
        """The architecture alpha stands for now."""
        return derived(self.space.name, self.rule, self.architecture.snapshot())

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[LRScheduler]]:
        weight_factory, arch_factory, scheduler_factory = self._factories
        optimizers = [
            _made("model.weight_optimizer", weight_factory, self.supernet.parameters()),
            _made("arch_optimizer (by default of protocol.adam)", arch_factory, self.architecture.parameter_groups()),
        ]
        check_arch_optimizer(self.architecture, optimizers[1])
        if self.bilevel.looks_ahead:
            SgdLookahead(lambda: optimizers[0]).check()
        return optimizers, [] if scheduler_factory is None else [scheduler_factory(optimizers[0])]

    def widen(self, partial: int) -> None:
        """Let the operations act on 1/partial of the channels, more than before, from now on: see `spaces.widening`."""
        widening = Widening(torch.Generator().manual_seed(stream_seed(self.seed, self.current_epoch, "widening")))
        widen(self.supernet.cells(), partial, widening)  # type: ignore[operator]
        widening.follow(self._weight_optimizer())
        self.partial = torch.tensor(partial, device=self.device)
        self.architecture.version += 1  # what was captured for narrower operations is of no use

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Also that of operations which have become wider, before there is an optimiser: their weights must find room.

        Lightning loads checkpoints by it, and of a run on several devices what its processes have ended with.
        """
        if self.partial is None and (partial := state_dict.get("partial")) is not None:
            widen(self.supernet.cells(), int(partial), Widening(torch.Generator()))  # type: ignore[operator]
            self.partial = partial.clone()
        return super().load_state_dict(state_dict, strict, assign)

    def on_fit_start(self) -> None:
        self.halves.class_weights = self.class_weights  # on the device by now
        self.runner.start(self.device)

    def on_train_epoch_start(self) -> None:
        """After the callbacks, which may have moved the temperature or narrowed the masks."""
        torch.manual_seed(epoch_seed(self.seed, self.current_epoch, self.trainer.global_rank))
        self.architecture.set_progress(self.current_epoch / (self.trainer.max_epochs or 1))
        self.halves.skipping.restart(step_bound(self._arch_optimizer()))

    def training_step(self, batch: dict[str, Batch], batch_idx: int) -> None:
        trains_alpha = self._trains_alpha()
        if trains_alpha and self.bilevel.order == "arch_first":
            self._arch_step(batch, batch_idx)
        self._weight_step(batch["train"], batch_idx)
        if trains_alpha and self.bilevel.order == "weights_first":
            self._arch_step(batch, batch_idx)
        if self.trainer.is_last_batch:  # logging costs more than a small step, and only the epoch's value is wanted
            self.train_means.log(self)
            if trains_alpha:
                self.valid_means.log(self)
            rate = self.optimizers()[0].param_groups[0]["lr"]  # type: ignore[index]
            share = self.halves.skipping.share
            self.log_dict({"weight_lr": rate, "operations_computed": share}, on_step=False, on_epoch=True, logger=False)

    def _trains_alpha(self) -> bool:
        assert self.trainer.max_epochs is not None
        has_step = bool(self.bilevel.batches) and not self.alpha_rests
        return has_step and self.current_epoch >= whole_epochs(self.arch_start, self.trainer.max_epochs)

    def _weight_optimizer(self) -> torch.optim.Optimizer:
        return self.optimizers()[0].optimizer  # type: ignore[index]

    def _arch_optimizer(self) -> torch.optim.Optimizer:
        return self.optimizers()[1].optimizer  # type: ignore[index]

    def draw(self, step: int, for_weights: bool) -> dict[str, Tensor]:
        """What is random in a half step, from a stream of its own: the same on every rank, in an interrupted run too."""
        role = f"{'weights' if for_weights else 'alpha'}/{step}"
        generator = torch.Generator(self.device).manual_seed(stream_seed(self.seed, self.current_epoch, role))
        return self.halves.draw(generator, for_weights)

    def draw_drop_path(self, step: int, half: str, images: int) -> dict[str, Tensor]:
        """Drop path's masks for a rank's `images`, from a stream of their own: what else is drawn does not depend on them.

        As the images are: drawn for the batches of all ranks together, of which each rank takes its part in turn.
        """
        if not self.architecture.drops_paths:
            return {}
        seed = stream_seed(self.seed, self.current_epoch, f"drop_path/{half}/{step}")
        generator = torch.Generator(self.device).manual_seed(seed)
        own = slice(self.global_rank * images, (self.global_rank + 1) * images)
        return self.halves.draw_drop_path(generator, self.trainer.world_size * images, own)

    def _weight_step(self, batch: Batch, step: int) -> None:
        drawn = self.draw(step, for_weights=True) | self.draw_drop_path(step, "weights", len(batch[0]))
        weights = list(self.supernet.parameters())
        loss, logits, *gradients = self.half_step("weights", {"train": batch}, drawn)
        mean_over_ranks_([*gradients, *self.halves.statistics()])
        of_weights, of_alpha = gradients[: len(weights)], gradients[len(weights) :]
        for weight, gradient in zip(weights, of_weights, strict=True):
            # Left out: the gradient is 0, and momentum and weight decay still act.
            weight.grad = torch.zeros_like(weight) if gradient is None else gradient
        if self.joint_clip is not None:
            self.joint_clip(weights, self.halves.alphas(), of_alpha, self.weight_clip)
        elif self.weight_clip is not None:
            nn.utils.clip_grad_norm_(weights, self.weight_clip)
        self.optimizers()[0].step()  # type: ignore[index]
        self.halves.skipping.count(drawn)
        self.train_means.update(loss, logits, batch[1])

    def _arch_step(self, batch: dict[str, Batch], step: int) -> None:
        alphas = self.halves.alphas()
        batches = {part: batch[part] for part in self.bilevel.batches}
        images = max(len(x) for x, _ in batches.values())
        drawn = self.draw(step, for_weights=False) | self.draw_drop_path(step, "alpha", images)
        loss, logits, *gradients = self.half_step("alpha", batches, drawn)
        mean_over_ranks_([*gradients, *self.halves.statistics()])
        for alpha, gradient in zip(alphas, gradients, strict=True):
            alpha.grad = gradient
        self.arch_clip(alphas)
        if self.joint_clip is not None:
            self.joint_clip.keep(alphas)
        with self.architecture.decided_at_rest():
            self.optimizers()[1].step()  # type: ignore[index]
        self.halves.skipping.follow(step_bound(self._arch_optimizer()))
        self.valid_means.update(loss, logits, batches[self.bilevel.batches[-1]][1])

    def gradients(self, half: str, batches: dict[str, Batch], drawn: dict[str, Tensor]) -> Outputs:
        """(loss, logits, the gradients) of the half step "weights" or "alpha" on this rank's batch."""
        if half == "weights":
            return self.halves.weight_gradients(batches["train"], drawn, self.joint_clip is not None)
        outputs = self.bilevel.alpha_gradients(self.halves, batches, drawn, SgdLookahead(self._weight_optimizer))
        wanted = 2 + len(self.halves.alphas())
        if not isinstance(outputs, tuple) or len(outputs) != wanted:
            raise UserError(
                f"bilevel: {type(self.bilevel).__name__} gives {brief(outputs)}; it is loss, logits and a gradient for each of "
                f"alpha's parameters, {wanted} tensors, see docs/extending.md."
            )
        return outputs

    def half_step(self, half: str, batches: dict[str, Batch], drawn: dict[str, Tensor]) -> Any:
        """`gradients`, compiled and as a graph where asked for."""
        return self.runner.run(half, partial(self.gradients, half), batches, drawn)

    def on_train_epoch_end(self) -> None:
        scheduler = self.lr_schedulers()
        if scheduler is not None:
            scheduler.step()  # type: ignore[union-attr]
        if not equal_on_all_ranks([*self.parameters(), *self.halves.statistics()]):
            raise UserError(
                f"alpha and the weights differ between the devices after epoch {self.current_epoch + 1}: they round "
                "differently; use devices of one kind, or one device with trainer=default, under another name=."
            )

    def on_validation_epoch_start(self) -> None:
        self._discrete = self.discretise(self.architecture, self.genotype())

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        loss, logits = self.halves.loss_at(batch, self._discrete)
        self.discrete_means.update(loss, logits, batch[1])
        self.discrete_means.log(self)


def _made(place: str, factory: OptimizerFactory | ArchOptimizerFactory, parameters: Any) -> torch.optim.Optimizer:
    """UserError that names the `place` in the config where the optimiser refuses its settings."""
    try:
        return factory(parameters)
    except UserError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"{place} refuses its settings ({error}); correct them.") from error
