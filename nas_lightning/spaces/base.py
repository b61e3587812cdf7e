"""What a search space declares: the edges and candidate operations of its cells, and which architectures are legal.

Letters: E edges, O operations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from nas_lightning.genotype import Genotype


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


class SearchSpace(Protocol):
    """Cells with alpha, the supernet over all architectures, and one network for each of them."""

    name: str
    cells: Mapping[str, CellSpec]

    def supernet(self, num_classes: int) -> nn.Module:
        """A module called as supernet(x_BCHW, {cell type: EdgeWeights}) -> logits [B, num_classes].

        Its method cells() iterates over its relaxed cells.
        """
        ...

    def derive(self, scores: Mapping[str, CellScores]) -> Genotype:
        """The architecture that the scores of each cell type stand for."""
        ...

    def network(self, genotype: Genotype, num_classes: int) -> nn.Module:
        """The stand-alone network of `genotype`: called as network(x_BCHW) -> logits [B, num_classes].

        With an auxiliary head, its parameters named `auxiliary.*`, it returns (logits, auxiliary logits) in training mode.
        Its `StochasticDepth` modules, if any, are told the drop-path probability by the training.
        """
        ...

    def parse(self, text: str) -> Genotype:
        """Read the space's own genotype text; UserError where it names another space's architecture."""
        ...

    def check(self, genotype: Genotype, place: str) -> None:
        """UserError where `genotype`, found at `place`, is no architecture of this space."""
        ...

    def baselines(self, generator: torch.Generator) -> dict[str, Genotype]:
        """What a found architecture is held against: one drawn uniformly, and those a collapsed search ends in."""
        ...
