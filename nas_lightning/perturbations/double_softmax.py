"""The weight step of the EDD authors' program for S1 to S4."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from nas_lightning.perturbations.base import Betas
from nas_lightning.relaxations.view import View


@dataclass(frozen=True)
class DoubleSoftmax:
    """softmax(softmax(alpha) / t): the weights see alpha relaxed twice, first at t = 1 (chaoji90/PCDEDD
    SmoothDARTS/sota/pcdedd/train_search_pl.py, of arXiv 2306.06855).

    That program overwrites alpha with softmax(alpha) before the weight step, as SDARTS does to perturb it, and then relaxes
    it again; the architecture step sees softmax(alpha / t). The argmax stays, a gap g of two operations becomes
    tanh(g / 2): softer than the architecture step by about the number of operations. With another relaxation it is that one
    that acts twice.
    """

    replaces_beta: ClassVar[bool] = True

    def draw(self, view: View, generator: torch.Generator) -> dict[str, Tensor]:
        return {}

    def __call__(
        self, betas: Betas, loss: Callable[[Betas], Tensor], view: View, progress: Tensor, drawn: Betas
    ) -> dict[str, Tensor]:
        once = {name: replace(cell, alpha_EO=cell.at(1.0).probabilities_EO) for name, cell in view.items()}
        return {name: cell.probabilities_EO.detach() for name, cell in once.items()}
