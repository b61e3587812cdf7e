"""The NAS-Bench-201 space (arXiv 2001.00326): one cell type with 6 edges of 5 operations, 15,625 architectures."""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_lightning.banks import EdgeWeights
from nas_lightning.errors import UserError, check_flag, check_whole
from nas_lightning.genotype import NB201_EDGES, NB201_OPERATIONS, Genotype, nb201_genotype, parse_nb201
from nas_lightning.network import DiscreteCell, ReluConvBn
from nas_lightning.spaces.base import CellScores, CellSpec
from nas_lightning.supernet import RelaxedCell


class _Reduction(nn.Module):
    """The residual block between stages: stride 2, channels doubled. The shortcut's convolution has no batch norm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = ReluConvBn(in_channels, out_channels, 3, stride=2)
        self.second = ReluConvBn(out_channels, out_channels, 3)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)) + self.shortcut(F.avg_pool2d(x, 2, stride=2))


class _Skeleton(nn.Module):
    """Stem, three stages of cells with reductions between them, head. `cell(channels)` makes one cell."""

    def __init__(self, channels: int, cells_per_stage: int, num_classes: int, cell: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        widths = (channels, 2 * channels, 4 * channels)
        self.stages = nn.ModuleList(nn.ModuleList(cell(width) for _ in range(cells_per_stage)) for width in widths)
        self.reductions = nn.ModuleList(_Reduction(a, b) for a, b in pairwise(widths))
        self.head = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU())
        self.classifier = nn.Linear(widths[-1], num_classes)

    def run(self, x: Tensor, *relaxed: EdgeWeights) -> Tensor:
        """`relaxed` is handed to every cell: nothing for a network, the edge weights for a supernet."""
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            if index:
                x = self.reductions[index - 1](x)
            for cell in stage:  # type: ignore[attr-defined]
                x = cell(x, *relaxed)
        # mean, not adaptive pooling: the latter's backward has no deterministic form on CUDA.
        return self.classifier(self.head(x).mean((2, 3)))


class NB201Network(_Skeleton):
    """The network the benchmark trained for one genotype: batch norms with affine parameters and running statistics."""

    def __init__(self, genotype: Genotype, channels: int, cells_per_stage: int, num_classes: int) -> None:
        choices = genotype.cells["cell"]
        super().__init__(channels, cells_per_stage, num_classes, lambda width: DiscreteCell(choices, width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> logits [B, num_classes]."""
        return self.run(x)


class NB201Supernet(_Skeleton):
    """All 15,625 networks in one. Batch norms use batch statistics always: the activations of a relaxed and of a
    discretised supernet differ too much for shared running statistics."""

    def __init__(
        self, spec: CellSpec, channels: int, cells_per_stage: int, num_classes: int, conv_bias: bool, partial: int
    ) -> None:
        def cell(width: int) -> RelaxedCell:
            return RelaxedCell(spec, width, conv_bias, partial)

        super().__init__(channels, cells_per_stage, num_classes, cell)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats = False
                module.running_mean = module.running_var = module.num_batches_tracked = None
        self.to(memory_format=torch.channels_last)

    def cells(self) -> Iterator[nn.Module]:
        """The relaxed cells, which hold nearly all of the work."""
        return (module for module in self.modules() if isinstance(module, RelaxedCell))

    def forward(self, x: Tensor, weights: Mapping[str, EdgeWeights]) -> Tensor:
        """[B, 3, H, W] and the weights of cell type "cell" -> logits [B, num_classes]."""
        return self.run(x.contiguous(memory_format=torch.channels_last), weights["cell"])


class NB201:
    """NAS-Bench-201 with C channels in the first stage and N cells a stage (the benchmark: C=16, N=5).

    none: whether `none` is a candidate. partial: K; the operations act on 1/K of the channels (PC-DARTS; without
    edge_weights as in DrNAS), 1 for all. edge_weights: each edge is weighted by a softmax over the edges into its node.
    conv_bias: give the search cells' convolutions the (idle) bias of
    AutoDL-Projects, see `StackedConv`.
    """

    name = "nb201"

    def __init__(
        self, C: int = 16, N: int = 5, none: bool = True, conv_bias: bool = False, partial: int = 1, edge_weights: bool = False
    ) -> None:
        for key, value in (("C", C), ("N", N), ("partial", partial)):
            check_whole(f"space.{key}", value, 1)
        for key, flag in (("none", none), ("conv_bias", conv_bias), ("edge_weights", edge_weights)):
            check_flag(f"space.{key}", flag)
        self.channels = C
        self.cells_per_stage = N
        self.conv_bias = conv_bias
        self.partial = partial
        row = tuple(none or operation != "none" for operation in NB201_OPERATIONS)
        self.cells = {"cell": CellSpec(NB201_EDGES, NB201_OPERATIONS, (row,) * len(NB201_EDGES), edge_weights)}

    def supernet(self, num_classes: int) -> NB201Supernet:
        return NB201Supernet(
            self.cells["cell"], self.channels, self.cells_per_stage, num_classes, self.conv_bias, self.partial
        )

    def network(self, genotype: Genotype, num_classes: int) -> NB201Network:
        self.check(genotype, "the genotype")
        return NB201Network(genotype, self.channels, self.cells_per_stage, num_classes)

    def derive(self, scores: Mapping[str, CellScores]) -> Genotype:
        """The largest alpha of every edge, `none` included where it is a candidate (arXiv 2306.06855, eq. 2)."""
        best = scores["cell"].alpha_EO.argmax(-1).tolist()
        return nb201_genotype(tuple(NB201_OPERATIONS[operation] for operation in best))

    def parse(self, text: str) -> Genotype:
        return parse_nb201(text)

    def check(self, genotype: Genotype, place: str) -> None:
        if genotype.space != self.name:
            raise UserError(
                f"{place} is an architecture of the space {genotype.space!r}, not nb201; set space={genotype.space}."
            )

    def baselines(self, generator: torch.Generator) -> dict[str, Genotype]:
        kept = self.cells["cell"].candidates[0]
        candidates = [operation for operation, is_kept in zip(NB201_OPERATIONS, kept, strict=True) if is_kept]
        drawn = torch.randint(len(candidates), (len(NB201_EDGES),), generator=generator).tolist()
        return {
            "random": nb201_genotype(tuple(candidates[index] for index in drawn)),
            "all_skip": nb201_genotype(("skip_connect",) * len(NB201_EDGES)),
        }
