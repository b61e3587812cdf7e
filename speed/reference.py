"""The plain mixed operation: every edge of every cell runs all its operations and adds them up, weighted by beta.

Slow and obvious on purpose. The tests hold the supernet to it and the benchmark measures against it; it is written as
the field's implementations are (arXiv 1806.09055, 2001.00326): one module an operation, a Python sum over operations.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_lightning.genotypes.nb201 import NB201_EDGES, NB201_OPERATIONS
from nas_lightning.spaces.nb201.supernet import NB201Supernet


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul(0.0)


def conv(channels: int, kernel_size: int, bias: bool) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, bias=bias),
        nn.BatchNorm2d(channels, affine=False, track_running_stats=False),
    )


class MixedEdge(nn.Module):
    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.operations = nn.ModuleDict(
            {
                "none": Zero(),
                "skip_connect": nn.Identity(),
                "nor_conv_1x1": conv(channels, 1, bias),
                "nor_conv_3x3": conv(channels, 3, bias),
                "avg_pool_3x3": nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
            }
        )

    def forward(self, x: Tensor, beta_O: Tensor) -> Tensor:
        return sum(beta * self.operations[name](x) for name, beta in zip(NB201_OPERATIONS, beta_O, strict=True))


class ReferenceCell(nn.Module):
    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.edges = nn.ModuleList(MixedEdge(channels, bias) for _ in NB201_EDGES)

    def forward(self, x: Tensor, beta_EO: Tensor) -> Tensor:
        nodes = [x]
        for node in (1, 2, 3):
            nodes.append(
                sum(
                    self.edges[e](nodes[source], beta_EO[e])
                    for e, (source, target) in enumerate(NB201_EDGES)
                    if target == node
                )
            )
        return nodes[3]


class ReferenceSupernet(nn.Module):
    """The same function of (x, beta) as `supernet`, whose weights it copies; stem, reductions and head are shared code."""

    def __init__(self, supernet: NB201Supernet) -> None:
        super().__init__()
        bias = supernet.stages[0][0].banks[0].convs["nor_conv_1x1"].bias is not None
        self.stem, self.reductions, self.head = supernet.stem, supernet.reductions, supernet.head
        self.classifier = supernet.classifier
        self.stages = nn.ModuleList()
        for stage in supernet.stages:
            self.stages.append(nn.ModuleList(ReferenceCell(cell.banks[0].channels, bias) for cell in stage))
        self.to(supernet.classifier.weight.dtype)
        with torch.no_grad():
            for mine, theirs in self.stacked_pairs(supernet):
                for kernel, part in zip(mine, theirs.split(theirs.shape[0] // len(mine)), strict=True):
                    kernel.copy_(part)

    def stacked_pairs(self, supernet: NB201Supernet) -> list[tuple[list[nn.Parameter], nn.Parameter]]:
        """(this network's per-edge parameters, the bank's stacked parameter) for every bank and kind."""
        pairs = []
        for mine, theirs in zip(self.stages, supernet.stages, strict=True):
            for reference, cell in zip(mine, theirs, strict=True):
                for bank in cell.banks:
                    for name, stacked in bank.convs.items():
                        convs = [reference.edges[e].operations[name][1] for e in bank.edges]
                        pairs.append(([c.weight for c in convs], stacked.weight))
                        if stacked.bias is not None:
                            pairs.append(([c.bias for c in convs], stacked.bias))
        return pairs

    def forward(self, x: Tensor, beta_EO: Tensor) -> Tensor:
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            if index:
                x = self.reductions[index - 1](x)
            for cell in stage:
                x = cell(x, beta_EO)
        return self.classifier(F.adaptive_avg_pool2d(self.head(x), 1).flatten(1))
