"""The supernet of the DARTS space (arXiv 1806.09055) and of S1-S4: both cell types stacked, every candidate on every edge.

Letters: B batch, C channels.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from nas_lightning.cells import CellSpec
from nas_lightning.spaces.darts.bank import DartsBank, StackedFactorizedReduce
from nas_lightning.spaces.norms import SupernetNorm
from nas_lightning.spaces.relaxed import RelaxedNodes
from nas_lightning.spaces.stems import Stem, conv_norm, imagenet_stem
from nas_lightning.spaces.weights import EdgeWeights


class _Reduce(nn.Module):
    """ReLU, factorised reduction and batch norm: stride 2."""

    def __init__(self, in_channels: int, channels: int, running: bool) -> None:
        super().__init__()
        self.reduce = StackedFactorizedReduce(1, in_channels, channels, running)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.reduce(torch.relu(x), (0,))
        return y


def _preprocess(in_channels: int, channels: int, reduce: bool, running: bool) -> nn.Module:
    """What brings a cell's input to its width and, after a reduction, its size."""
    if reduce:
        return _Reduce(in_channels, channels, running)
    convolution = nn.Conv2d(in_channels, channels, 1, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, SupernetNorm(channels, running))


class DartsCell(RelaxedNodes):
    """Nodes 0 and 1 are the outputs of the two cells before; the output is the other nodes' channels one after another.

    reduction: the edges from both inputs have stride 2. after_reduction: the cell before was a reduction, so that the
    one before that is twice as large. running: see `SupernetNorm`.
    """

    def __init__(
        self,
        spec: CellSpec,
        in_channels: tuple[int, int],
        channels: int,
        reduction: bool,
        after_reduction: bool,
        partial: int = 1,
        running: bool = False,
    ) -> None:
        halving = (0, 1) if reduction else ()

        def bank(node: int, edges: Sequence[int], width: int) -> DartsBank:
            stride = 2 if node in halving else 1
            auxiliary = spec.auxiliary_skip is not None
            return DartsBank(edges, spec.operations, spec.candidates, width, stride, auxiliary, running)

        super().__init__(spec.edges, channels, bank, inputs=2, halving=halving, partial=partial)
        self.channels = channels
        self.preprocess = nn.ModuleList(
            _preprocess(width, channels, reduce, running)
            for width, reduce in zip(in_channels, (after_reduction, False), strict=True)
        )

    def forward(self, inputs: tuple[Tensor, Tensor], weights: EdgeWeights) -> Tensor:
        """The outputs of the two cells before, older first -> [B, 4 C, H, W], at half the size from a reduction cell."""
        prepared = [layer(x) for layer, x in zip(self.preprocess, inputs, strict=True)]
        nodes = self.run(prepared, weights)[2:]
        zeros = torch.zeros_like(prepared[0][:, :, ::2, ::2] if self.halving else prepared[0])
        return torch.cat([zeros if node is None else node for node in nodes], 1)


class DartsSupernet(nn.Module):
    """Stem, cells, global average pool, linear; reductions at a third and two thirds of the cells, C doubled there.

    cells: the cell types "normal" and "reduce". partial: see `RelaxedNodes`. stem: "cifar" has 3 C channels; of "imagenet"
    the first cell takes the outputs after both its parts, the first of which is twice as large. running: see `SupernetNorm`.
    """

    def __init__(
        self,
        cells: Mapping[str, CellSpec],
        channels: int,
        num_cells: int,
        num_classes: int,
        partial: int = 1,
        stem: Stem = "cifar",
        running: bool = False,
    ) -> None:
        def norm(width: int) -> SupernetNorm:
            return SupernetNorm(width, running, affine=True)

        super().__init__()
        self.second_stem: nn.Module | None = None
        if stem == "cifar":
            self.stem = nn.Sequential(*conv_norm(3, 3 * channels, norm))
        else:
            self.stem, self.second_stem = imagenet_stem(channels, norm)
        reductions = {num_cells // 3, 2 * num_cells // 3}
        self.cell_types = ["reduce" if index in reductions else "normal" for index in range(num_cells)]
        self.layers = nn.ModuleList()
        widths = (channels, channels) if self.second_stem is not None else (3 * channels, 3 * channels)
        after_reduction = self.second_stem is not None
        for cell_type in self.cell_types:
            reduction = cell_type == "reduce"
            channels *= 2 if reduction else 1
            self.layers.append(
                DartsCell(cells[cell_type], widths, channels, reduction, after_reduction, partial, running)
            )
            widths, after_reduction = (widths[1], 4 * channels), reduction
        self.classifier = nn.Linear(widths[1], num_classes)
        self.to(memory_format=torch.channels_last)

    def cells(self) -> Iterator[nn.Module]:
        """The relaxed cells, which hold nearly all of the work."""
        return iter(self.layers)

    def forward(self, x: Tensor, weights: Mapping[str, EdgeWeights]) -> Tensor:
        """[B, 3, H, W] and the weights of cell types "normal" and "reduce" -> logits [B, num_classes]."""
        stem = self.stem(x.contiguous(memory_format=torch.channels_last))
        outputs = stem, stem if self.second_stem is None else self.second_stem(stem)
        for index, (cell_type, cell) in enumerate(zip(self.cell_types, self.layers, strict=True)):
            outputs = outputs[1], cell(outputs, weights[cell_type].of_cell(index))
        # mean, not adaptive pooling: the latter's backward has no deterministic form on CUDA.
        return self.classifier(outputs[1].mean((2, 3)))
