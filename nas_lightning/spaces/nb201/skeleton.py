"""What supernet and network of NAS-Bench-201 (arXiv 2001.00326) have in common: the stem, three stages of cells, the head."""

from collections.abc import Callable
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from nas_lightning.spaces.stems import Norm, Stem, conv_norm, imagenet_stem
from nas_lightning.spaces.weights import EdgeWeights


class ReluConvBn(nn.Sequential):
    """ReLU, convolution k x k without bias, batch norm."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, norm: Norm = nn.BatchNorm2d
    ) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
            norm(out_channels),
        )


class _Reduction(nn.Module):
    """The residual block between stages: stride 2, channels doubled. The shortcut's convolution has no batch norm."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm) -> None:
        super().__init__()
        self.first = ReluConvBn(in_channels, out_channels, 3, stride=2, norm=norm)
        self.second = ReluConvBn(out_channels, out_channels, 3, norm=norm)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)) + self.shortcut(F.avg_pool2d(x, 2, stride=2))


class Skeleton(nn.Module):
    """Stem, three stages of cells with reductions between them, head. `cell(channels)` makes one cell."""

    def __init__(
        self,
        channels: int,
        cells_per_stage: int,
        num_classes: int,
        cell: Callable[[int], nn.Module],
        norm: Norm = nn.BatchNorm2d,
        stem: Stem = "cifar",
    ) -> None:
        super().__init__()
        if stem == "cifar":
            self.stem = nn.Sequential(*conv_norm(3, channels, norm))
        else:
            self.stem = nn.Sequential(*(layer for part in imagenet_stem(channels, norm) for layer in part))
        widths = (channels, 2 * channels, 4 * channels)
        self.stages = nn.ModuleList(nn.ModuleList(cell(width) for _ in range(cells_per_stage)) for width in widths)
        self.reductions = nn.ModuleList(_Reduction(a, b, norm) for a, b in pairwise(widths))
        self.head = nn.Sequential(norm(widths[-1]), nn.ReLU())
        self.classifier = nn.Linear(widths[-1], num_classes)

    def run(self, x: Tensor, *relaxed: EdgeWeights) -> Tensor:
        """`relaxed` is handed to every cell: nothing for a network, the edge weights for a supernet."""
        x, done = self.stem(x), 0
        for index, stage in enumerate(self.stages):
            if index:
                x = self.reductions[index - 1](x)
            for cell in stage:  # type: ignore[attr-defined]
                x, done = cell(x, *(weights.of_cell(done) for weights in relaxed)), done + 1
        # mean, not adaptive pooling: the latter's backward has no deterministic form on CUDA.
        return self.classifier(self.head(x).mean((2, 3)))
