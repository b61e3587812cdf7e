"""What the supernets of all spaces compute with: batch norm, gradients in channels_last, scaled sums, the 3x3 average.

Letters: B batch, C channels, P parts of a batch.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPS = 1e-5
_PART = 2**14
"""Values of a channel that are added up in one go."""


class _BatchNorm(torch.autograd.Function):
    """`F.batch_norm` by the batch's statistics, which are taken of parts of the batch first."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        parts = x.split(max(1, _PART // x[0, 0].numel()))
        each = [torch.ops.aten.batch_norm_update_stats(part, None, None, 0.0) for part in parts]
        share_P1 = x.new_tensor([len(part) / len(x) for part in parts])[:, None]
        mean_PC, variance_PC = (torch.stack(statistic) for statistic in zip(*each, strict=True))
        mean_C = (share_P1 * mean_PC).sum(0)
        variance_C = (share_P1 * (variance_PC + (mean_PC - mean_C).square())).sum(0)
        ctx.save_for_backward(x, weight, mean_C, (variance_C + _EPS).rsqrt())
        output: Tensor = torch.native_batch_norm(x, weight, bias, mean_C, variance_C, False, 0.0, _EPS)[0]
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean_C, inverse_C = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad)
        gradients: tuple[Tensor | None, ...] = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, weight, None, None, mean_C, inverse_C, True, _EPS, wanted
        )
        return gradients


def batch_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """[B, C, H, W] normalised by the batch's own statistics.

    In channels_last a CPU adds up a channel's values one by one in float32, so that large batches lose digits (a relative 3e-5
    at 256 images of 32 x 32); then the statistics are taken of parts of the batch and put together.
    """
    long = x.numel() // x.shape[1] > _PART and len(x) > 1
    plain = x.device.type != "cpu" or x.dtype != torch.float32 or torch.compiler.is_compiling()
    if plain or not long or not x.is_contiguous(memory_format=torch.channels_last):
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=_EPS)
    output: Tensor = _BatchNorm.apply(x, weight, bias)
    return output


class BatchStatisticsNorm(nn.BatchNorm2d):
    """By batch statistics always: a relaxed and a discretised supernet differ too much to share running ones."""

    def __init__(self, channels: int, affine: bool = True) -> None:
        super().__init__(channels, affine=affine, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm(x, self.weight, self.bias)


class ChannelsLastGradient(torch.autograd.Function):
    """Identity whose gradient is channels_last too: batch norm's backward falls to a slow layout otherwise."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return grads[0].contiguous(memory_format=torch.channels_last)


class EdgeScale(torch.autograd.Function):
    """accumulator + beta * x for a scalar beta; beta's gradient is one dot product, not a materialised product."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, accumulator: Tensor, x: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(x, beta)
        return torch.addcmul(accumulator, x, beta.to(x.dtype))

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grads: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        x, beta = ctx.saved_tensors  # type: ignore[attr-defined]
        (g,) = grads
        needs_x, needs_beta = ctx.needs_input_grad[1:]  # type: ignore[attr-defined]
        return g, g * beta.to(g.dtype) if needs_x else None, (g * x).sum(dtype=beta.dtype) if needs_beta else None


def average_pool_3x3(x: Tensor) -> Tensor:
    """3x3 average, stride 1, padding excluded from the count, as a depthwise convolution with ones over the count.

    In channels_last on a CPU this takes a tenth of avg_pool2d's time; elsewhere that is one launch, and exact.
    """
    if x.device.type != "cpu":
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    channels, height, width = x.shape[1:]
    ones = x.new_ones((channels, 1, 3, 3))
    rows, columns = (_window_counts(size, x) for size in (height, width))
    return F.conv2d(x, ones, padding=1, groups=channels) / (rows[:, None] * columns)


def _window_counts(size: int, like: Tensor) -> Tensor:
    """How many of a 3-wide window's places lie inside, for each of `size` centres: 2, 3, ..., 3, 2."""
    position = torch.arange(size, device=like.device)
    return (3 - (position == 0).to(like.dtype)) - (position == size - 1).to(like.dtype)
