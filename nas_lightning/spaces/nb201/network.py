"""The network of a found NAS-Bench-201 architecture: one operation on each edge, as the benchmark trains it."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.spaces.nb201.skeleton import ReluConvBn, Skeleton
from nas_lightning.spaces.stems import Stem


class _AveragePool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _operation(name: str, channels: int) -> nn.Module:
    match name:
        case "skip_connect":
            return nn.Identity()
        case "nor_conv_1x1":
            return ReluConvBn(channels, channels, 1)
        case "nor_conv_3x3":
            return ReluConvBn(channels, channels, 3)
        case "avg_pool_3x3":
            return _AveragePool()
    raise ValueError(f"no operation {name}")


class DiscreteCell(nn.Module):
    """Node i is the sum over its incoming edges of their operation; `none` edges do not exist, an empty sum is zero."""

    def __init__(self, choices: tuple[Choice, ...], channels: int) -> None:
        super().__init__()
        self.num_nodes = 1 + max(choice.target for choice in choices)
        self.choices = tuple(choice for choice in choices if choice.operation != "none")
        self.operations = nn.ModuleList(_operation(choice.operation, channels) for choice in self.choices)

    def forward(self, x: Tensor) -> Tensor:
        nodes: list[Tensor | None] = [x] + [None] * (self.num_nodes - 1)
        # Choices are in target order, so a source is complete before it is read.
        for choice, operation in zip(self.choices, self.operations, strict=True):
            source = nodes[choice.source]
            contribution = operation(x.new_zeros(x.shape) if source is None else source)
            previous = nodes[choice.target]
            nodes[choice.target] = contribution if previous is None else previous + contribution
        output = nodes[-1]
        return x.new_zeros(x.shape) if output is None else output


class NB201Network(Skeleton):
    """The network the benchmark trained for one genotype: batch norms with affine parameters and running statistics."""

    def __init__(
        self, genotype: Genotype, channels: int, cells_per_stage: int, num_classes: int, stem: Stem = "cifar"
    ) -> None:
        choices = genotype.cells["cell"]
        super().__init__(channels, cells_per_stage, num_classes, lambda width: DiscreteCell(choices, width), stem=stem)

    def chosen(self) -> Iterator[tuple[str, Choice, nn.Module]]:
        """(cell type, choice, its module) of every cell's operations."""
        for stage in self.stages:
            for cell in stage:  # type: ignore[attr-defined]
                yield from (("cell", *each) for each in zip(cell.choices, cell.operations, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> logits [B, num_classes]."""
        return self.run(x)
