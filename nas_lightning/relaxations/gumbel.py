"""One operation an edge, drawn.

Letters: E edges, O operations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nas_lightning.errors import UserError
from nas_lightning.relaxations.base import Relaxation, Skips
from nas_lightning.relaxations.softmax import Logits, Softmax, candidates, softmax


@dataclass(frozen=True)
class GumbelHard(Logits):
    """beta is one-hot, drawn from softmax(alpha) anew in each half step (GDAS, arXiv 1910.04465).

    The drawn operation is the argmax of alpha + g, g standard Gumbel noise; the gradient is that of
    p = softmax((alpha + g) / t), straight through. Everything that looks at alpha sees softmax(alpha), whatever t is.

    unsampled: what alpha's gradient takes the operations for that were not drawn. `constant`: for the constant 1, as the
        published program (AutoDL-Projects, forward_gdas), which adds their bare weights, of value 0, to an edge's output.
        `zero`: for 0, as that program's forward_gdas_v1. `computed`: for what they are, the textbook's straight-through
        estimator, for which all candidates are computed; else the drawn ones alone are.
    """

    unsampled: Literal["constant", "zero", "computed"] = "constant"

    def __post_init__(self) -> None:
        if self.unsampled not in ("constant", "zero", "computed"):
            raise UserError(f"relaxation.unsampled must be constant, zero or computed, got {self.unsampled!r}.")

    @property
    def skips(self) -> Skips:
        return "never" if self.unsampled == "computed" else "by_draw"

    def of_edges(self) -> Relaxation:
        """Softmax: edges are not drawn."""
        return Softmax()

    def draw(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor, generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise [E, O]: -ln of an exponential variable."""
        exponential_EO = torch.empty_like(alpha_EO, requires_grad=False).exponential_(generator=generator)
        return -exponential_EO.clamp(min=torch.finfo(alpha_EO.dtype).tiny).log()

    def __call__(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor, drawn: Tensor | None = None) -> Tensor:
        hard_EO, carried_EO = self._parts(alpha_EO, mask_EO, temperature, drawn)
        return hard_EO + (carried_EO if self.unsampled == "computed" else carried_EO * hard_EO)

    def offset(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor, drawn: Tensor | None) -> Tensor | None:
        """The bare weights of the operations that were not drawn: their sum [E] is 0, and so leads their gradients."""
        if self.unsampled != "constant":
            return None
        hard_EO, carried_EO = self._parts(alpha_EO, mask_EO, temperature, drawn)
        return (carried_EO * (1 - hard_EO)).sum(-1)

    def _parts(
        self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor, drawn: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The one-hot draw, and zeros with the gradient of p."""
        assert drawn is not None
        p_EO = softmax(candidates(alpha_EO, mask_EO) + drawn, temperature)
        return _hard(alpha_EO, mask_EO, drawn).to(p_EO.dtype), p_EO - p_EO.detach()

    def probabilities(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        """softmax(alpha): how likely each operation is drawn."""
        return super().probabilities(alpha_EO, mask_EO, torch.ones_like(temperature))

    def log_odds(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        return super().log_odds(alpha_EO, mask_EO, torch.ones_like(temperature))

    def entropy(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        return super().entropy(alpha_EO, mask_EO, torch.ones_like(temperature))

    def support(
        self, alpha_EO: Tensor, mask_EO: Tensor, temperature: float, drift: float, drawn: Tensor | None = None
    ) -> Tensor:
        """The drawn operations."""
        assert drawn is not None
        return mask_EO if drift > 0 else _hard(alpha_EO, mask_EO, drawn)


@dataclass(frozen=True)
class GumbelOrdered(GumbelHard):
    """Every half step draws an order of an edge's operations and trains the paths of all places of it, one after another.

    The n-th operation of an edge is drawn as GumbelHard draws, with fresh noise, from those that are not drawn yet, so that
    likelier ones come first; the n-th operations of all edges are the n-th path. So each half step trains every operation
    once, with the memory of one path: ordered differentiable sampling, the sampler of SurgeNAS' first author
    (stepbuystep/LightNAS, gumbel_softmax_topk; doi 10.1109/TC.2022.3188175). An edge with fewer candidates than others
    begins anew where it has no more.
    """

    def draw(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor, generator: torch.Generator) -> Tensor:
        """Gumbel noise [M, E, O] for as many paths as the edge with most candidates has; -inf where an earlier one was."""
        left_EO, noises = mask_EO, []
        for _ in range(int(mask_EO.sum(-1).max())):
            noise_EO = super().draw(alpha_EO, mask_EO, temperature, generator).masked_fill(~left_EO, -torch.inf)
            noises.append(noise_EO)
            left_EO = left_EO & ~_hard(alpha_EO, mask_EO, noise_EO)
            left_EO = torch.where(left_EO.any(-1, keepdim=True), left_EO, mask_EO)
        return torch.stack(noises)

    def passes(self, drawn: Tensor) -> Sequence[Tensor]:
        return drawn.unbind() if drawn.dim() == 3 else (drawn,)


def _hard(alpha_EO: Tensor, mask_EO: Tensor, drawn: Tensor) -> Tensor:
    """bool [E, O]. Of a sum alone, which every device rounds alike: the host has to name the operation the device draws."""
    best_E = (candidates(alpha_EO.detach(), mask_EO) + drawn).argmax(-1)
    return torch.arange(alpha_EO.shape[-1], device=alpha_EO.device) == best_E[:, None]
