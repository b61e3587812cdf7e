"""SmoothDARTS' perturbations: beta anywhere in a ball around it.

Letters: E edges, O operations.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nas_lightning.errors import UserError, check_flag, check_whole
from nas_lightning.perturbations.base import Betas, onto_simplex
from nas_lightning.ramps import Ramp
from nas_lightning.relaxations.view import View


def _check_radius(radius: object) -> None:
    if not isinstance(radius, Ramp) or min(radius.start, radius.end) < 0:
        raise UserError(
            f"perturbation.radius must be a ramp of 0 or more such as {{start: 0.03, end: 0.3}}, got {radius!r}."
        )


def _uniform(view: View, generator: torch.Generator) -> dict[str, Tensor]:
    return {
        name: torch.empty_like(cell.alpha_EO, requires_grad=False).uniform_(-1, 1, generator=generator)
        for name, cell in view.items()
    }


def _shifted(betas: Betas, r: Tensor, view: View, drawn: Betas) -> dict[str, Tensor]:
    """beta + r * drawn, back onto the simplex."""
    return {name: onto_simplex(beta + r * drawn[name], view[name].mask_EO) for name, beta in betas.items()}


@dataclass(frozen=True)
class RandomBall:
    """beta + U(-r, r) entry by entry, back onto the simplex: SDARTS-RS (arXiv 2002.05283).

    radius: r; the authors' goes from 0.03 to 0.3.
    """

    radius: Ramp = field(default_factory=lambda: Ramp(0.03, 0.3))

    def __post_init__(self) -> None:
        _check_radius(self.radius)

    def draw(self, view: View, generator: torch.Generator) -> dict[str, Tensor]:
        return _uniform(view, generator)

    def __call__(
        self, betas: Betas, loss: Callable[[Betas], Tensor], view: View, progress: Tensor, drawn: Betas
    ) -> dict[str, Tensor]:
        r = self.radius(progress)
        return _shifted(betas, r, view, drawn)


@dataclass(frozen=True)
class AdversarialBall:
    """The beta of largest loss that `steps` of sign ascent find in the ball: SDARTS-ADV (arXiv 2002.05283).

    From a random start, steps of 2 r / `steps`, each followed by the projection onto the ball around beta and onto the
    simplex (which may leave the ball, as the authors' program does). Kept where its loss is at least beta's own.

    running_statistics: attack in eval mode, as the authors do, at the running batch statistics of a supernet that keeps some;
    else at the batch's own.
    """

    radius: Ramp = field(default_factory=lambda: Ramp(0.03, 0.3))
    steps: int = 7
    running_statistics: bool = False

    def __post_init__(self) -> None:
        _check_radius(self.radius)
        check_whole("perturbation.steps", self.steps, 1)
        check_flag("perturbation.running_statistics", self.running_statistics)

    def draw(self, view: View, generator: torch.Generator) -> dict[str, Tensor]:
        return _uniform(view, generator)

    def __call__(
        self, betas: Betas, loss: Callable[[Betas], Tensor], view: View, progress: Tensor, drawn: Betas
    ) -> dict[str, Tensor]:
        r = self.radius(progress)
        moved = _shifted(betas, r, view, drawn)
        for _ in range(self.steps):
            with torch.enable_grad():
                leaves = {name: beta.detach().requires_grad_() for name, beta in moved.items()}
                gradients = torch.autograd.grad(loss(leaves), list(leaves.values()))
            for (name, beta), gradient in zip(betas.items(), gradients, strict=True):
                away = (moved[name] + 2 * r / self.steps * gradient.sign() - beta).clamp(-r, r)
                moved[name] = onto_simplex(beta + away, view[name].mask_EO)
        with torch.no_grad():
            worse = loss(moved) >= loss(betas)  # a tensor: no branch on the host
        return {name: torch.where(worse, moved[name], beta) for name, beta in betas.items()}
