"""The bank of the DARTS space's cells (arXiv 1806.09055) and of those with fewer candidates (S1-S4, arXiv 1909.09656).

Letters: B batch, C channels, K edges on which an operation runs. "Wide" features [B, K * C, H, W] hold those of K edges.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad

from nas_lightning.spaces.kernels import ChannelsLastGradient, EdgeScale, average_pool_3x3, noise_like
from nas_lightning.spaces.norms import SupernetNorm
from nas_lightning.spaces.weights import EdgeWeights
from nas_lightning.spaces.widening import Widening

SEPARABLE = {"sep_conv_3x3": 3, "sep_conv_5x5": 5}
DILATED = {"dil_conv_3x3": 3, "dil_conv_5x5": 5}
POOLS = ("max_pool_3x3", "avg_pool_3x3")


class _SeparableOnCpu(torch.autograd.Function):
    """Depthwise and pointwise convolution of K stacked edges, with the gradients that oneDNN computes fast.

    The gradient of a grouped 1x1 convolution's input is the convolution with each group's transpose, that of a depthwise
    one with the flipped kernel; as forward convolutions both take a half to a third of the backward primitive's time.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)
    def forward(ctx: Any, x: Tensor, depthwise: Tensor, pointwise: Tensor, edges: int, stride: int) -> Tensor:
        middle = F.conv2d(x, depthwise, stride=stride, padding=depthwise.shape[-1] // 2, groups=x.shape[1])
        # What only a weight's gradient needs is not kept where that is not wanted.
        ctx.save_for_backward(
            x if ctx.needs_input_grad[1] else None, middle if ctx.needs_input_grad[2] else None, depthwise, pointwise
        )
        ctx.edges, ctx.stride, ctx.shape = edges, stride, x.shape
        return F.conv2d(middle, pointwise, groups=edges)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, middle, depthwise, pointwise = ctx.saved_tensors
        (g,) = grads
        transposed = pointwise[..., 0, 0].unflatten(0, (ctx.edges, -1)).transpose(1, 2).flatten(0, 1)
        g_middle = F.conv2d(g, transposed[..., None, None], groups=ctx.edges)
        g_pointwise = None if middle is None else grad.conv2d_weight(middle, pointwise.shape, g, groups=ctx.edges)
        g_depthwise = None if x is None else _depthwise_gradient(x, g_middle, depthwise.shape[-1], ctx.stride)
        g_x = None
        if ctx.needs_input_grad[0]:
            padding, groups = depthwise.shape[-1] // 2, len(depthwise)
            if ctx.stride == 1:
                g_x = F.conv2d(g_middle, depthwise.flip(2, 3), padding=padding, groups=groups)
            else:
                g_x = grad.conv2d_input(ctx.shape, depthwise, g_middle, ctx.stride, padding, groups=groups)
        return g_x, g_depthwise, g_pointwise, None, None


def _depthwise_gradient(x: Tensor, g: Tensor, size: int, stride: int) -> Tensor:
    """The weights' gradient of a depthwise size x size convolution.

    oneDNN's is fast only for kernels of at most 3 columns that are no higher than the image. That of a 5x5 kernel is put
    together from overlapping parts: a fifth of the time.
    """
    channels = x.shape[1]
    if size == 3:
        return grad.conv2d_weight(x, (channels, 1, 3, 3), g, stride, 1, groups=channels)
    halves = (2, 0), (0, 2)  # padding before and after, for the first and the last three of five
    if x.shape[2] > 4:
        return torch.cat(_gradient_columns(x, g, halves, (5, 3), stride, 2), -1)
    upper, lower = (
        torch.cat(_gradient_columns(F.pad(x, (0, 0, *row)), g, halves, (3, 3), stride, 0), -1) for row in halves
    )
    return torch.cat([upper, lower[:, :, 1:]], 2)


def _gradient_columns(
    x: Tensor, g: Tensor, halves: Sequence[tuple[int, int]], size: tuple[int, int], stride: int, padding: int
) -> list[Tensor]:
    """The first three and the last two columns of a depthwise kernel's gradient; `padding` is that of the rows."""
    shape, groups = (x.shape[1], 1, *size), x.shape[1]
    left, right = (
        grad.conv2d_weight(F.pad(x, columns), shape, g, stride, (padding, 0), groups=groups) for columns in halves
    )
    return [left, right[..., 1:]]


def _rows(stacked: Tensor, positions: tuple[int, ...], rows: int) -> Tensor:
    """The parameters of the edges at `positions`, of `rows` rows each."""
    if len(positions) * rows == stacked.shape[0]:
        return stacked
    parts = stacked.split(rows)
    return torch.cat([parts[position] for position in positions])


class StackedDepthwiseSeparable(nn.Module):
    """Depthwise k x k, pointwise convolution and batch norm of several edges; weights [K * C, 1, k, k], [K * C, C, 1, 1]."""

    def __init__(self, num_edges: int, channels: int, kernel_size: int, running: bool = False) -> None:
        super().__init__()
        self.channels = channels
        self.depthwise = nn.Parameter(torch.empty(num_edges * channels, 1, kernel_size, kernel_size))
        self.pointwise = nn.Parameter(torch.empty(num_edges * channels, channels, 1, 1))
        for weight in (self.depthwise, self.pointwise):  # PyTorch's default; fan-in is that of one edge
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        self.norm = SupernetNorm(channels, running, num_edges)

    def widen(self, channels: int, widening: Widening) -> None:
        edges = len(self.pointwise) // self.channels
        between, outputs = (widening.draw(edges, self.channels, channels) for _ in range(2))
        self.depthwise = widening.grown(self.depthwise, between)
        self.pointwise = widening.grown(self.pointwise, outputs, between)
        self.norm.widen(outputs, widening)
        self.channels = channels

    def forward(
        self,
        wide: Tensor,
        positions: tuple[int, ...],
        scale: Tensor | None = None,
        stride: int = 1,
        dilation: int = 1,
    ) -> Tensor:
        """[B, K * C, H, W] -> [B, K * C, H / stride, W / stride] for the K edges at `positions`, normalised and scaled."""
        normalised: Tensor = self.norm(self._convolved(wide, positions, stride, dilation), positions, scale)
        return normalised

    def _convolved(self, wide: Tensor, positions: tuple[int, ...], stride: int, dilation: int) -> Tensor:
        depthwise, pointwise = (_rows(w, positions, self.channels) for w in (self.depthwise, self.pointwise))
        edges = len(positions)
        if wide.device.type == "cpu" and dilation == 1:
            result: Tensor = _SeparableOnCpu.apply(wide, depthwise, pointwise, edges, stride)
            return result
        padding = depthwise.shape[-1] // 2 * dilation
        return F.conv2d(
            F.conv2d(wide, depthwise, None, stride, padding, dilation, wide.shape[1]), pointwise, groups=edges
        )


class StackedSeparable(nn.Module):
    """sep_conv k x k of several edges: twice (ReLU, depthwise, pointwise, batch norm), the stride in the first half."""

    def __init__(self, num_edges: int, channels: int, kernel_size: int, stride: int, running: bool = False) -> None:
        super().__init__()
        self.stride = stride
        self.first = StackedDepthwiseSeparable(num_edges, channels, kernel_size, running)
        self.second = StackedDepthwiseSeparable(num_edges, channels, kernel_size, running)

    def widen(self, channels: int, widening: Widening) -> None:
        self.first.widen(channels, widening)
        self.second.widen(channels, widening)

    def forward(self, rectified: Tensor, positions: tuple[int, ...], beta_KC: Tensor) -> Tensor:
        middle = F.relu(self.first(rectified, positions, stride=self.stride), inplace=True)
        scaled: Tensor = self.second(middle, positions, beta_KC)
        return scaled


class StackedFactorizedReduce(nn.Module):
    """skip_connect at stride 2 of several edges: two 1x1 convolutions to C/2 channels, the second a pixel further.

    `weight` is [K * C, C_in, 1, 1], an edge's first C/2 rows being its first convolution.
    """

    def __init__(self, num_edges: int, in_channels: int, channels: int, running: bool = False) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.empty(num_edges * channels, in_channels, 1, 1))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.norm = SupernetNorm(channels, running, num_edges)

    def widen(self, channels: int, widening: Widening) -> None:
        """Both convolutions, C/2 rows each, have draws of their own."""
        halves = 2 * len(self.weight) // self.channels
        inputs = widening.draw(halves, self.weight.shape[1], channels)
        outputs = widening.draw(halves, self.channels // 2, channels // 2)
        self.weight = widening.grown(self.weight, outputs, inputs)
        self.norm.widen(outputs, widening)
        self.channels = channels

    def forward(self, rectified: Tensor, positions: tuple[int, ...], beta_KC: Tensor | None = None) -> Tensor:
        """[B, C_in, H, W] -> [B, K * C, H / 2, W / 2], normalised and scaled by beta."""
        edges, half = len(positions), self.channels // 2
        weight = _rows(self.weight, positions, self.channels)
        halves = weight.unflatten(0, (edges, 2, half)).transpose(0, 1).flatten(0, 2)
        # The pad only matters for odd sizes, where the second half has one row and column less.
        both = torch.cat([rectified[:, :, ::2, ::2], F.pad(rectified, (-1, 1, -1, 1))[:, :, ::2, ::2]], 1)
        wide = F.conv2d(both.contiguous(memory_format=torch.channels_last), halves, groups=2)
        by_edge = wide.permute(0, 2, 3, 1).unflatten(-1, (2, edges, half)).transpose(3, 4).flatten(3)
        normalised: Tensor = self.norm(by_edge.permute(0, 3, 1, 2), positions, beta_KC)
        return normalised


def _to_subgrids(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [4 B, C, H / 2, W / 2]: pixels of equal row and column parity, H and W even."""
    pixels = x.permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
    return pixels.permute(2, 4, 0, 1, 3, 5).flatten(0, 2).permute(0, 3, 1, 2)


def _from_subgrids(x: Tensor) -> Tensor:
    pixels = x.permute(0, 2, 3, 1).unflatten(0, (2, 2, -1))
    return pixels.permute(2, 3, 0, 4, 1, 5).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


class DartsBank(nn.Module):
    """The edges that leave one node of a cell, all with the same stride.

    edges: indices into the cell's edge list. operations: the cell's operation names, which say what each column of beta
    is. candidates: the cell's [E][O]; an operation has weights only on edges where it is a candidate. auxiliary: whether
    edges may have an auxiliary skip connection, at stride 2 a factorised reduction of its own. running: see `SupernetNorm`; a
    pool, computed once for all edges, has one norm for them all, so that a draw of any edge moves it (the field's programs have
    one an edge, and move those that are drawn).
    """

    def __init__(
        self,
        edges: Sequence[int],
        operations: Sequence[str],
        candidates: Sequence[Sequence[bool]],
        channels: int,
        stride: int,
        auxiliary: bool = False,
        running: bool = False,
    ) -> None:
        super().__init__()
        self.edges = tuple(edges)
        self.columns = {name: column for column, name in enumerate(operations)}
        self.channels = channels
        self.stride = stride
        self.running = running
        self.kinds = nn.ModuleDict()
        self.edges_of: dict[str, tuple[int, ...]] = {}
        for name, column in self.columns.items():
            with_it = tuple(edge for edge in self.edges if candidates[edge][column])
            if with_it and (name in SEPARABLE or name in DILATED or (name == "skip_connect" and stride == 2)):
                self.kinds[name] = self._stacked(name, len(with_it))
                self.edges_of[name] = with_it
        self.pool_norms = nn.ModuleDict(
            {name: SupernetNorm(channels, running) for name in POOLS if name in self.columns}
        )
        reduces = auxiliary and stride == 2
        self.auxiliary = StackedFactorizedReduce(len(self.edges), channels, channels, running) if reduces else None

    def _stacked(self, name: str, num_edges: int) -> nn.Module:
        if name in SEPARABLE:
            return StackedSeparable(num_edges, self.channels, SEPARABLE[name], self.stride, self.running)
        if name in DILATED:
            return StackedDepthwiseSeparable(num_edges, self.channels, DILATED[name], self.running)
        return StackedFactorizedReduce(num_edges, self.channels, self.channels, self.running)

    def widen(self, channels: int, widening: Widening) -> None:
        """See `Widening`."""
        for kind in self.kinds.values():
            kind.widen(channels, widening)  # type: ignore[operator]
        if self.auxiliary is not None:
            self.auxiliary.widen(channels, widening)
        for norm in self.pool_norms.values() if self.running else ():
            norm.widen(widening.draw(1, self.channels, channels), widening)  # type: ignore[operator]
        self.channels = channels

    def forward(self, x: Tensor, weights: EdgeWeights) -> list[Tensor | None]:
        """[B, C, H, W] -> for each of the bank's edges its mixed output, None where nothing is active."""
        outputs: dict[int, Tensor] = {}
        for edges, wide in self._with_weights(x, weights):
            # One split: two slices would each make a zero-filled gradient of the whole.
            parts = ChannelsLastGradient.apply(wide).split(self.channels, 1)
            for edge, part in zip(edges, parts, strict=True):
                outputs[edge] = outputs[edge] + part if edge in outputs else part
        for edge, beta, shared in self._without_weights(x, weights):
            if edge in outputs:
                outputs[edge] = EdgeScale.apply(outputs[edge], shared, beta)
            else:
                outputs[edge] = shared * beta.to(shared.dtype)
        return [outputs.get(edge) for edge in self.edges]

    def _with_weights(self, x: Tensor, weights: EdgeWeights) -> list[tuple[tuple[int, ...], Tensor]]:
        """(edges, their wide contribution), one for every set of edges that operations run on."""
        running = {}
        for name, edges in self.edges_of.items():
            if positions := weights.running(edges, self.columns[name]):
                running[name] = positions, tuple(edges[position] for position in positions)
        auxiliary = () if self.auxiliary is None else weights.with_auxiliary(self.edges)
        if not (running or auxiliary):
            return []
        rectified = F.relu(x)
        sums: dict[tuple[int, ...], Tensor] = {}
        dilated: dict[tuple[int, ...], Tensor] = {}
        copies: dict[int, Tensor] = {}
        grid, dilation = self._dilation_grid(rectified, any(name in DILATED for name in running))
        grid_copies: dict[int, Tensor] = {}
        for name, (positions, edges) in running.items():
            kind = self.kinds[name]
            beta_KC = weights.per_channel(edges, self.columns[name], self.channels)
            if name in DILATED:
                wide = kind(_copies(grid, len(edges), grid_copies), positions, beta_KC, dilation=dilation)
                _add(dilated, edges, wide)
            else:
                source = _copies(rectified, len(edges), copies) if name in SEPARABLE else rectified
                wide = kind(source, positions, beta_KC)
                _add(sums, edges, wide)
        for edges, wide in dilated.items():
            wide = _from_subgrids(wide) if self.stride == 1 and dilation == 1 else wide
            _add(sums, edges, wide)
        if self.auxiliary is not None and auxiliary:
            edges = tuple(self.edges[position] for position in auxiliary)
            gamma_KC = weights.auxiliary_per_channel(edges, self.channels)
            _add(sums, edges, self.auxiliary(rectified, auxiliary, gamma_KC))
        return list(sums.items())

    def _dilation_grid(self, rectified: Tensor, wanted: bool) -> tuple[Tensor, int]:
        """Features on which the dilated convolutions run, and the dilation that is left to do.

        Dilation 2 is no dilation on pixels of equal parity, where batch norm's statistics are the same too: much faster
        backwards. With stride 2 only pixels of even row and column are ever read.
        """
        if not wanted:
            return rectified, 1
        if self.stride == 2:
            return rectified[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last), 1
        if rectified.shape[2] % 2 or rectified.shape[3] % 2:
            return rectified, 2
        return _to_subgrids(rectified), 1

    def _without_weights(self, x: Tensor, weights: EdgeWeights) -> list[tuple[int, Tensor, Tensor]]:
        """(edge, weight, features) of identity, pools and noise; all but noise are computed once for all edges."""
        scaled = []
        if self.stride == 1:
            skip = self.columns.get("skip_connect")
            scaled += [(edge, *identity) for edge in self.edges for identity in weights.identities(x, edge, skip)]
        for name in (*POOLS, "noise"):
            if name not in self.columns:
                continue
            column = self.columns[name]
            shared = None
            for position in weights.running(self.edges, column):
                edge = self.edges[position]
                if shared is None or name == "noise":
                    shared = self._features(name, x)
                scaled.append((edge, weights.scalar(edge, column), shared))
        return scaled

    def _features(self, name: str, x: Tensor) -> Tensor:
        if name == "noise":
            return noise_like(x, self.stride)
        if name == "max_pool_3x3":
            pooled = F.max_pool2d(x, 3, self.stride, 1)
        else:
            pooled = average_pool_3x3(x) if self.stride == 1 else F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        normalised: Tensor = self.pool_norms[name](pooled)
        return normalised


def _add(sums: dict[tuple[int, ...], Tensor], edges: tuple[int, ...], wide: Tensor) -> None:
    """In place: batch norm's backward does not read its output."""
    sums[edges] = sums[edges].add_(wide) if edges in sums else wide


def _copies(x: Tensor, count: int, made: dict[int, Tensor]) -> Tensor:
    """x for each of `count` edges: [B, C, H, W] -> [B, count * C, H, W]."""
    if count not in made:
        made[count] = x if count == 1 else torch.cat([x] * count, 1)
    return made[count]
