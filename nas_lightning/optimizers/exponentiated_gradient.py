"""Exponentiated gradient: mirror descent on the simplex by the entropy.

Letters: E edges, O operations, N edges into one node.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from nas_lightning.errors import UserError, is_number


class ExponentiatedGradient(torch.optim.Optimizer):
    """p <- p exp(-lr g), then at least `floor`, then each row divided by its sum (GAEA, arXiv 2004.07802).

    As the authors' program (architect_edarts.py). A row of operations is one of [E, O]; entries of exactly 0, which no
    operation has that was ever a candidate, stay 0. In the group `edges` a row is the edges into one node, as the group's
    `sizes` cut [E], its rate is `edge_lr`, and it has no floor.

    lr, edge_lr: positive. floor: in [0, 1); 0 for none. Rows must be positive with sum 1 at the start. Adding a constant to
    a row's gradient changes nothing (but for entries at the floor), a gradient of 0 leaves rows as they are.
    """

    keeps_simplex = True

    def __init__(
        self, groups: Iterable[dict[str, Any]], lr: float = 0.1, edge_lr: float = 0.1, floor: float = 1e-5
    ) -> None:
        for name, rate in (("lr", lr), ("edge_lr", edge_lr)):
            if not (is_number(rate) and 0 < rate < math.inf):
                raise UserError(f"arch_optimizer.{name} must be a positive number, got {rate!r}.")
        if not (is_number(floor) and 0 <= floor < 1):
            raise UserError(f"arch_optimizer.floor must be a number from 0 to below 1, got {floor!r}.")
        of_edges = {"lr": edge_lr, "floor": 0.0}
        named = [group | of_edges if group["name"] == "edges" else group for group in groups]
        super().__init__(named, {"lr": lr, "floor": floor})
        of_operations = [group["params"] for group in self.param_groups if group["floor"] > 0]
        most = max((parameter.shape[-1] for parameters in of_operations for parameter in parameters), default=0)
        if most * floor >= 1:
            raise UserError(
                f"arch_optimizer.floor={floor} leaves the weights of {most} operations no room; give less than 1/{most}."
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            sizes = group.get("sizes") or [None] * len(group["params"])
            for parameter, rows in zip(group["params"], sizes, strict=True):
                if parameter.grad is not None:
                    parameter.copy_(_stepped(parameter, parameter.grad, group["lr"], group["floor"], rows))
        return loss

    def step_bound(self) -> float:
        """How far an entry moves in one step at most: from one corner of the simplex to another."""
        return 1.0


def _stepped(p: Tensor, g: Tensor, lr: float, floor: float, sizes: list[int] | None) -> Tensor:
    moved = p * torch.exp(-lr * g)
    moved = torch.where(p > 0, moved.clamp(min=floor), moved)
    rows = [moved] if sizes is None else moved.split(sizes)
    return torch.cat([row / row.sum(-1, keepdim=True) for row in rows])
