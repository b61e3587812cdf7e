"""A relaxation as somebody writes it who has read docs/extending.md alone."""

from dataclasses import dataclass

import torch

from nas_lightning.relaxations import Relaxation


@dataclass(frozen=True)
class Sparsemax(Relaxation):
    """The point of the simplex nearest to alpha / t (arXiv 1602.02068); far from ties it is exactly one-hot."""

    def __call__(self, alpha_EO, mask_EO, temperature, drawn=None):
        z_EO = (alpha_EO / temperature).masked_fill(~mask_EO, -1e30)
        sorted_EO = z_EO.sort(-1, descending=True).values
        position_O = torch.arange(1, z_EO.shape[-1] + 1, dtype=z_EO.dtype, device=z_EO.device)
        sums_EO = sorted_EO.cumsum(-1)
        inside_EO = 1 + position_O * sorted_EO > sums_EO
        size_E1 = inside_EO.sum(-1, keepdim=True)
        threshold_E1 = (sums_EO.gather(-1, size_E1 - 1) - 1) / size_E1
        return (z_EO - threshold_E1).clamp(min=0)
