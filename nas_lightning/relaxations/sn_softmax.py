"""Softmax with temperature and the sparse-noisy softmax of EDD-DARTS (arXiv 2306.06855, eq. 3-8).

Letters: E edges, O operations.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas_lightning.errors import UserError


class Relaxation(Protocol):
    """Turns logits alpha_EO into operation weights beta_EO; masked operations (mask False) get weight 0."""

    def __call__(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor: ...


class _TemperedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, temperature: Tensor, second_temperature: Tensor | None) -> Tensor:
        # bf16 and fp16 hold neither alpha / t (up to 1e4) nor the gaps between logits (1e-4): float32 at least.
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        shifted = wide - wide.amax(-1, keepdim=True)
        beta = torch.softmax(shifted / temperature, -1)
        if second_temperature is None:
            ctx.save_for_backward(beta, temperature)
        else:
            ctx.save_for_backward(beta, temperature, torch.softmax(shifted / second_temperature, -1), second_temperature)
        ctx.dtype = logits.dtype
        return beta

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        beta, temperature, *second = ctx.saved_tensors
        v = grads[0].to(beta.dtype)
        g = beta * (v - (beta * v).sum(-1, keepdim=True)) / temperature
        if second:
            beta_s, second_temperature = second
            noise = beta_s * (v - (beta_s * v).sum(-1, keepdim=True)) / second_temperature
            # The paper demands s > 1; at s = 1 the second term would only double the gradient.
            g = g + torch.where(second_temperature > temperature, noise, torch.zeros_like(noise))
        return g.to(ctx.dtype), None, None


def sn_softmax(
    logits: Tensor, temperature: float | Tensor, second_temperature: float | Tensor | None = None
) -> Tensor:
    """Forward softmax(A/t); backward Jacobian S(beta_t)/t + S(beta_st)/(st), with S(b) = diag(b) - b b^T.

    Args:
        logits: [..., O], any float type; -inf marks an operation that is not a candidate.
        temperature: t > 0, a number or a scalar tensor (kept on the device, so no step synchronises).
        second_temperature: st; the second term is added only where st > t strictly. None is the ordinary softmax.

    Returns:
        beta [..., O] in float32 (float64 for float64 logits). O(O) work an edge in both directions, no Jacobian is
        formed. The function is not twice differentiable: a second backward raises RuntimeError.
    """
    def scalar(value: float | Tensor) -> Tensor:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        return torch.as_tensor(value, dtype=dtype, device=logits.device)

    second = None if second_temperature is None else scalar(second_temperature)
    beta: Tensor = _TemperedSoftmax.apply(logits, scalar(temperature), second)
    return beta


def _candidates(alpha_EO: Tensor, mask_EO: Tensor) -> Tensor:
    return alpha_EO.masked_fill(~mask_EO, -torch.inf)


@dataclass(frozen=True)
class Softmax:
    """beta = softmax(alpha / t): DARTS at t = 1 (arXiv 1806.09055, eq. 2). The paper's variant `normal`."""

    def __call__(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        return sn_softmax(_candidates(alpha_EO, mask_EO), temperature)


@dataclass(frozen=True)
class SnSoftmax:
    """Sharp forward, gradient that survives saturation (arXiv 2306.06855, eq. 7).

    Give one of `scale` (s > 1: second temperature s*t; the paper's `s=100`) and `second_temperature` (a constant
    s*t > 0; the paper's `st=1`, so that s = 1/t).
    """

    scale: float | None = None
    second_temperature: float | None = None

    def __post_init__(self) -> None:
        if (self.scale is None) == (self.second_temperature is None):
            raise UserError(
                f"relaxation.scale={self.scale} and relaxation.second_temperature={self.second_temperature}: "
                "sn_softmax takes exactly one of them; set the other to null."
            )
        if self.scale is not None and not self.scale > 1:
            raise UserError(f"relaxation.scale must exceed 1, got {self.scale}; use relaxation=softmax for no noise.")
        if self.second_temperature is not None and not self.second_temperature > 0:
            raise UserError(f"relaxation.second_temperature must be positive, got {self.second_temperature}.")

    def __call__(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        second = self.second_temperature if self.scale is None else self.scale * temperature
        return sn_softmax(_candidates(alpha_EO, mask_EO), temperature, second)
