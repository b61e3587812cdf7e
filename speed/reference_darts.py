"""The DARTS space's supernet as the field writes it: one module an operation, one mixed operation an edge, a Python sum.

Slow and obvious on purpose. The tests hold the supernet by banks to it and the benchmark measures against it. Written
from arXiv 1806.09055 (space), 1909.09656 (S1-S4's noise) and 1907.05737 (partial channels, edge weights).
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_lightning.cells import CellSpec
from nas_lightning.spaces.darts import bank as banks
from nas_lightning.spaces.darts.supernet import DartsSupernet


class Zero(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride].mul(0.0)


class Noise(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return banks.noise_like(x, self.stride)


def batch_norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, affine=False, track_running_stats=False)


class FactorizedReduce(nn.Module):
    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, channels // 2, 1, stride=2, bias=False)
        self.second = nn.Conv2d(in_channels, channels // 2, 1, stride=2, bias=False)
        self.bn = batch_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        return self.bn(torch.cat([self.first(x), self.second(x[:, :, 1:, 1:])], 1))


def dil_conv(channels: int, k: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, k, stride, k - 1, dilation=2, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        batch_norm(channels),
    )


def sep_conv(channels: int, k: int, stride: int) -> nn.Module:
    def half(stride: int) -> list[nn.Module]:
        return [
            nn.ReLU(),
            nn.Conv2d(channels, channels, k, stride, k // 2, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            batch_norm(channels),
        ]

    return nn.Sequential(*half(stride), *half(1))


def operation(name: str, channels: int, stride: int) -> nn.Module:
    match name:
        case "none":
            return Zero(stride)
        case "noise":
            return Noise(stride)
        case "skip_connect":
            return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels)
        case "max_pool_3x3":
            return nn.Sequential(nn.MaxPool2d(3, stride, 1), batch_norm(channels))
        case "avg_pool_3x3":
            return nn.Sequential(nn.AvgPool2d(3, stride, 1, count_include_pad=False), batch_norm(channels))
        case "sep_conv_3x3" | "sep_conv_5x5":
            return sep_conv(channels, int(name[-1]), stride)
        case "dil_conv_3x3" | "dil_conv_5x5":
            return dil_conv(channels, int(name[-1]), stride)
    raise ValueError(name)


def shuffle(x: Tensor, groups: int) -> Tensor:
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


class MixedEdge(nn.Module):
    """sum_o beta_o op_o(x), on the first 1/K of the channels if K > 1; only candidates have a module."""

    def __init__(self, spec: CellSpec, edge: int, channels: int, stride: int, partial: int) -> None:
        super().__init__()
        self.stride, self.partial = stride, partial
        self.columns = [o for o, is_candidate in enumerate(spec.candidates[edge]) if is_candidate]
        self.operations = nn.ModuleDict(
            {spec.operations[o]: operation(spec.operations[o], channels // partial, stride) for o in self.columns}
        )

    def forward(self, x: Tensor, beta_O: Tensor) -> Tensor:
        mixed = x.shape[1] // self.partial
        first, rest = x[:, :mixed], x[:, mixed:]
        out = sum(beta_O[o] * op(first) for o, op in zip(self.columns, self.operations.values(), strict=True))
        if self.partial == 1:
            return out
        rest = F.max_pool2d(rest, 2, 2) if self.stride == 2 else rest
        return shuffle(torch.cat([out, rest], 1), self.partial)


class ReferenceCell(nn.Module):
    def __init__(
        self, spec: CellSpec, in_channels: Sequence[int], channels: int, reduction: bool, after: bool, partial: int
    ) -> None:
        super().__init__()
        older, newer = in_channels

        def preprocess(width: int) -> nn.Module:
            return nn.Sequential(nn.ReLU(), nn.Conv2d(width, channels, 1, bias=False), batch_norm(channels))

        self.preprocess = nn.ModuleList(
            [FactorizedReduce(older, channels) if after else preprocess(older), preprocess(newer)]
        )
        self.spec = spec
        self.edges = nn.ModuleList(
            MixedEdge(spec, e, channels, 2 if reduction and source < 2 else 1, partial)
            for e, (source, _) in enumerate(spec.edges)
        )

    def forward(self, older: Tensor, newer: Tensor, beta_EO: Tensor, edge_E: Tensor) -> Tensor:
        nodes = [self.preprocess[0](older), self.preprocess[1](newer)]
        for node in (2, 3, 4, 5):
            nodes.append(
                sum(
                    edge_E[e] * self.edges[e](nodes[source], beta_EO[e])
                    for e, (source, target) in enumerate(self.spec.edges)
                    if target == node
                )
            )
        return torch.cat(nodes[2:], 1)


class ReferenceDartsSupernet(nn.Module):
    """The same function of (x, beta, edge weights) as `supernet`, whose weights it copies; stem and head are shared."""

    def __init__(self, supernet: DartsSupernet, cells: Mapping[str, CellSpec]) -> None:
        super().__init__()
        self.stem, self.second_stem, self.classifier = supernet.stem, supernet.second_stem, supernet.classifier
        channels, after = supernet.layers[0].channels, supernet.second_stem is not None
        widths = (channels, channels) if after else (3 * channels, 3 * channels)
        self.cell_types = supernet.cell_types
        self.cells = nn.ModuleList()
        for index, cell in enumerate(supernet.layers):
            reduction = index in (len(supernet.layers) // 3, 2 * len(supernet.layers) // 3)
            channels *= 2 if reduction else 1
            spec = cells["reduce" if reduction else "normal"]
            self.cells.append(ReferenceCell(spec, widths, channels, reduction, after, cell.partial))
            widths, after = (widths[1], 4 * channels), reduction
        self.to(supernet.classifier.weight.dtype)
        with torch.no_grad():
            for mine, theirs in self.stacked_pairs(supernet):
                for kernel, part in zip(mine, theirs.split([k.shape[0] for k in mine]), strict=True):
                    kernel.copy_(part)

    def stacked_pairs(self, supernet: DartsSupernet) -> list[tuple[list[nn.Parameter], nn.Parameter]]:
        """(this network's per-edge parameters, the stacked parameter) for every parameter inside the cells."""
        pairs: list[tuple[list[nn.Parameter], nn.Parameter]] = []

        def reduces(modules: Sequence[nn.Module], stacked: nn.Module) -> None:
            pairs.append(([c.weight for m in modules for c in (m.first, m.second)], stacked.weight))

        def two(firsts: Sequence[nn.Module], seconds: Sequence[nn.Module], stacked: nn.Module) -> None:
            pairs.append(([c.weight for c in firsts], stacked.depthwise))
            pairs.append(([c.weight for c in seconds], stacked.pointwise))

        for mine, theirs in zip(self.cells, supernet.layers, strict=True):
            for reference, layer in zip(mine.preprocess, theirs.preprocess, strict=True):
                if isinstance(reference, FactorizedReduce):
                    reduces([reference], layer.reduce)
                else:
                    pairs.append(([reference[1].weight], layer[1].weight))
            for bank in theirs.banks:
                for name, stacked in bank.kinds.items():
                    ops = [mine.edges[e].operations[name] for e in bank.edges_of[name]]
                    if name == "skip_connect":
                        reduces(ops, stacked)
                    elif name.startswith("dil"):
                        two([op[1] for op in ops], [op[2] for op in ops], stacked)
                    else:
                        two([op[1] for op in ops], [op[2] for op in ops], stacked.first)
                        two([op[5] for op in ops], [op[6] for op in ops], stacked.second)
        return pairs

    def forward(self, x: Tensor, beta: Mapping[str, Tensor], edge: Mapping[str, Tensor] | None = None) -> Tensor:
        older = newer = self.stem(x)
        if self.second_stem is not None:
            newer = self.second_stem(older)
        for cell_type, cell in zip(self.cell_types, self.cells, strict=True):
            edge_E = beta[cell_type].new_ones(len(cell.edges)) if edge is None else edge[cell_type]
            older, newer = newer, cell(older, newer, beta[cell_type], edge_E)
        return self.classifier(F.adaptive_avg_pool2d(newer, 1).flatten(1))
