"""Softmax with temperature and the sparse-noisy softmax of EDD-DARTS (arXiv 2306.06855, eq. 3-8).

Letters: E edges, O operations.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas_lightning.errors import UserError, is_number


class Relaxation(Protocol):
    """Turns logits alpha_EO into operation weights beta_EO, whose rows sum to 1.

    Where mask_EO is False the operation is no candidate: weight 0 and gradient 0. Every edge has a candidate.
    """

    def of_cell(self, cell: str) -> "Relaxation":
        """What relaxes the cell type `cell`."""
        ...

    def __call__(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor: ...

    def support(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: float, drift: float) -> Tensor:
        """bool [E, O]: where beta is not negligible, were every alpha to move by up to `drift`.

        Negligible is less than half the distance from 1 to the next number: a sum of weights that is 1 stays 1 without it.
        """
        ...


def _softmax(logits: Tensor, temperature: Tensor) -> Tensor:
    # bf16 and fp16 hold neither alpha / t (up to 1e4) nor the gaps between logits (1e-4): float32 at least.
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    # Shifted before the division: a gap between two logits then loses no digits to the size of alpha / t.
    return torch.softmax((wide - wide.detach().amax(-1, keepdim=True)) / temperature, -1)


def _softmax_vjp(beta: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """S(beta) v / t with S(b) = diag(b) - b b^T, without forming S."""
    return beta * (v - (beta * v).sum(-1, keepdim=True)) / temperature


class _SnSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, temperature: Tensor, second_temperature: Tensor) -> Tensor:
        beta, second_beta = _softmax(logits, temperature), _softmax(logits, second_temperature)
        ctx.save_for_backward(beta, temperature, second_beta, second_temperature)
        ctx.dtype = logits.dtype
        return beta

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None, None]:
        beta, temperature, second_beta, second_temperature = ctx.saved_tensors
        noise = _softmax_vjp(second_beta, v, second_temperature)
        # The paper demands s > 1; at s = 1 the second term would only double the gradient.
        noise = torch.where(second_temperature > temperature, noise, 0.0)
        return (_softmax_vjp(beta, v, temperature) + noise).to(ctx.dtype), None, None


def sn_softmax(logits: Tensor, temperature: float | Tensor, second_temperature: float | Tensor | None = None) -> Tensor:
    """Forward softmax(A/t); backward Jacobian S(beta_t)/t + S(beta_st)/(st), with S(b) = diag(b) - b b^T.

    Args:
        logits: A, [..., O], any float type; -inf marks an operation that is no candidate, at least one a row is finite.
        temperature: t > 0, a number or a scalar tensor on the device of the logits.
        second_temperature: st; the second term is added only where st > t strictly. None is the ordinary softmax.

    Returns:
        beta [..., O] in float32 (float64 for float64 logits), under autocast too. Work and memory are O(O) a row in
        both directions, and nothing is read back to the host. With a second temperature the gradient is not the
        forward's, so differentiating it again raises RuntimeError.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)

    def scalar(value: float | Tensor) -> Tensor:
        if isinstance(value, Tensor):
            return value.to(logits.device, dtype)
        return torch.full((), value, dtype=dtype, device=logits.device)  # a fill, not a copy from the host

    if second_temperature is None:
        return _softmax(logits, scalar(temperature))
    beta: Tensor = _SnSoftmax.apply(logits, scalar(temperature), scalar(second_temperature))
    return beta


def _candidates(alpha_EO: Tensor, mask_EO: Tensor) -> Tensor:
    return alpha_EO.masked_fill(~mask_EO, -torch.inf)


def _softmax_support(logits: Tensor, temperature: float, drift: float) -> Tensor:
    # beta <= exp(-gap / t)
    gap = logits.amax(-1, keepdim=True) - logits
    negligible = -math.log(torch.finfo(torch.promote_types(logits.dtype, torch.float32)).eps / 2)
    return gap - 2 * drift <= negligible * temperature


@dataclass(frozen=True)
class Softmax:
    """beta = softmax(alpha / t): DARTS at t = 1 (arXiv 1806.09055, eq. 2). The paper's variant `normal`."""

    def of_cell(self, cell: str) -> "Softmax":
        return self

    def __call__(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        return sn_softmax(_candidates(alpha_EO, mask_EO), temperature)

    def support(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: float, drift: float) -> Tensor:
        return _softmax_support(_candidates(alpha_EO, mask_EO), temperature, drift)


@dataclass(frozen=True)
class SnSoftmax:
    """Sharp forward, gradient that survives saturation (arXiv 2306.06855, eq. 7).

    Give one of `scale` (s > 1: second temperature s*t; the paper's `s=100`) and `second_temperature` (a constant
    s*t > 0; the paper's `st=1`, so that s = 1/t).

    cells: which cell types have the second term. The paper does not say: `all`; the authors' program for the DARTS space
        and S1-S4 adds it in the `normal` cells only, so that reduction cells have the ordinary gradient.
    """

    scale: float | None = None
    second_temperature: float | None = None
    cells: Literal["all", "normal"] = "all"

    def __post_init__(self) -> None:
        if (self.scale is None) == (self.second_temperature is None):
            raise UserError(
                f"relaxation.scale={self.scale} and relaxation.second_temperature={self.second_temperature}: "
                "sn_softmax takes exactly one of them; set the other to null."
            )
        if self.scale is not None and not (is_number(self.scale) and 1 < self.scale < math.inf):
            raise UserError(
                f"relaxation.scale must be a number above 1, got {self.scale!r}; for no noise use relaxation=softmax."
            )
        second = self.second_temperature
        if second is not None and not (is_number(second) and 0 < second < math.inf):
            raise UserError(
                f"relaxation.second_temperature must be a positive number, got {self.second_temperature!r}; "
                "the paper's is 1.0."
            )
        if self.cells not in ("all", "normal"):
            raise UserError(f"relaxation.cells must be all or normal, got {self.cells!r}.")

    def of_cell(self, cell: str) -> Relaxation:
        return Softmax() if self.cells == "normal" and cell == "reduce" else self

    def __call__(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor) -> Tensor:
        second = self.second_temperature if self.scale is None else self.scale * temperature
        return sn_softmax(_candidates(alpha_EO, mask_EO), temperature, second)

    def support(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: float, drift: float) -> Tensor:
        return _softmax_support(_candidates(alpha_EO, mask_EO), temperature, drift)
