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
    """

    edges: tuple[tuple[int, int], ...]
    operations: tuple[str, ...]
    candidates: tuple[tuple[bool, ...], ...]

    @property
    def mask_EO(self) -> Tensor:
        return torch.tensor(self.candidates, dtype=torch.bool)


class SearchSpace(Protocol):
    """Cells with alpha, the supernet over all architectures, and one network for each of them."""

    name: str
    cells: Mapping[str, CellSpec]

    def supernet(self, num_classes: int) -> nn.Module:
        """A module called as supernet(x_BCHW, {cell type: EdgeWeights}) -> logits [B, num_classes].

        Its method cells() iterates over its relaxed cells.
        """
        ...

    def derive(self, scores: Mapping[str, Tensor]) -> Genotype:
        """The architecture that scores_EO (alpha, masked with -inf) of each cell type stand for."""
        ...

    def network(self, genotype: Genotype, num_classes: int) -> nn.Module:
        """The stand-alone network of `genotype`: called as network(x_BCHW) -> logits [B, num_classes]."""
        ...

    def parse(self, text: str) -> Genotype:
        """Read the space's own genotype text; UserError where it names another space's architecture."""
        ...

    def baselines(self, generator: torch.Generator) -> dict[str, Genotype]:
        """What a found architecture is held against: one drawn uniformly, and those a collapsed search ends in."""
        ...
