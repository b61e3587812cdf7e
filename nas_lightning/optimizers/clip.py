"""Clipping of alpha's gradient."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

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
