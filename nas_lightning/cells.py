"""A cell type: its edges and the operations that each may carry.

Letters: E edges, O operations.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas_lightning.ramps import Ramp


@dataclass(frozen=True)
class CellSpec:
    """Compound edges (source node, target node) and the operations each may carry.

    candidates[e][o] says whether the space allows operation o on edge e: what supernets have weights for. During a search
    the candidates that are left are `Architecture.mask`.

    Edges come in the order of their targets. Nodes that no edge leads into are the inputs; `outputs` are those that make
    the cell's output. edge_weights: each edge has a
    parameter too, which weights it among the edges into its node (PC-DARTS' edge normalisation). inputs_a_node: how many
    edges into a node an architecture keeps, None for all.

    auxiliary_skip: gamma of a skip connection beside the operations of every edge, outside of the relaxation (DARTS-); no
    architecture has it. auxiliary_mean: an edge then has (operations + gamma * skip) / (1 + gamma), so that features grow far
    less from cell to cell where no batch norm lies between. drop_path: the probability with which a half step takes the mixed
    output of an edge from an image (R-DARTS). skip_dropout: with which it takes an entry of its features from a candidate skip
    connection of stride 1 (P-DARTS, arXiv 1904.12760). None, or 0 in an epoch: there is nothing of the kind.
    """

    edges: tuple[tuple[int, int], ...]
    operations: tuple[str, ...]
    candidates: tuple[tuple[bool, ...], ...]
    outputs: tuple[int, ...]
    edge_weights: bool = False
    inputs_a_node: int | None = None
    auxiliary_skip: Ramp | None = None
    auxiliary_mean: bool = False
    drop_path: Ramp | None = None
    skip_dropout: Ramp | None = None

    @property
    def mask_EO(self) -> Tensor:
        return torch.tensor(self.candidates, dtype=torch.bool)

    def edges_into(self) -> list[int]:
        """How many edges lead into each node that is no input, in the order of the nodes."""
        into = Counter(target for _, target in self.edges)
        return [into[target] for target in sorted(into)]

    def reached(self, mask: Sequence[Sequence[bool]]) -> set[int]:
        """The nodes that candidates other than `none` of `mask` [E][O] lead to from the inputs, and these."""
        targets = {target for _, target in self.edges}
        nodes = {source for source, _ in self.edges} - targets
        for edge, (source, target) in enumerate(self.edges):  # a source's own edges come before
            if source in nodes and self.named(mask, edge):
                nodes.add(target)
        return nodes

    def named(self, mask: Sequence[Sequence[bool]], edge: int) -> list[str]:
        """The operations other than `none` that `mask` [E][O] leaves on `edge`."""
        return [name for name, may in zip(self.operations, mask[edge], strict=True) if may and name != "none"]
