"""What a search space offers: its cells, the supernet over all architectures, and one network for each of them."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import nn

from nas_lightning.cells import CellSpec
from nas_lightning.derive.base import DeriveRule
from nas_lightning.genotypes.base import Genotype


class SearchSpace(Protocol):
    """Cells with alpha, the supernet over all architectures, and one network for each of them."""

    name: str
    cells: Mapping[str, CellSpec]
    rule: DeriveRule
    """How architectures are derived unless a search names another rule."""
    side_multiple: int
    """The side in pixels of the images of a search is a multiple of it: supernet and networks halve it without a rest."""

    def supernet(self, num_classes: int) -> nn.Module:
        """A module called as supernet(x_BCHW, {cell type: EdgeWeights}) -> logits [B, num_classes].

        Its method cells() iterates over its relaxed cells.
        """
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
