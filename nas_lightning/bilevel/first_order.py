"""How alpha's gradient is formed, and the order of the two half steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nas_lightning.errors import UserError


@dataclass(frozen=True)
class FirstOrder:
    """d L_val(w, alpha) / d alpha with the weights as they are (arXiv 1806.09055, first order; arXiv 2306.06855).

    order: "weights_first" as NAS-Bench-201's programs do, "arch_first" as those of the DARTS space do.
    """

    order: Literal["weights_first", "arch_first"] = "weights_first"

    def __post_init__(self) -> None:
        if self.order not in ("weights_first", "arch_first"):
            raise UserError(f"bilevel.order must be weights_first or arch_first, got {self.order!r}.")

    def alpha_gradients(self, valid_loss: Tensor, alphas: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Only what leads to alpha is differentiated: no gradient of a weight is computed or stored."""
        return torch.autograd.grad(valid_loss, list(alphas))
