"""Weights that are parameters themselves.

Letters: E edges, O operations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nas_lightning.relaxations.base import Relaxation


@dataclass(frozen=True)
class Simplex(Relaxation):
    """alpha is beta: a point of the simplex, at the start its centre (GAEA, arXiv 2004.07802; no temperature).

    Candidates that were taken away get weight 0 and the others their sum back. For gradients that sum is a constant, so
    that dL/dalpha is dL/dbeta where alpha lies on the simplex, as in the authors' program (architect_edarts.py). It stays
    there by an optimiser whose `keeps_simplex` is true; others are refused. Edges as wholes likewise.
    """

    on_simplex = True
    uses_temperature = False

    def initial(self, mask_EO: Tensor, generator: torch.Generator) -> Tensor:
        """1 / (number of candidates), 0 where there is none."""
        return mask_EO / mask_EO.sum(-1, keepdim=True)

    def __call__(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor, drawn: Tensor | None = None) -> Tensor:
        kept_EO = alpha_EO.to(torch.promote_types(alpha_EO.dtype, torch.float32)) * mask_EO
        return kept_EO / kept_EO.detach().sum(-1, keepdim=True)
