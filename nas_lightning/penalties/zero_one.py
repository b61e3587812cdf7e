"""Fair-DARTS' regulariser."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nas_lightning.errors import UserError, check_flag, is_number
from nas_lightning.relaxations.view import View


@dataclass(frozen=True)
class ZeroOne:
    """-weight * mean over all candidates of (beta - 0.5)^2, of all cell types (Fair-DARTS, arXiv 1911.12126).

    It pushes each beta = sigmoid(alpha) away from 0.5, so that it decides. weight: 0 or more, the authors' is 10.
    l1: |beta - 0.5| instead of its square.
    """

    weight: float = 10.0
    l1: bool = False

    def __post_init__(self) -> None:
        if not (is_number(self.weight) and 0 <= self.weight < math.inf):
            raise UserError(f"penalty.weight must be a number of 0 or more, got {self.weight!r}; the authors' is 10.")
        check_flag("penalty.l1", self.l1)

    def __call__(self, view: View, progress: Tensor) -> Tensor:
        total, count = torch.zeros_like(progress), torch.zeros_like(progress)
        for cell in view.values():
            away_EO = cell.probabilities_EO - 0.5
            away_EO = away_EO.abs() if self.l1 else away_EO.square()
            total = total + (away_EO * cell.mask_EO).sum()
            count = count + cell.mask_EO.sum()
        return -self.weight * total / count
