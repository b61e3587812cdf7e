"""The bank of NAS-Bench-201's cells.

Letters: B batch, C channels, K edges of one bank.
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_lightning.spaces.kernels import ChannelsLastGradient, EdgeScale, average_pool_3x3
from nas_lightning.spaces.norms import SupernetNorm
from nas_lightning.spaces.weights import EdgeWeights
from nas_lightning.spaces.widening import Widening


class StackedConv(nn.Module):
    """ReLU (applied by the caller), conv k x k and affine-free batch norm of K edges as one wide convolution.

    `weight` is [K * C, C, k, k]: the edges' kernels stacked in bank order. The batch statistics are those of each edge's
    own channels, so stacking changes nothing. `bias`, where asked for, is cancelled by the batch norm: AutoDL-Projects'
    search cells carry one (their parameter count includes it), other implementations do not. running: see `SupernetNorm`.
    """

    def __init__(self, num_edges: int, channels: int, kernel_size: int, bias: bool, running: bool = False) -> None:
        super().__init__()
        self.channels = channels
        self.padding = kernel_size // 2
        self.weight = nn.Parameter(torch.empty(num_edges * channels, channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(num_edges * channels)) if bias else None
        self.norm = SupernetNorm(channels, running, num_edges)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """PyTorch's default for a convolution; fan-in is that of one edge, so stacking keeps the distribution."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def widen(self, channels: int, widening: Widening) -> None:
        edges = len(self.weight) // self.channels
        inputs, outputs = (widening.draw(edges, self.channels, channels) for _ in range(2))
        self.weight = widening.grown(self.weight, outputs, inputs)
        if self.bias is not None:
            self.bias = widening.grown(self.bias, outputs)
        self.norm.widen(outputs, widening)
        self.channels = channels

    def forward(self, rectified: Tensor, positions: tuple[int, ...], beta_KC: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, len(positions) * C, H, W], each edge's part normalised and scaled by its beta."""
        weight: Tensor = self.weight
        bias: Tensor | None = self.bias
        if len(positions) * self.channels != weight.shape[0]:
            weight = torch.cat([weight.split(self.channels)[p] for p in positions])
            bias = None if bias is None else torch.cat([bias.split(self.channels)[p] for p in positions])
        normalised: Tensor = self.norm(F.conv2d(rectified, weight, bias, padding=self.padding), positions, beta_KC)
        return normalised


class SourceBank(nn.Module):
    """The edges that leave one node of a NAS-Bench-201 cell (stride 1, equal channels).

    edges: indices into the cell's edge list. operations: the cell's operation names, which say what each column of beta is.
    running: see `SupernetNorm`.
    """

    def __init__(
        self, edges: Sequence[int], operations: Sequence[str], channels: int, conv_bias: bool, running: bool = False
    ) -> None:
        super().__init__()
        self.edges = tuple(edges)
        self.channels = channels
        self.kernels = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
        self.columns = {name: column for column, name in enumerate(operations)}
        self.convs = nn.ModuleDict(
            {
                name: StackedConv(len(edges), channels, kernel, conv_bias, running)
                for name, kernel in self.kernels.items()
            }
        )

    def widen(self, channels: int, widening: Widening) -> None:
        """See `Widening`."""
        for conv in self.convs.values():
            conv.widen(channels, widening)  # type: ignore[operator]
        self.channels = channels

    def forward(self, x: Tensor, weights: EdgeWeights) -> list[Tensor | None]:
        """[B, C, H, W] -> for each of the bank's edges its mixed output [B, C, H, W], None where nothing is active."""
        outputs = self._convolutions(x, weights)
        for position, scale, shared in self._without_weights(x, weights):
            previous = outputs[position]
            outputs[position] = (
                shared * scale.to(shared.dtype) if previous is None else EdgeScale.apply(previous, shared, scale)
            )
        return outputs

    def _without_weights(self, x: Tensor, weights: EdgeWeights) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(position in the bank, weight, features) of what passes x on and of its average, computed once for all edges."""
        for position, edge in enumerate(self.edges):
            for scale, features in weights.identities(x, edge, self.columns["skip_connect"]):
                yield position, scale, features
        column = self.columns["avg_pool_3x3"]
        positions = weights.running(self.edges, column)
        if positions:
            average = average_pool_3x3(x)
            for position in positions:
                yield position, weights.scalar(self.edges[position], column), average

    def _convolutions(self, x: Tensor, weights: EdgeWeights) -> list[Tensor | None]:
        outputs: list[Tensor | None] = [None] * len(self.edges)
        kinds = [(name, self.columns[name], weights.running(self.edges, self.columns[name])) for name in self.kernels]
        if not any(positions for _, _, positions in kinds):
            return outputs
        rectified = F.relu(x)
        wides: list[tuple[tuple[int, ...], Tensor]] = []
        for name, column, positions in kinds:
            if not positions:
                continue
            running = tuple(self.edges[position] for position in positions)
            beta_KC = weights.per_channel(running, column, self.channels)
            wides.append((positions, self.convs[name](rectified, positions, beta_KC)))
        if len(wides) == 2 and wides[0][0] == wides[1][0]:
            wides = [(wides[0][0], wides[0][1] + wides[1][1])]
        for positions, wide in wides:
            # One split: two slices would each make a zero-filled gradient of the whole.
            for position, part in zip(positions, ChannelsLastGradient.apply(wide).split(self.channels, 1), strict=True):
                previous = outputs[position]
                outputs[position] = part if previous is None else previous + part
        return outputs
