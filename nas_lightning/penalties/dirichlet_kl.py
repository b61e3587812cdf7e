"""DrNAS' regulariser.

Letters: E edges, O operations.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nas_lightning.errors import UserError, is_number
from nas_lightning.relaxations.base import Relaxation
from nas_lightning.relaxations.dirichlet import Dirichlet, concentration
from nas_lightning.relaxations.view import View


@dataclass(frozen=True)
class DirichletKL:
    """weight * sum over all edges of KL(Dirichlet(c) || Dirichlet(1)), c = elu(alpha) + 1 of the candidates (arXiv 2006.10355).

    It keeps the distribution near the uniform one, so that draws go on differing. weight: 0 or more, the authors' is 1e-3.
    """

    relaxation: ClassVar[type[Relaxation]] = Dirichlet
    weight: float = 1e-3

    def __post_init__(self) -> None:
        if not (is_number(self.weight) and 0 <= self.weight < math.inf):
            raise UserError(f"penalty.weight must be a number of 0 or more, got {self.weight!r}; the authors' is 1e-3.")

    def __call__(self, view: View, progress: Tensor) -> Tensor:
        return self.weight * torch.stack([_kl(cell.alpha_EO, cell.mask_EO) for cell in view.values()]).sum()


def _kl(alpha_EO: Tensor, mask_EO: Tensor) -> Tensor:
    # c = 1 where there is no candidate: its own terms are then 0.
    c_EO = torch.where(mask_EO, concentration(alpha_EO), 1.0)
    count_E1 = mask_EO.sum(-1, keepdim=True).to(c_EO.dtype)
    has_E1 = count_E1 > 0
    one_E1 = torch.ones_like(count_E1)
    total_E1 = torch.where(has_E1, (c_EO * mask_EO).sum(-1, keepdim=True), one_E1)
    terms_EO = (c_EO - 1) * (torch.digamma(c_EO) - torch.digamma(total_E1)) - torch.lgamma(c_EO)
    whole_E1 = torch.lgamma(total_E1) - torch.lgamma(torch.where(has_E1, count_E1, one_E1))
    return whole_E1.sum() + terms_EO.sum()
