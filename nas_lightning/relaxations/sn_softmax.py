"""The sparse-noisy softmax of EDD-DARTS (arXiv 2306.06855, eq. 3-8).

Letters: E edges, O operations.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas_lightning.errors import UserError, check_flag, is_number
from nas_lightning.relaxations.base import Relaxation
from nas_lightning.relaxations.softmax import Logits, Softmax, candidates, softmax


def _softmax_vjp(beta: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """S(beta) v / t with S(b) = diag(b) - b b^T, without forming S."""
    return beta * (v - (beta * v).sum(-1, keepdim=True)) / temperature


class _SnSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, temperature: Tensor, second_temperature: Tensor) -> Tensor:
        beta, second_beta = softmax(logits, temperature), softmax(logits, second_temperature)
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
        return softmax(logits, scalar(temperature))
    beta: Tensor = _SnSoftmax.apply(logits, scalar(temperature), scalar(second_temperature))
    return beta


@dataclass(frozen=True)
class SnSoftmax(Logits):
    """Sharp forward, gradient that survives saturation (arXiv 2306.06855, eq. 7).

    Give one of `scale` (s > 1: second temperature s*t; the paper's `s=100`) and `second_temperature` (a constant
    s*t > 0; the paper's `st=1`, so that s = 1/t).

    at_1: whether the second term of `scale` is there at t = 1 too. The paper demands s > 1, which `scale` has there; the
        authors' programs add the term only where t is not 1 (`second_temperature` 1 has s = 1 there, so none either way).
    cells: which cell types have the second term. The paper does not say: `all`; the authors' program for the DARTS space
        and S1-S4 adds it in the `normal` cells only, so that reduction cells have the ordinary gradient.
    """

    scale: float | None = None
    second_temperature: float | None = None
    cells: Literal["all", "normal"] = "all"
    at_1: bool = False

    def __post_init__(self) -> None:
        if (self.scale is None) == (self.second_temperature is None):
            raise UserError(
                f"relaxation.scale={self.scale} and relaxation.second_temperature={self.second_temperature}: "
                f"sn_softmax takes exactly one of them; {'give one a number' if self.scale is None else 'set one to null'}."
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
        check_flag("relaxation.at_1", self.at_1)

    def of_cell(self, cell: str) -> Relaxation:
        return Softmax() if self.cells == "normal" and cell == "reduce" else self

    def of_weight_step(self) -> Relaxation:
        """The ordinary one: the authors' programs add the second term in the architecture step."""
        return Softmax()

    def of_edges(self) -> Relaxation:
        """The ordinary one: the second term is a device of the operations."""
        return Softmax()

    def __call__(self, alpha_EO: Tensor, mask_EO: Tensor, temperature: Tensor, drawn: Tensor | None = None) -> Tensor:
        logits_EO = candidates(alpha_EO, mask_EO)
        if self.scale is None:
            return sn_softmax(logits_EO, temperature, self.second_temperature)
        second = self.scale * temperature
        if not self.at_1:  # a second temperature of t is none; no branch, for a step may be captured
            second = torch.where(temperature == 1, temperature, second)
        return sn_softmax(logits_EO, temperature, second)
