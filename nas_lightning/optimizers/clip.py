"""Clipping of alpha's gradient, and of the weights' where alpha's counts in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from nas_lightning.errors import UserError, is_number


@dataclass(frozen=True)
class ArchClip:
    """Clipping of alpha's gradient, sn term included: EDD's variant "clip" (arXiv 2306.06855, table 1).

    mode: "none", "norm" (L2 norm over all of alpha) or "value" (each entry). The paper names no value; 5 is the only
    clip value in the authors' programs.
    """

    mode: Literal["none", "norm", "value"] = "none"
    value: float = 5.0

    def __post_init__(self) -> None:
        if self.mode not in ("none", "norm", "value"):
            raise UserError(f"model.arch_clip.mode must be none, norm or value, got {self.mode!r}.")
        if not (is_number(self.value) and self.value > 0):
            raise UserError(f"model.arch_clip.value must be positive, got {self.value!r}.")

    def __call__(self, alphas: list[nn.Parameter]) -> None:
        if self.mode == "norm":
            nn.utils.clip_grad_norm_(alphas, self.value)
        elif self.mode == "value":
            nn.utils.clip_grad_value_(alphas, self.value)


class JointClip(nn.Module):
    """Clipping of the weights' gradient by an L2 norm that counts alpha's, as NAS-Bench-201's programs do.

    They clip all parameters of a network, alpha among them, and clear alpha's gradient only where an architecture step makes
    it anew. What counts is therefore that of the last architecture step, plus what weight steps since then have added, each
    clipped with the rest. It is kept in buffers, one for each of `alphas`: Lightning clears gradients before a validation,
    and a checkpoint has to hold them.
    """

    def __init__(self, alphas: Sequence[nn.Parameter]) -> None:
        super().__init__()
        for number, alpha in enumerate(alphas):
            self.register_buffer(f"gradient_{number}", torch.zeros_like(alpha))

    def keep(self, alphas: Sequence[nn.Parameter]) -> None:
        """What `alphas` have as gradients, all of which are there."""
        for kept, alpha in zip(self.buffers(), alphas, strict=True):
            assert alpha.grad is not None
            kept.copy_(alpha.grad)

    def forward(
        self,
        weights: Sequence[nn.Parameter],
        alphas: Sequence[nn.Parameter],
        gradients: Sequence[Tensor | None],
        value: float,
    ) -> None:
        """Clip the gradients of `weights` to `value`, after a backward pass that gave alpha `gradients`."""
        for kept, alpha, gradient in zip(self.buffers(), alphas, gradients, strict=True):
            alpha.grad = kept.clone() if gradient is None else kept + gradient
        nn.utils.clip_grad_norm_([*weights, *alphas], value)
        self.keep(alphas)
