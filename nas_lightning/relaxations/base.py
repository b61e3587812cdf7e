"""What turns the parameters alpha of a cell's edges into the weights beta of their operations.

Letters: E edges, O operations.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

Skips = Literal["by_epoch", "by_draw", "never"]


class Relaxation(ABC):
    """alpha_EO -> beta_EO. Everything else that a search wants to know of beta is asked here too.

    A subclass says at least what beta is; the defaults below fit where beta is a deterministic function of alpha. Settings
    are frozen. In all methods mask_EO is bool, False where an operation is no candidate: it gets weight 0 and gradient 0.
    Every row has a candidate; edges without one never come here. temperature is a positive scalar tensor. Weights are
    float32 at least, under autocast too.

    The same axis relaxes edges as wholes (PC-DARTS' edge normalisation): one row then holds the edges into a node.
    """

    @property
    def skips(self) -> Skips:
        """How a step's computed operations follow from `support`: a set that grows within an epoch, those of this very draw,
        or always all candidates."""
        return "by_epoch"

    sums_to_one: ClassVar[bool] = True
    """Whether a row of beta is a distribution over its operations; if not, each weight is a probability of its own."""

    on_simplex: ClassVar[bool] = False
    """Whether alpha's own rows are distributions, which an optimiser has to keep."""

    uses_temperature: ClassVar[bool] = True
    """Whether beta or its gradient depends on the temperature; if not, schedules that move it are refused."""

    @abstractmethod
    def __call__(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor, drawn: Tensor | None = None) -> Tensor:
        """beta_EO, differentiable, a pure function of tensors: no host value, no random number, no side effect.

        It may be captured in a CUDA graph. drawn: what `draw` returned for this half step, one of its `passes`.
        """

    def of_cell(self, cell: str) -> "Relaxation":
        """What relaxes the operations of the cell type `cell`."""
        return self

    def of_edges(self) -> "Relaxation":
        """What relaxes the edges into a node, at temperature 1 and without a draw, where edges have weights of their own."""
        return self

    def of_weight_step(self) -> "Relaxation":
        """The same beta where the weights' loss reaches alpha (`model.weight_clip_includes_arch`), with what belongs to
        alpha's own step alone left out of its gradient."""
        return self

    def of_derive(self) -> "Relaxation":
        """Whose probabilities derive rules rank operations and edges by."""
        return self

    def initial(self, mask_EO: Tensor, generator: torch.Generator) -> Tensor:
        """alpha_EO at the start of a search: 1e-3 * N(0, 1), as the code of arXiv 1806.09055."""
        return 1e-3 * torch.randn(mask_EO.shape, generator=generator)

    def draw(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor, generator: torch.Generator) -> Tensor | None:
        """All that is random in one half step, without gradient; None where nothing is. Called outside of the step."""
        return None

    def passes(self, drawn: Tensor) -> Sequence[Tensor]:
        """What each forward pass of a half step is computed with, of what `draw` returned: one pass, unless a method has more.

        A half step's loss and gradients are the means over its passes. What a pass is computed with has one pass, itself.
        """
        return (drawn,)

    def offset(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor, drawn: Tensor | None) -> Tensor | None:
        """[E], of value 0 and attached to alpha: added to the output of each edge where alpha's gradient is wanted."""
        return None

    def probabilities(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        """The deterministic beta_EO, in alpha's precision: what entropies, logs, decisions and derive rules look at."""
        return self(alpha_EO, mask_EO, temperature)

    def log_odds(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        """ln(p / (1 - p)) of `probabilities`, float64, -inf where masked.

        To be overridden where probabilities round to 1 while alpha still ranks them.
        """
        p_EO = self.probabilities(alpha_EO.double(), mask_EO, temperature.double())
        if not self.sums_to_one:
            return torch.logit(p_EO).masked_fill(~mask_EO, -torch.inf)
        # 1 - p as the sum of the others, which loses nothing where p is close to 1; sorted, so that ties remain ties.
        self_OO = torch.eye(p_EO.shape[-1], dtype=torch.bool, device=p_EO.device)
        others_EO = p_EO[:, None, :].masked_fill(self_OO, 0.0).sort(-1).values.sum(-1)
        return (p_EO.log() - others_EO.log()).masked_fill(~mask_EO, -torch.inf)

    def entropy(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        """[E], nats, float64: -sum p ln p of `probabilities` with 0 ln 0 = 0; of Bernoullis, summed, if not `sums_to_one`."""
        p_EO = self.probabilities(alpha_EO.double(), mask_EO, temperature.double())
        terms_EO = torch.xlogy(p_EO, p_EO)
        if not self.sums_to_one:
            terms_EO = (terms_EO + torch.xlogy(1 - p_EO, 1 - p_EO)).masked_fill(~mask_EO, 0.0)
        return -terms_EO.sum(-1)

    def support(
        self, alpha_EO: Tensor, mask_EO: Tensor, temperature: float, drift: float, drawn: Tensor | None = None
    ) -> Tensor:
        """bool [E, O], asked on the CPU: where beta is not negligible, were every entry of alpha to move by up to `drift`.

        Negligible is below `negligible`: a sum of weights that is 1 stays 1 without it.
        """
        if drift > 0:
            return mask_EO
        beta_EO = self(alpha_EO, mask_EO, torch.tensor(temperature, dtype=alpha_EO.dtype), drawn)
        return (beta_EO.abs() > negligible(beta_EO.dtype)) & mask_EO


def negligible(dtype: torch.dtype) -> float:
    """Half the distance from 1 to the next number of `dtype`, or of float32 where that is wider."""
    return torch.finfo(torch.promote_types(dtype, torch.float32)).eps / 2
