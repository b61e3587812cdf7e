"""DARTS-PT: an operation is worth what the supernet loses without it.

Letters: E edges, O operations.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nas_lightning.decisions.base import Masks, Probe, State, only, undecided
from nas_lightning.errors import UserError, check_whole
from nas_lightning.relaxations.view import CellView, View


@dataclass(frozen=True)
class OperationDrop:
    """Every `interval` epochs one decision for each cell type (arXiv 2108.04392).

    First edges in a random order: each of the edge's operations is left out in turn, the others not renormalised, and the
    one whose absence hurts most stays alone. Then, where an architecture keeps but some edges into a node, nodes in a random
    order: while a node has more, the edge whose absence leaves the best supernet goes. What would leave no architecture, `none`
    on too many edges, is not chosen.

    by: what is measured on the validation half, "accuracy" or "loss".
    """

    interval: int = 5
    by: str = "accuracy"

    def __post_init__(self) -> None:
        check_whole("decision.interval", self.interval, 1)
        if self.by not in ("accuracy", "loss"):
            raise UserError(f"decision.by must be accuracy or loss, got {self.by!r}.")

    def __call__(
        self, epoch: int, view: View, probe: Probe, state: State, generator: torch.Generator
    ) -> tuple[Masks, State]:
        if epoch % self.interval:
            return {}, state
        betas = {name: cell.probabilities_EO for name, cell in view.items()}
        masks: dict[str, Tensor] = {}
        for name, cell in view.items():

            def worth(beta_EO: Tensor, name: str = name) -> float:
                loss, accuracy = probe({**betas, name: beta_EO})
                return accuracy if self.by == "accuracy" else -loss

            mask_EO = self._decided(cell, betas[name], worth, generator)
            if mask_EO is not None:
                masks[name] = mask_EO
                # The cell types that follow are measured with this one as it is now.
                betas[name] = _within(betas[name], mask_EO)
        return masks, state

    def _decided(
        self, cell: CellView, beta_EO: Tensor, worth: Callable[[Tensor], float], generator: torch.Generator
    ) -> Tensor | None:
        mask_EO = cell.mask_EO
        if open_edges := undecided(mask_EO):
            edge = open_edges[int(torch.randint(len(open_edges), (), generator=generator))]
            operations = [o for o, may in enumerate(mask_EO[edge].tolist()) if may]
            without = {o: worth(_zeroed(beta_EO, edge, o)) for o in operations}
            possible = [o for o in operations if _is_whole(cell, only(mask_EO, edge, o))]
            return only(mask_EO, edge, min(possible, key=lambda o: without[o]))
        inputs, left = cell.spec.inputs_a_node, _edges_into(cell)
        nodes = [node for node, edges in left.items() if inputs is not None and len(edges) > inputs]
        if not nodes or inputs is None:
            return None
        node = nodes[int(torch.randint(len(nodes), (), generator=generator))]
        edges = left[node]
        while len(edges) > inputs:
            without = {e: worth(_zeroed(_within(beta_EO, mask_EO), e)) for e in edges}
            possible = [e for e in edges if _is_whole(cell, _dropped(mask_EO, e))]
            gone = max(reversed(possible), key=lambda e: without[e])  # the last of equals, as the authors' program
            mask_EO = _dropped(mask_EO, gone)
            edges.remove(gone)
        return mask_EO


def _edges_into(cell: CellView) -> dict[int, list[int]]:
    """Node -> its edges that have a candidate left."""
    into: dict[int, list[int]] = {}
    for edge, (_, target) in enumerate(cell.spec.edges):
        if cell.mask_EO[edge].any():
            into.setdefault(target, []).append(edge)
    return into


def _dropped(mask_EO: Tensor, edge: int) -> Tensor:
    without = mask_EO.clone()
    without[edge] = False
    return without


def _is_whole(cell: CellView, mask_EO: Tensor) -> bool:
    """Whether the mask leaves an architecture: an operation leads to every output, and enough of them into every node."""
    spec, mask = cell.spec, mask_EO.tolist()
    into = Counter(target for edge, (_, target) in enumerate(spec.edges) if spec.named(mask, edge))
    enough = all(into[target] >= (spec.inputs_a_node or 0) for _, target in spec.edges)
    return enough and {*spec.outputs} <= spec.reached(mask)


def _zeroed(beta_EO: Tensor, edge: int, operation: int | None = None) -> Tensor:
    changed = beta_EO.clone()
    changed[edge, slice(None) if operation is None else operation] = 0
    return changed


def _within(beta_EO: Tensor, mask_EO: Tensor) -> Tensor:
    """Decided edges have weight 1 on what is left, dropped ones none."""
    decided_E1 = mask_EO.sum(-1, keepdim=True) == 1
    return torch.where(decided_E1, mask_EO.to(beta_EO.dtype), beta_EO * mask_EO)
