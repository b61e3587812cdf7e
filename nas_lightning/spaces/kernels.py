"""What the supernets of all spaces compute with: gradients in channels_last, scaled sums, the 3x3 average, noise."""

import torch
import torch.nn.functional as F
from torch import Tensor


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


def dropped_out(x: Tensor, p: Tensor) -> Tensor:
    """x [B, C, H, W], each entry 0 with probability p, else times 1 / (1 - p), as `nn.Dropout`; drawn as `noise_like` draws.

    p: scalar in [0, 1), a tensor, so that a captured step follows it.
    """
    drawn = torch.rand_like(x.permute(0, 2, 3, 1), dtype=p.dtype, memory_format=torch.contiguous_format)
    return x * ((drawn >= p) / (1 - p)).to(x.dtype).permute(0, 3, 1, 2)


def noise_like(x: Tensor, stride: int) -> Tensor:
    """N(0, 1) in the shape of x at `stride`: S4's operation without information (arXiv 1909.09656).

    Drawn from the device's default generator, which the search reseeds every epoch. In channels_last, by way of a contiguous
    tensor: a CPU draws that several times as fast.
    """
    last = x[:, :, ::stride, ::stride].permute(0, 2, 3, 1)
    return torch.randn_like(last, memory_format=torch.contiguous_format).permute(0, 3, 1, 2)
