"""Operation banks: all candidate operations that leave one source node of a cell, executed together.

A cell with E edges relaxes edge e to sum_o beta_eo * op_o(h_source). Run edge by edge this repeats work: every edge of
a source applies the same ReLU, the same identity and the same pooling to the same features. A bank computes each
parameter-free operation once, and all convolutions of one kind as one wider convolution with stacked weights. The batch
norm behind a convolution has no affine parameters in a supernet, so beta takes the place of its weight: one native call
normalises, scales by beta and yields beta's gradient.

Letters: B batch, C channels, E edges of the cell, K edges of one bank, O operations.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EdgeWeights:
    """The weights beta of one cell type for one forward pass, and which operations that pass computes.

    beta_EO: [E, O]; attached to alpha where alpha's gradient is wanted, else a constant.
    active: host-side booleans [E][O]; an operation that is not active is left out as if its beta were 0. They live on
        the host so that choosing what to run never waits for a device.
    """

    def __init__(self, beta_EO: Tensor, active: Sequence[Sequence[bool]]) -> None:
        self.beta_EO = beta_EO
        self.active = active
        self._vectors: dict[tuple[int, tuple[int, ...], int], Tensor] = {}

    def running(self, edges: Sequence[int], operation: int) -> tuple[int, ...]:
        """Positions within `edges` on which `operation` is computed."""
        return tuple(position for position, edge in enumerate(edges) if self.active[edge][operation])

    def scalar(self, edge: int, operation: int) -> Tensor:
        return self.beta_EO[edge, operation]

    def per_channel(self, edges: tuple[int, ...], operation: int, channels: int) -> Tensor:
        """beta of `operation` on each of `edges`, repeated for each of an edge's channels: [K * C]."""
        # All cells of a stage ask for the same vectors. Views and one cat: an index list would be copied to the device.
        key = (operation, edges, channels)
        if key not in self._vectors:
            rows = self.beta_EO[:, operation, None].expand(-1, channels)
            self._vectors[key] = torch.cat([rows[edge] for edge in edges])
        return self._vectors[key]


class _ChannelsLastGradient(torch.autograd.Function):
    """Identity whose gradient is channels_last too: batch norm's backward falls to a slow layout otherwise."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return grads[0].contiguous(memory_format=torch.channels_last)


class _EdgeScale(torch.autograd.Function):
    """accumulator + beta * x for a scalar beta; beta's gradient is one dot product, not a materialised product."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, accumulator: Tensor, x: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(x, beta)
        return torch.addcmul(accumulator, x, beta.to(x.dtype))

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        x, beta = ctx.saved_tensors  # type: ignore[attr-defined]
        (g,) = grads
        needs_x, needs_beta = ctx.needs_input_grad[1:]  # type: ignore[attr-defined]
        return g, g * beta.to(g.dtype) if needs_x else None, (g * x).sum(dtype=beta.dtype) if needs_beta else None


class StackedConv(nn.Module):
    """ReLU (applied by the caller), conv k x k and affine-free batch norm of K edges as one wide convolution.

    `weight` is [K * C, C, k, k]: the edges' kernels stacked in bank order. The batch statistics are those of each edge's
    own channels, so stacking changes nothing. `bias`, where asked for, is cancelled by the batch norm: AutoDL-Projects'
    search cells carry one (their parameter count includes it), other implementations do not.
    """

    def __init__(self, num_edges: int, channels: int, kernel_size: int, bias: bool) -> None:
        super().__init__()
        self.channels = channels
        self.padding = kernel_size // 2
        self.weight = nn.Parameter(torch.empty(num_edges * channels, channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(num_edges * channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """PyTorch's default for a convolution; fan-in is that of one edge, so stacking keeps the distribution."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, rectified: Tensor, positions: tuple[int, ...], beta_KC: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, len(positions) * C, H, W], each edge's part normalised and scaled by its beta."""
        weight: Tensor = self.weight
        bias: Tensor | None = self.bias
        if len(positions) * self.channels != weight.shape[0]:
            weight = torch.cat([weight.split(self.channels)[p] for p in positions])
            bias = None if bias is None else torch.cat([bias.split(self.channels)[p] for p in positions])
        wide = F.conv2d(rectified, weight, bias, padding=self.padding)
        return F.batch_norm(wide, None, None, weight=beta_KC, training=True)


def average_pool_3x3(x: Tensor) -> Tensor:
    """3x3 average, stride 1, padding excluded from the count, as a depthwise convolution with ones over the count.

    In channels_last on a CPU this takes a tenth of avg_pool2d's time.
    """
    channels, height, width = x.shape[1:]
    ones = x.new_ones((channels, 1, 3, 3))
    rows, columns = (_window_counts(size, x) for size in (height, width))
    return F.conv2d(x, ones, padding=1, groups=channels) / (rows[:, None] * columns)


def _window_counts(size: int, like: Tensor) -> Tensor:
    """How many of a 3-wide window's places lie inside, for each of `size` centres: 2, 3, ..., 3, 2."""
    position = torch.arange(size, device=like.device)
    return (3 - (position == 0).to(like.dtype)) - (position == size - 1).to(like.dtype)


class SourceBank(nn.Module):
    """The edges that leave one node of a NAS-Bench-201 cell (stride 1, equal channels).

    edges: indices into the cell's edge list. operations: the cell's operation names, which say what each column of beta is.
    """

    def __init__(self, edges: Sequence[int], operations: Sequence[str], channels: int, conv_bias: bool) -> None:
        super().__init__()
        self.edges = tuple(edges)
        self.channels = channels
        self.kernels = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
        self.columns = {name: column for column, name in enumerate(operations)}
        self.convs = nn.ModuleDict(
            {name: StackedConv(len(edges), channels, kernel, conv_bias) for name, kernel in self.kernels.items()}
        )

    def forward(self, x: Tensor, weights: EdgeWeights) -> list[Tensor | None]:
        """[B, C, H, W] -> for each of the bank's edges its mixed output [B, C, H, W], None where nothing is active."""
        outputs = self._convolutions(x, weights)
        for name, compute in (("skip_connect", lambda: x), ("avg_pool_3x3", lambda: average_pool_3x3(x))):
            column = self.columns[name]
            positions = weights.running(self.edges, column)
            if not positions:
                continue
            shared = compute()
            for position in positions:
                beta = weights.scalar(self.edges[position], column)
                previous = outputs[position]
                outputs[position] = (
                    shared * beta.to(shared.dtype) if previous is None else _EdgeScale.apply(previous, shared, beta)
                )
        return outputs

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
            for position, part in zip(positions, _ChannelsLastGradient.apply(wide).split(self.channels, 1), strict=True):
                previous = outputs[position]
                outputs[position] = part if previous is None else previous + part
        return outputs
