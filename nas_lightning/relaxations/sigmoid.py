"""Weights that do not compete.

Letters: E edges, O operations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nas_lightning.relaxations.base import Relaxation
from nas_lightning.relaxations.softmax import Softmax


@dataclass(frozen=True)
class Sigmoid(Relaxation):
    """beta = sigmoid(alpha / t), each operation by itself, 0.5 at the start (Fair-DARTS at t = 1, arXiv 1911.12126).

    All candidates are always computed: where no weight of an edge is near 1, the smallest are not negligible beside it.
    """

    skips = "never"
    sums_to_one = False

    def of_edges(self) -> Relaxation:
        """Softmax: the edges into a node do share a weight of 1."""
        return Softmax()

    def initial(self, mask_EO: Tensor, generator: torch.Generator) -> Tensor:
        """Zeros."""
        return torch.zeros(mask_EO.shape)

    def __call__(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor, drawn: Tensor | None = None) -> Tensor:
        wide_EO = alpha_EO.to(torch.promote_types(alpha_EO.dtype, torch.float32))
        return torch.sigmoid(wide_EO / temperature.to(wide_EO.dtype)) * mask_EO

    def log_odds(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        """alpha / t: it ranks where sigmoids round to 1."""
        return (alpha_EO.double() / temperature.double()).masked_fill(~mask_EO, -torch.inf)
