"""Softmax with temperature, and what all relaxations share whose alpha are its logits.

Letters: E edges, O operations.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nas_lightning.relaxations.base import Relaxation, negligible


def softmax(logits: Tensor, temperature: Tensor) -> Tensor:
    """softmax(logits / t) over the last dimension, in float32 at least; -inf marks what is no candidate."""
    # bf16 and fp16 hold neither alpha / t (up to 1e4) nor the gaps between logits (1e-4).
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    # Shifted before the division: a gap between two logits then loses no digits to the size of alpha / t.
    return torch.softmax((wide - wide.detach().amax(-1, keepdim=True)) / temperature.to(wide.dtype), -1)


def candidates(alpha_EO: Tensor, mask_EO: Tensor) -> Tensor:
    return alpha_EO.masked_fill(~mask_EO, -torch.inf)


class Logits(Relaxation):
    """Whose deterministic beta is softmax(alpha / t)."""

    def probabilities(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        return softmax(candidates(alpha_EO, mask_EO), temperature)

    def log_odds(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        """alpha_o / t - logsumexp of the others: they still differ where every edge's best beta rounds to 1."""
        logits_EO = candidates(alpha_EO, mask_EO).double() / temperature.double()
        self_OO = torch.eye(logits_EO.shape[1], dtype=torch.bool, device=logits_EO.device)
        others_EOO = logits_EO[:, None, :].masked_fill(self_OO, -torch.inf)
        # Sorted: equal alphas then have equal sums to the bit, and remain a tie.
        return torch.where(logits_EO > -torch.inf, logits_EO - others_EOO.sort(-1).values.logsumexp(-1), -torch.inf)

    def entropy(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        log_p = torch.log_softmax((candidates(alpha_EO, mask_EO) / temperature).double(), -1)
        p = log_p.exp()
        return -torch.where(p > 0, p * log_p, p).sum(-1)

    def support(
        self, alpha_EO: Tensor, mask_EO: Tensor, temperature: float, drift: float, drawn: Tensor | None = None
    ) -> Tensor:
        logits_EO = candidates(alpha_EO, mask_EO)
        gap_EO = logits_EO.amax(-1, keepdim=True) - logits_EO  # beta <= exp(-gap / t)
        return gap_EO - 2 * drift <= -math.log(negligible(alpha_EO.dtype)) * temperature


@dataclass(frozen=True)
class Softmax(Logits):
    """beta = softmax(alpha / t): DARTS at t = 1 (arXiv 1806.09055, eq. 2). The paper's variant `normal`."""

    def __call__(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor, drawn: Tensor | None = None) -> Tensor:
        return softmax(candidates(alpha_EO, mask_EO), temperature)
