"""What is done to beta in the weight step, so that weights are trained around it too.

Letters: E edges, O operations.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from nas_lightning.relaxations.view import View

Betas = Mapping[str, Tensor]
"""Cell type -> beta_EO."""


class Perturbation(Protocol):
    """Settings are frozen. All candidates are computed where beta is perturbed, for any of them may get weight.

    One that says `replaces_beta = True` looks at alpha alone, so that it cannot be had with weights that are drawn. For
    one that says `running_statistics = True` the loss is computed in eval mode, at a supernet's running batch statistics; for
    another at the batch's own, and running ones, if any, do not move by it.
    """

    def draw(self, view: View, generator: torch.Generator) -> dict[str, Tensor]:
        """All that is random in one weight step, by cell type; called outside of the step."""
        ...

    def __call__(
        self, betas: Betas, loss: Callable[[Betas], Tensor], view: View, progress: Tensor, drawn: Betas
    ) -> dict[str, Tensor]:
        """The betas that the weight step uses instead.

        betas: constants. loss: of the step's batch at other betas, differentiable in them, while the weights are frozen. view:
        on the device. progress: scalar in [0, 1]. drawn: what `draw` returned. A pure function of tensors, without a branch
        on a value of theirs: it may be captured in a CUDA graph.
        """
        ...


def onto_simplex(beta_EO: Tensor, mask_EO: Tensor) -> Tensor:
    """Clamped to [0, 1], 0 where masked, each row divided by its sum; where nothing is left of a row, 1 for its largest entry.

    Rows without a candidate stay 0 (SmoothDARTS, attacker/perturb.py).
    """
    kept_EO = beta_EO.clamp(0, 1) * mask_EO
    sum_E1 = kept_EO.sum(-1, keepdim=True)
    best_E = beta_EO.masked_fill(~mask_EO, -torch.inf).argmax(-1)
    best_EO = torch.nn.functional.one_hot(best_E, beta_EO.shape[-1]).to(beta_EO.dtype) * mask_EO
    return torch.where(sum_E1 > 0, kept_EO / sum_E1.clamp_min(torch.finfo(beta_EO.dtype).tiny), best_EO)
