"""The two half steps of a search as functions of tensors: no optimiser, no trainer, no logging."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_lightning.bilevel.base import Batch, Outputs, frozen, over_passes, restored
from nas_lightning.errors import UserError
from nas_lightning.penalties.base import Penalty
from nas_lightning.perturbations.base import Betas, Perturbation
from nas_lightning.spaces.norms import running_statistics
from nas_lightning.spaces.weights import EdgeWeights
from nas_lightning.supernet.architecture import Architecture
from nas_lightning.supernet.skipping import Skipping

PERTURBATION = "perturbation/"


class HalfSteps:
    """The losses of a search and what they are functions of.

    architecture: alpha, masks, temperature, relaxation. supernet: called as supernet(x, {cell type: EdgeWeights}).
    skipping: which operations a step computes. penalty: a term of alpha's loss. perturbation: of beta in the weight step.
    class_weights: float [classes], of each class in every cross entropy; None for 1.

    A half step is `draw` first, then one of the losses or `weight_gradients` with what was drawn; a bilevel strategy makes
    alpha's gradient of `loss` and `penalty_term`. All but `draw` may be captured in a CUDA graph.
    """

    def __init__(
        self,
        architecture: Architecture,
        supernet: nn.Module,
        penalty: Penalty | None = None,
        perturbation: Perturbation | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        self.architecture = architecture
        self.supernet = supernet
        self.penalty = penalty
        self.perturbation = perturbation
        self.class_weights = class_weights
        self.keeps_statistics = bool(running_statistics(supernet))
        self.skipping = Skipping(architecture, dense=perturbation is not None, statistics=self.keeps_statistics)

    def alphas(self) -> list[nn.Parameter]:
        return list(self.architecture.parameters())

    def statistics(self) -> list[Tensor]:
        """The supernet's running batch statistics, if it keeps some."""
        return running_statistics(self.supernet) if self.keeps_statistics else []

    def draw(self, generator: torch.Generator, for_weights: bool) -> dict[str, Tensor]:
        """What is random in one half step: by cell type what relaxations draw, `perturbation/<cell>` what that draws.

        generator: on alpha's device. for_weights: whether a weight step follows.
        """
        drawn = self.architecture.draw(generator)
        if for_weights and self.perturbation is not None:
            noise = self.perturbation.draw(self.architecture.view(), generator)
            drawn |= {PERTURBATION + name: value for name, value in noise.items()}
        return drawn

    def draw_drop_path(self, generator: torch.Generator, images: int, part: slice = slice(None)) -> dict[str, Tensor]:
        """The rest of what is random, to go with `draw`'s: see `Architecture.draw_drop_path`; {} where nothing is dropped.

        images: of which `part` belongs to this step's batch. All forward passes of a half step share their masks.
        """
        cells = len(list(self.supernet.cells()))  # type: ignore[operator]
        drawn = self.architecture.draw_drop_path(generator, cells, images)
        return {name: uniform_LEB[..., part] for name, uniform_LEB in drawn.items()}

    def loss_at(self, batch: Batch, weights: Mapping[str, EdgeWeights]) -> tuple[Tensor, Tensor]:
        """(cross entropy, logits) at any weights of the operations."""
        x, y = batch
        logits = self.supernet(x, weights)
        return F.cross_entropy(logits, y, self.class_weights), logits

    def passes(self, drawn: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """`drawn` for each forward pass of a half step, whose loss and gradients are the means over them."""
        return self.architecture.passes(drawn)

    def loss(self, batch: Batch, drawn: Mapping[str, Tensor], weight_step: bool = False) -> tuple[Tensor, Tensor]:
        """(cross entropy, logits) at beta attached to alpha: what the architecture step differentiates.

        Of all passes, see `over_passes`; of one, where `drawn` is one's. weight_step: with the gradient that a weight step
        leads to alpha, see `Architecture.beta`.
        """
        return over_passes([self._loss(batch, part, weight_step) for part in self.passes(drawn)])

    def _loss(self, batch: Batch, drawn: Mapping[str, Tensor], weight_step: bool) -> tuple[Tensor, Tensor]:
        architecture = self.architecture
        betas, active = architecture.beta(drawn, weight_step), self.skipping.alpha_step(drawn)
        kept = architecture.kept(drawn, len(batch[0]))
        return self.loss_at(batch, architecture.weights(betas, active, architecture.offsets(drawn), kept))

    def penalty_term(self) -> Tensor | None:
        if self.penalty is None:
            return None
        return self.penalty(self.architecture.view(), self.architecture.progress)

    def weight_loss(self, batch: Batch, drawn: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(cross entropy, logits) at beta as a constant, perturbed; operations of negligible weight are left out.

        Of all passes, see `over_passes`; of one, where `drawn` is one's.
        """
        return over_passes([self._weight_loss(batch, part) for part in self.passes(drawn)])

    def _weight_loss(self, batch: Batch, drawn: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        architecture = self.architecture
        active = self.skipping.weight_step(drawn)
        with torch.no_grad():
            betas = architecture.beta(drawn)
        if self.perturbation is not None:
            betas = self._perturbed(betas, batch, drawn)
        with torch.no_grad():
            weights = architecture.weights(betas, active, kept=architecture.kept(drawn, len(batch[0])))
        return self.loss_at(batch, weights)

    def _perturbed(self, betas: Betas, batch: Batch, drawn: Mapping[str, Tensor]) -> dict[str, Tensor]:
        assert self.perturbation is not None
        candidates, kept = self.architecture.candidates, self.architecture.kept(drawn, len(batch[0]))

        def loss(others: Betas) -> Tensor:
            return self.loss_at(batch, self.architecture.weights(others, candidates, kept=kept))[0]

        noise = {
            name.removeprefix(PERTURBATION): value for name, value in drawn.items() if name.startswith(PERTURBATION)
        }
        by_running = getattr(self.perturbation, "running_statistics", False)
        measuring = _evaluating(self.supernet) if by_running else restored(self.supernet.buffers())
        with frozen(self.supernet), measuring:
            perturbed = self.perturbation(betas, loss, self.architecture.view(), self.architecture.progress, noise)
        if not isinstance(perturbed, Mapping) or _shapes(perturbed) != _shapes(betas):
            raise UserError(
                f"perturbation: {type(self.perturbation).__name__} gives no beta [E, O] for each cell type; see "
                "docs/extending.md."
            )
        return {name: beta.detach() for name, beta in perturbed.items()}

    def weight_gradients(self, batch: Batch, drawn: Mapping[str, Tensor], with_alpha: bool = False) -> Outputs:
        """(loss, logits, each weight's gradient, None where nothing led to it).

        with_alpha: then alpha's of the same loss, at beta unperturbed and with nothing left out. One pass at a time.
        """
        wanted = [*self.supernet.parameters(), *(self.alphas() if with_alpha else [])]
        for parameter in wanted:
            parameter.grad = None
        passes, outputs = self.passes(drawn), []
        for part in passes:
            loss, logits = self._loss(batch, part, True) if with_alpha else self._weight_loss(batch, part)
            # backward, not autograd.grad: that gives gradients in another memory layout, whose norm rounds differently.
            (loss / len(passes)).backward()
            outputs.append((loss.detach(), logits.detach()))
        return *over_passes(outputs), *(parameter.grad for parameter in wanted)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """In eval mode within, all of its modules."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, was_training in modes.items():
            part.training = was_training


def _shapes(betas: Betas) -> dict[str, torch.Size]:
    return {name: beta.shape for name, beta in betas.items()}
