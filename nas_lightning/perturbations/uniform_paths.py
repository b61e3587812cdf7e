"""Steps for the operations that beta leaves out.

Letters: E edges, O operations.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nas_lightning.errors import UserError, is_number
from nas_lightning.perturbations.base import Betas
from nas_lightning.relaxations.view import View


@dataclass(frozen=True)
class UniformPaths:
    """In a share of the weight steps every edge has one operation, drawn uniformly from its candidates; beta in the others.

    A small temperature trains the operations that lead and no others, while alpha's gradient goes on comparing all: those that
    need no weights (skip, pooling) with those whose weights have been left behind. Uniform single paths (arXiv 1904.00420)
    keep the latter in training; that they should do so beside a small temperature is ours, in no paper.

    share: of the steps, 0 < share <= 1.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not (is_number(self.share) and 0 < self.share <= 1):
            raise UserError(f"perturbation.share must be a number above 0 and up to 1, got {self.share!r}.")

    def draw(self, view: View, generator: torch.Generator) -> dict[str, Tensor]:
        """One-hot rows, all 0 in a step of beta's."""
        device = next(iter(view.values())).alpha_EO.device
        is_path = torch.rand((), generator=generator, device=device) < self.share
        paths = {}
        for name, cell in view.items():
            noise_EO = torch.rand(cell.mask_EO.shape, generator=generator, device=device)
            chosen_E = noise_EO.masked_fill(~cell.mask_EO, -1.0).argmax(-1)
            paths[name] = F.one_hot(chosen_E, cell.mask_EO.shape[-1]).to(cell.alpha_EO.dtype) * cell.mask_EO * is_path
        return paths

    def __call__(
        self, betas: Betas, loss: Callable[[Betas], Tensor], view: View, progress: Tensor, drawn: Betas
    ) -> dict[str, Tensor]:
        return {name: torch.where(drawn[name].any(), drawn[name], beta) for name, beta in betas.items()}
