"""The weights as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from nas_lightning.bilevel.base import (
    Batch,
    Lookahead,
    Losses,
    Order,
    Outputs,
    check_order,
    filled,
    frozen,
    over_passes,
)
from nas_lightning.errors import UserError


@dataclass(frozen=True)
class FirstOrder:
    """d L(w, alpha) / d alpha with the weights as they are (arXiv 1806.09055, first order; arXiv 2306.06855).

    order: of the half steps. batch: the validation batch; or the training batch, so that both half steps follow one loss
    (single level, as GAEA-ERM).
    """

    looks_ahead: ClassVar[bool] = False

    order: Order = "weights_first"
    batch: Literal["valid", "train"] = "valid"

    def __post_init__(self) -> None:
        check_order(self.order)
        if self.batch not in ("valid", "train"):
            raise UserError(f"bilevel.batch must be valid or train, got {self.batch!r}.")

    @property
    def batches(self) -> tuple[str, ...]:
        return (self.batch,)

    def alpha_gradients(
        self, losses: Losses, batches: Mapping[str, Batch], drawn: Mapping[str, Tensor], ahead: Lookahead
    ) -> Outputs:
        """Only what leads to alpha is differentiated: no gradient of a weight is computed or stored."""
        alphas, passes = losses.alphas(), losses.passes(drawn)
        outputs: list[tuple[Tensor, Tensor]] = []
        total: Sequence[Tensor] = ()
        for part in passes:
            with frozen(losses.supernet):
                loss, logits = losses.loss(batches[self.batch], part)
            penalty = None if outputs else losses.penalty_term()
            outputs.append((loss.detach(), logits.detach()))
            objective = loss / len(passes)
            gradients = _gradients(objective if penalty is None else objective + penalty, alphas)
            total = torch._foreach_add(list(total), gradients) if total else gradients
        return *over_passes(outputs), *total


def _gradients(objective: Tensor, alphas: Sequence[Tensor]) -> list[Tensor]:
    if not objective.requires_grad:  # a draw may leave no path to alpha: `none` on every edge, say
        return filled([None] * len(alphas), alphas)
    return filled(torch.autograd.grad(objective, alphas, allow_unused=True), alphas)
