"""The stand-alone networks of the DARTS family: one operation on each kept edge, trained from scratch.

Sources: quark0/darts cnn/model.py and operations.py for the sizes; DrNAS for batch norms after pools; RobustDARTS for noise.
Every convolution is without bias.

Letters: B batch, C channels.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.spaces.kernels import noise_like
from nas_lightning.spaces.stems import Stem, conv_norm, imagenet_stem


def _conv_bn(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    ]


def _separable(channels: int, kernel: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    """Depthwise k x k, pointwise 1 x 1, batch norm."""
    padding = dilation * (kernel // 2)
    return [
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        *_conv_bn(channels, channels, 1),
    ]


class FactorizedReduce(nn.Module):
    """Half the size without losing pixels: two 1 x 1 convolutions of stride 2, one shifted by a pixel, and a batch norm.

    Rows and columns must be even. The caller applies the ReLU. The stride is taken before the convolution: the backward of
    PyTorch 2.14's 1 x 1 convolution of stride 2 writes out of bounds on a CPU, for 12 channels or fewer of 56 x 56 pixels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)
        self.odd = nn.Conv2d(in_channels, out_channels - out_channels // 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, rectified: Tensor) -> Tensor:
        halves = self.even(rectified[:, :, ::2, ::2]), self.odd(rectified[:, :, 1::2, 1::2])
        return self.norm(torch.cat(halves, 1))


class Noise(nn.Module):
    """Standard normal noise of the output's shape, in training and in use: S4's operation that carries no information."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return noise_like(x, self.stride)


def _operation(name: str, channels: int, stride: int, pool_norm: bool) -> nn.Module:
    """An operation, without the ReLU that `_takes_relu` says it starts with."""
    kind, _, size = name.rpartition("_")
    kernel = int(size[0]) if size[0].isdigit() else 0
    match kind:
        case "max_pool":
            pool: nn.Module = nn.MaxPool2d(3, stride, padding=1)
        case "avg_pool":
            pool = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
        case "sep_conv":
            second = [nn.ReLU(), *_separable(channels, kernel, 1)]
            return nn.Sequential(*_separable(channels, kernel, stride), *second)
        case "dil_conv":
            return nn.Sequential(*_separable(channels, kernel, stride, dilation=2))
        case "skip":
            return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels)
        case _ if name == "noise":
            return Noise(stride)
        case _:
            raise ValueError(f"no operation {name}")
    return nn.Sequential(pool, nn.BatchNorm2d(channels, affine=False)) if pool_norm else pool


def _takes_relu(operation: nn.Module) -> bool:
    """Convolutions act on relu(x), which those that leave one node share; pools, identity and noise act on x."""
    return any(isinstance(module, nn.Conv2d) for module in operation.modules())


class _Edge(nn.Module):
    """One kept edge, with drop path on everything but the identity."""

    def __init__(self, choice: Choice, channels: int, stride: int, pool_norm: bool) -> None:
        super().__init__()
        self.source = choice.source
        self.operation = _operation(choice.operation, channels, stride, pool_norm)
        self.takes_relu = _takes_relu(self.operation)
        self.drop = None if isinstance(self.operation, nn.Identity) else StochasticDepth(0.0, "row")

    def forward(self, x: Tensor) -> Tensor:
        x = self.operation(x)
        return x if self.drop is None else self.drop(x)


class DartsCell(nn.Module):
    """Two preprocessed inputs, nodes that each add up to two edges, the output nodes side by side.

    in_channels: of the cell before the last and of the last. reduction: edges from the inputs have stride 2.
    after_reduction: the last cell was one, so that the input before it must be halved.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        output_nodes: Sequence[int],
        in_channels: tuple[int, int],
        channels: int,
        reduction: bool,
        after_reduction: bool,
        pool_norm: bool,
    ) -> None:
        super().__init__()
        halve = FactorizedReduce(in_channels[0], channels)
        self.preprocess = nn.ModuleList(
            [
                halve if after_reduction else nn.Sequential(*_conv_bn(in_channels[0], channels, 1)),
                nn.Sequential(*_conv_bn(in_channels[1], channels, 1)),
            ]
        )
        self.edges = nn.ModuleList(
            _Edge(choice, channels, 2 if reduction and choice.source < 2 else 1, pool_norm) for choice in choices
        )
        self.choices = tuple(choices)
        self.output_nodes = tuple(output_nodes)

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """Outputs of the two cells before -> [B, len(output_nodes) * C, H, W]."""
        nodes = {0: self.preprocess[0](F.relu(before)), 1: self.preprocess[1](F.relu(last))}
        rectified: dict[int, Tensor] = {}
        for index, choice in enumerate(self.choices):
            carried = self._along(index, nodes, rectified)
            nodes[choice.target] = nodes[choice.target] + carried if choice.target in nodes else carried
        return torch.cat([nodes[node] for node in self.output_nodes], 1)

    def _along(self, index: int, nodes: dict[int, Tensor], rectified: dict[int, Tensor]) -> Tensor:
        edge = self.edges[index]
        source: int = edge.source  # type: ignore[assignment]
        if not edge.takes_relu:
            return edge(nodes[source])
        if source not in rectified:
            rectified[source] = F.relu(nodes[source])
        return edge(rectified[source])


class _Auxiliary(nn.Module):
    """The second classifier, on the output of the second reduction cell, in training only.

    pool_stride and norm: 3 and True for CIFAR's 8 x 8, 2 and False (as published) for ImageNet's 7 x 7.
    """

    def __init__(self, channels: int, num_classes: int, pool_stride: int, norm: bool) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(5, pool_stride, count_include_pad=False),
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            *([nn.BatchNorm2d(768)] if norm else []),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class DartsNetwork(nn.Module):
    """A genotype's network: stem, `num_cells` cells of which those at 1/3 and 2/3 reduce and double the channels, classifier.

    channels: C of the first cells, even. stem: "cifar" keeps the image's size, "imagenet" divides it by 8.
    auxiliary_head: with it, training mode returns (logits, auxiliary logits). CIFAR's needs images of 32 pixels or more.
    pool_norm: batch norms without parameters after pools (DrNAS; quark0 has none).
    """

    def __init__(
        self,
        genotype: Genotype,
        channels: int,
        num_cells: int,
        num_classes: int,
        stem: Stem = "cifar",
        auxiliary_head: bool = False,
        pool_norm: bool = False,
    ) -> None:
        super().__init__()
        self.stem, before, last = _stem(stem, channels)
        after_reduction = stem == "imagenet"
        self.auxiliary_after = 2 * num_cells // 3
        self.cells = nn.ModuleList()
        reductions = num_cells // 3, self.auxiliary_after
        self.kinds = tuple("reduce" if index in reductions else "normal" for index in range(num_cells))
        for index, kind in enumerate(self.kinds):
            reduction = kind == "reduce"
            channels *= 2 if reduction else 1
            nodes = genotype.output_nodes(kind)
            cell = DartsCell(
                genotype.cells[kind], nodes, (before, last), channels, reduction, after_reduction, pool_norm
            )
            self.cells.append(cell)
            before, last, after_reduction = last, channels * len(nodes), reduction
            if index == self.auxiliary_after:
                auxiliary_channels = last
        pool_stride, norm = (3, True) if stem == "cifar" else (2, False)
        self.auxiliary = _Auxiliary(auxiliary_channels, num_classes, pool_stride, norm) if auxiliary_head else None
        self.classifier = nn.Linear(last, num_classes)
        self.to(memory_format=torch.channels_last)  # a step on a CPU takes 0.7 times as long

    def chosen(self) -> Iterator[tuple[str, Choice, nn.Module]]:
        """(cell type, choice, its module) of every cell's operations."""
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            yield from ((kind, *each) for each in zip(cell.choices, cell.edges, strict=True))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """[B, 3, H, W] -> logits [B, num_classes]; in training with an auxiliary head (logits, auxiliary logits)."""
        before = self.stem[0](x.contiguous(memory_format=torch.channels_last))
        last = before if len(self.stem) == 1 else self.stem[1](before)
        auxiliary = None
        for index, cell in enumerate(self.cells):
            before, last = last, cell(before, last)
            if index == self.auxiliary_after and self.auxiliary is not None and self.training:
                auxiliary = self.auxiliary(last)
        logits = self.classifier(last.mean((2, 3)))
        return logits if auxiliary is None else (logits, auxiliary)


def _stem(kind: Stem, channels: int) -> tuple[nn.ModuleList, int, int]:
    """The modules that make the first cell's two inputs, one after the other, and the channels of these."""
    if kind == "cifar":
        return nn.ModuleList([nn.Sequential(*conv_norm(3, 3 * channels, nn.BatchNorm2d))]), 3 * channels, 3 * channels
    return nn.ModuleList(imagenet_stem(channels, nn.BatchNorm2d)), channels, channels
