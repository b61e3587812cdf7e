"""DARTS-PT: an operation is worth what the supernet loses without it.

Letters: E edges, O operations.
"""

import math
from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nas_lightning.decisions.base import Masks, Probe, State, only, undecided, within
from nas_lightning.decisions.leave_out import By, Worth, most_missed, without, worth_of
from nas_lightning.errors import UserError, check_flag, check_whole
from nas_lightning.relaxations.view import CellView, View


@dataclass(frozen=True)
class OperationDrop:
    """Every `interval` epochs one decision for each cell type, from the stage's first on (arXiv 2108.04392).

    All are made within the stage, which takes interval * (decisions - 1) + 1 epochs: in a shorter one they are closer, evenly.
    First edges in a random order: each of the edge's operations is left out in turn, the others not renormalised, and the
    one whose absence hurts most stays alone. Then, where an architecture keeps but some edges into a node, nodes in a random
    order: while a node has more, the edge whose absence leaves the best supernet goes. What would leave no architecture, `none`
    on too many edges, is not chosen.

    by: what is measured on the validation half, "accuracy" or "loss". none: whether `none` may be what stays of an edge, as in
    the authors' program, which then derives the first operation that is not; here such an edge is none that a node keeps.
    """

    interval: int = 5
    by: By = "accuracy"
    none: bool = True

    def __post_init__(self) -> None:
        check_whole("decision.interval", self.interval, 1)
        if self.by not in ("accuracy", "loss"):
            raise UserError(f"decision.by must be accuracy or loss, got {self.by!r}.")
        check_flag("decision.none", self.none)

    def __call__(
        self, epoch: int, epochs: int, view: View, probe: Probe, state: State, generator: torch.Generator
    ) -> tuple[Masks, State]:
        made, of = state.get("made", 0), state.get("of", max(_decisions(cell) for cell in view.values()))
        betas = {name: cell.probabilities_EO for name, cell in view.items()}
        masks: dict[str, Tensor] = {}
        while made < of and epoch >= self._due(made, of, epochs):
            for name, cell in view.items():
                now = replace(cell, mask_EO=masks.get(name, cell.mask_EO))
                mask_EO = self._decided(now, betas[name], worth_of(name, betas, probe, self.by), generator)
                if mask_EO is not None:
                    masks[name] = mask_EO
                    # The cell types that follow are measured with this one as it is now.
                    betas[name] = within(betas[name], mask_EO)
            made += 1
        return masks, {"made": made, "of": of}

    def _due(self, made: int, of: int, epochs: int) -> int:
        """The stage's epoch at whose start the next of `of` decisions is."""
        return self.interval * made if epochs > self.interval * (of - 1) else math.ceil(made * (epochs - 1) / (of - 1))

    def _decided(self, cell: CellView, beta_EO: Tensor, worth: Worth, generator: torch.Generator) -> Tensor | None:
        mask_EO = cell.mask_EO
        if open_edges := undecided(mask_EO):
            edge = open_edges[int(torch.randint(len(open_edges), (), generator=generator))]
            operations = [o for o, may in enumerate(mask_EO[edge].tolist()) if may and self._may_stay(cell, o)]
            order = most_missed(beta_EO, edge, operations, worth)
            return next(mask for o in order if _is_whole(cell, mask := only(mask_EO, edge, o)))
        inputs, left = cell.spec.inputs_a_node, _edges_into(cell)
        nodes = [node for node, edges in left.items() if inputs is not None and len(edges) > inputs]
        if not nodes or inputs is None:
            return None
        node = nodes[int(torch.randint(len(nodes), (), generator=generator))]
        edges = left[node]
        while len(edges) > inputs:
            left_out = {e: worth(without(within(beta_EO, mask_EO), e)) for e in edges}
            possible = [e for e in edges if _is_whole(cell, _dropped(mask_EO, e))]
            gone = max(reversed(possible), key=lambda e: left_out[e])  # the last of equals, as the authors' program
            mask_EO = _dropped(mask_EO, gone)
            edges.remove(gone)
        return mask_EO

    def _may_stay(self, cell: CellView, operation: int) -> bool:
        return self.none or cell.spec.operations[operation] != "none"


def _decisions(cell: CellView) -> int:
    """How many it takes until an architecture is left: one an edge, then one a node with more inputs than it keeps."""
    inputs, into = cell.spec.inputs_a_node, _edges_into(cell).values()
    return len(undecided(cell.mask_EO)) + sum(inputs is not None and len(edges) > inputs for edges in into)


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
