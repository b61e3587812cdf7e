"""A cell type as a search sees it: its edges and candidate operations, and the scores that an architecture is derived from.

Letters: E edges, O operations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CellSpec:
    """One cell type: its compound edges (source node, target node) and the operations each may carry.

    candidates[e][o] says whether operation o may stand on edge e. A masked operation gets weight 0, is never computed
    and never chosen; this one mask expresses spaces with fewer operations, pruning and decided edges.

    Edges come in the order of their targets. edge_weights: each edge has a logit too, whose softmax over the edges into a
    node weights them (PC-DARTS' edge normalisation).
    """

    edges: tuple[tuple[int, int], ...]
    operations: tuple[str, ...]
    candidates: tuple[tuple[bool, ...], ...]
    edge_weights: bool = False

    @property
    def mask_EO(self) -> Tensor:
        return torch.tensor(self.candidates, dtype=torch.bool)


@dataclass(frozen=True)
class CellScores:
    """What the architecture of one cell type is derived from, on the CPU.

    alpha_EO: -inf where an operation is masked. temperature: the t of beta = softmax(alpha / t). edge_E: one logit an
    edge, whose softmax over the edges into a node weights them (PC-DARTS); None where edges have no weights of their own.
    """

    alpha_EO: Tensor
    temperature: float
    edge_E: Tensor | None = None
