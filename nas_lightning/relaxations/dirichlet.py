"""Weights drawn from a Dirichlet distribution.

Letters: E edges, O operations.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas_lightning.relaxations.base import Relaxation
from nas_lightning.relaxations.softmax import Softmax


def concentration(alpha: Tensor) -> Tensor:
    """elu(alpha) + 1 > 0, in float32 at least; as exp(alpha) below 0, where elu + 1 would round to 0."""
    wide = alpha.to(torch.promote_types(alpha.dtype, torch.float32))
    return torch.exp(wide.clamp(max=0)) + torch.relu(wide)


class _Drawn(torch.autograd.Function):
    """x ~ Dirichlet(c), already drawn: its pathwise gradient by implicit differentiation, as torch.distributions'."""

    @staticmethod
    def forward(ctx: Any, c: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(c, x, mask)
        return x.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None, None]:
        c, x, mask = ctx.saved_tensors
        kept = c * mask
        # At 0 and 1 the derivative is not finite, and what it multiplies is 0.
        inside = x.clamp(torch.finfo(x.dtype).tiny, 1 - torch.finfo(x.dtype).eps)
        derivative = torch._dirichlet_grad(inside, c, kept.sum(-1, keepdim=True).expand_as(c).contiguous())
        return torch.where(mask, derivative * (v - (x * v).sum(-1, keepdim=True)), 0.0), None, None


@dataclass(frozen=True)
class Dirichlet(Relaxation):
    """beta ~ Dirichlet(elu(alpha) + 1) over an edge's candidates, drawn anew in each half step (DrNAS, arXiv 2006.10355).

    One draw serves all cells of a type. The gradient is the pathwise one of the draw. Everything that looks at alpha, but for
    derive rules, sees the mean of the distribution, concentration / sum. There is no temperature, and no weight is ever
    certain to be negligible.
    """

    skips = "never"
    uses_temperature = False

    def of_edges(self) -> Relaxation:
        """Softmax: edges are not drawn."""
        return Softmax()

    def of_derive(self) -> Relaxation:
        """Softmax, as DrNAS' programs: the same operations of each edge as by the mean, not always the same edges of a node."""
        return Softmax()

    def draw(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor, generator: torch.Generator) -> Tensor:
        """beta_EO: Gamma(concentration, 1) of each candidate over their sum."""
        gamma_EO = torch._standard_gamma(concentration(alpha_EO.detach()), generator)
        kept_EO = gamma_EO.clamp(min=torch.finfo(gamma_EO.dtype).tiny) * mask_EO
        return kept_EO / kept_EO.sum(-1, keepdim=True)

    def __call__(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor, drawn: Tensor | None = None) -> Tensor:
        assert drawn is not None
        beta_EO: Tensor = _Drawn.apply(concentration(alpha_EO), drawn, mask_EO)
        return beta_EO

    def probabilities(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        """The mean."""
        kept_EO = concentration(alpha_EO) * mask_EO
        return kept_EO / kept_EO.sum(-1, keepdim=True)
