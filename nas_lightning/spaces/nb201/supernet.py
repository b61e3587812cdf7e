"""The supernet of NAS-Bench-201: every candidate operation on every edge of every cell."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from nas_lightning.cells import CellSpec
from nas_lightning.spaces.nb201.bank import SourceBank
from nas_lightning.spaces.nb201.skeleton import Skeleton
from nas_lightning.spaces.norms import SupernetNorm
from nas_lightning.spaces.relaxed import RelaxedNodes
from nas_lightning.spaces.stems import Stem
from nas_lightning.spaces.weights import EdgeWeights


class RelaxedCell(RelaxedNodes):
    """NAS-Bench-201's: node 0 is the input, the last node the output."""

    def __init__(self, spec: CellSpec, channels: int, conv_bias: bool, partial: int = 1, running: bool = False) -> None:
        super().__init__(
            spec.edges,
            channels,
            lambda node, edges, width: SourceBank(edges, spec.operations, width, conv_bias, running),
            partial=partial,
        )

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        """[B, C, H, W] and the weights of this cell type -> [B, C, H, W]."""
        output = self.run([x], weights)[-1]
        return x.new_zeros(x.shape) if output is None else output


class NB201Supernet(Skeleton):
    """All 15,625 networks in one. running: see `SupernetNorm`."""

    def __init__(
        self,
        spec: CellSpec,
        channels: int,
        cells_per_stage: int,
        num_classes: int,
        conv_bias: bool,
        partial: int,
        stem: Stem = "cifar",
        running: bool = False,
    ) -> None:
        def cell(width: int) -> RelaxedCell:
            return RelaxedCell(spec, width, conv_bias, partial, running)

        def norm(width: int) -> SupernetNorm:
            return SupernetNorm(width, running, affine=True)

        super().__init__(channels, cells_per_stage, num_classes, cell, norm, stem)
        self.to(memory_format=torch.channels_last)

    def cells(self) -> Iterator[nn.Module]:
        """The relaxed cells, which hold nearly all of the work."""
        return (module for module in self.modules() if isinstance(module, RelaxedCell))

    def forward(self, x: Tensor, weights: Mapping[str, EdgeWeights]) -> Tensor:
        """[B, 3, H, W] and the weights of cell type "cell" -> logits [B, num_classes]."""
        return self.run(x.contiguous(memory_format=torch.channels_last), weights["cell"])
