"""Batch norm in the supernets of all spaces: by the batch's own statistics, and where it is asked for with running ones.

Letters: B batch, C channels, K edges, P parts of a batch. "Wide" features [B, K * C, H, W] hold those of K edges.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_lightning.spaces.widening import Widening

_EPS = 1e-5
_MOMENTUM = 0.1
_PART = 2**14
"""Values of a channel that are added up in one go."""


class _BatchNorm(torch.autograd.Function):
    """`F.batch_norm` by the batch's statistics, which are taken of parts of the batch first; and these (biased variance)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        parts = x.split(max(1, _PART // x[0, 0].numel()))
        each = [torch.ops.aten.batch_norm_update_stats(part, None, None, 0.0) for part in parts]
        share_P1 = x.new_tensor([len(part) / len(x) for part in parts])[:, None]
        mean_PC, variance_PC = (torch.stack(statistic) for statistic in zip(*each, strict=True))
        mean_C = (share_P1 * mean_PC).sum(0)
        variance_C = (share_P1 * (variance_PC + (mean_PC - mean_C).square())).sum(0)
        ctx.save_for_backward(x, weight, mean_C, (variance_C + _EPS).rsqrt())
        ctx.mark_non_differentiable(mean_C, variance_C)
        output: Tensor = torch.native_batch_norm(x, weight, bias, mean_C, variance_C, False, 0.0, _EPS)[0]
        return output, mean_C, variance_C

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean_C, inverse_C = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad)
        gradients: tuple[Tensor | None, ...] = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, weight, None, None, mean_C, inverse_C, True, _EPS, wanted
        )
        return gradients


def batch_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    statistics: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """[B, C, H, W] normalised by the batch's own statistics.

    statistics: mean and variance [C] of zeros, to be filled with the batch's, the variance over n - 1 of its n values.

    In channels_last a CPU adds up a channel's values one by one in float32, so that large batches lose digits (a relative 3e-5
    at 256 images of 32 x 32); then the statistics are taken of parts of the batch and put together.
    """
    count = x.numel() // x.shape[1]
    long = count > _PART and len(x) > 1
    plain = x.device.type != "cpu" or x.dtype != torch.float32 or torch.compiler.is_compiling()
    if plain or not long or not x.is_contiguous(memory_format=torch.channels_last):
        # A momentum of 1 leaves of what was in them nothing.
        mean_C, variance_C = statistics or (None, None)
        return F.batch_norm(x, mean_C, variance_C, weight, bias, training=True, momentum=1.0, eps=_EPS)
    output, mean_C, biased_C = _BatchNorm.apply(x, weight, bias)
    if statistics is not None:
        statistics[0].copy_(mean_C)
        statistics[1].copy_(biased_C * (count / (count - 1)))
    normalised: Tensor = output
    return normalised


def running_statistics(supernet: nn.Module) -> list[Tensor]:
    """Mean and variance of each of its batch norms that normalises by them in eval mode, a user's own among them."""
    found = [getattr(norm, name, None) for norm in supernet.modules() for name in ("running_mean", "running_var")]
    return [statistic for statistic in found if isinstance(statistic, Tensor)]


class SupernetNorm(nn.Module):
    """Batch norm of a layer's channels, or of K stacked edges', without parameters unless `affine`.

    By the batch's own statistics in every mode: a relaxed and a discretised supernet differ too much to share running ones.

    running: keep them all the same and use them in eval mode, as the programs of the DARTS family do. As `nn.BatchNorm2d`:
    a forward pass in training mode moves them a tenth of the way to the batch's (variance over n - 1), here of the edges
    that it computes.
    """

    running_mean: Tensor | None
    running_var: Tensor | None

    def __init__(self, channels: int, running: bool, edges: int = 1, affine: bool = False) -> None:
        super().__init__()
        self.edges = edges
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(edges * channels) if running else None)
        self.register_buffer("running_var", torch.ones(edges * channels) if running else None)

    def widen(self, rows_GD: Tensor, widening: Widening) -> None:
        """The statistics of wider features, of which `Widening.draw` has said what each channel is a copy of."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean = widening.copied(self.running_mean, rows_GD)
            self.running_var = widening.copied(self.running_var, rows_GD)

    def forward(self, x: Tensor, positions: tuple[int, ...] | None = None, scale: Tensor | None = None) -> Tensor:
        """[B, K * C, H, W] of the edges at `positions`, None for all -> normalised, and times `scale` [K * C] if given."""
        weight = self.weight if scale is None else scale
        if self.running_mean is None or self.running_var is None:
            return batch_norm(x, weight, self.bias)
        means, variances = self._rows(self.running_mean, positions), self._rows(self.running_var, positions)
        if not self.training:
            mean_C, variance_C = (rows[0] if len(rows) == 1 else torch.cat(rows) for rows in (means, variances))
            return F.batch_norm(x, mean_C, variance_C, weight, self.bias, eps=_EPS)
        statistics = self.running_mean.new_zeros(x.shape[1]), self.running_var.new_zeros(x.shape[1])
        output = batch_norm(x, weight, self.bias, statistics)
        for running, batch in zip((means, variances), statistics, strict=True):
            torch._foreach_lerp_(running, list(batch.chunk(len(running))), _MOMENTUM)
        return output

    def _rows(self, running: Tensor, positions: tuple[int, ...] | None) -> list[Tensor]:
        """Views of the computed edges' statistics: one of all of them where that is what is computed."""
        if positions is None or len(positions) == self.edges:
            return [running]
        rows = running.unflatten(0, (self.edges, -1))
        return [rows[position] for position in positions]
