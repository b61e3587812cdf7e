"""The virtual step of a bilevel strategy of second order."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nas_lightning.errors import UserError


class SgdLookahead:
    """-rate * (momentum * buffer + gradient + decay * w): the step of SGD without Nesterov (quark0/darts, architect.py)."""

    def __init__(self, optimizer: Callable[[], torch.optim.Optimizer]) -> None:
        self._optimizer = optimizer

    def check(self) -> None:
        """UserError where the optimiser's step is none that is known here."""
        self._group()

    @property
    def rate(self) -> Tensor:
        group = self._group()
        weight = group["params"][0]
        return torch.full((), group["lr"], dtype=weight.dtype, device=weight.device)

    def __call__(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        group, state = self._group(), self._optimizer().state
        steps = []
        for weight, gradient in zip(group["params"], gradients, strict=True):
            step = gradient + group["weight_decay"] * weight.detach()
            buffer = state[weight].get("momentum_buffer") if weight in state else None
            steps.append(-group["lr"] * (step if buffer is None else step + group["momentum"] * buffer))
        return steps

    def _group(self) -> dict[str, Any]:
        optimizer = self._optimizer()
        if not isinstance(optimizer, torch.optim.SGD):
            raise UserError(
                f"bilevel=second_order knows the step of SGD alone, not of {type(optimizer).__name__}; "
                "set model.weight_optimizer to torch.optim.SGD, or bilevel=first_order."
            )
        if len(optimizer.param_groups) != 1:
            raise UserError(
                f"bilevel=second_order knows the step of one group of weights, not of {len(optimizer.param_groups)}; "
                "give model.weight_optimizer all weights as one group, or bilevel=first_order."
            )
        return optimizer.param_groups[0]
