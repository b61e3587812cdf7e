"""What an operation or an edge is worth: what the supernet loses without it (arXiv 2108.04392).

Letters: E edges, O operations.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from torch import Tensor

from nas_lightning.decisions.base import Probe

By = Literal["accuracy", "loss"]

Worth = Callable[[Tensor], float]
"""What the supernet is worth at other weights [E, O] of one cell type: the more, the better."""


def worth_of(name: str, betas: Mapping[str, Tensor], probe: Probe, by: By) -> Worth:
    """Of the cell type `name` among `betas`; the others are as they are when it is asked for."""

    def worth(beta_EO: Tensor) -> float:
        loss, accuracy = probe({**betas, name: beta_EO})
        return accuracy if by == "accuracy" else -loss

    return worth


def without(beta_EO: Tensor, edge: int, operation: int | None = None) -> Tensor:
    """The weights without one of the edge's operations, or without the edge; the others are not renormalised."""
    changed = beta_EO.clone()
    changed[edge, slice(None) if operation is None else operation] = 0
    return changed


def most_missed(beta_EO: Tensor, edge: int, operations: Iterable[int], worth: Worth) -> list[int]:
    """The edge's operations, the one whose absence leaves the worst supernet first; of equals the first."""
    left = {operation: worth(without(beta_EO, edge, operation)) for operation in operations}
    return sorted(left, key=lambda operation: left[operation])
