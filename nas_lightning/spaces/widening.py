"""Supernets that get wider during a search: each operation's channels grow by copies of its own (DrNAS, arXiv 2006.10355).

Letters: C channels, G groups of rows with a draw of their own each (the edges of a stacked convolution), D their channels
afterwards.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from nas_lightning.errors import UserError

Grow = Callable[[Tensor], Tensor]


class Widening:
    """New parameters in the place of narrower ones, for the weights and for what their optimiser remembers of them.

    As the authors' program does it: the channels that are added are copies of ones drawn uniformly, with replacement; a
    convolution's outputs and inputs are drawn apart, but for a pointwise one behind a depthwise one, whose inputs are the
    latter's outputs. Nothing is rescaled, so the function changes (Net2WiderNet divides by the number of copies).

    generator: on the CPU, the same on every rank.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._replaced: dict[nn.Parameter, tuple[nn.Parameter, Grow]] = {}

    def draw(self, groups: int, channels: int, wider: int) -> Tensor:
        """int64 [G, D]: which of its `channels` each of a group's `wider` is of; the first ones stay what they are."""
        kept = torch.arange(channels).expand(groups, -1)
        return torch.cat([kept, torch.randint(channels, (groups, wider - channels), generator=self._generator)], 1)

    def grown(self, parameter: nn.Parameter, rows_GD: Tensor, columns_GD: Tensor | None = None) -> nn.Parameter:
        """[G * C, ...] -> [G * D, ...] by the rows that `rows_GD` names; by columns_GD the second axis too."""

        def grow(old: Tensor) -> Tensor:
            return self.copied(old, rows_GD, columns_GD)

        with torch.no_grad():
            new = nn.Parameter(grow(parameter))
        self._replaced[parameter] = new, grow
        return new

    def copied(self, old: Tensor, rows_GD: Tensor, columns_GD: Tensor | None = None) -> Tensor:
        """As `grown`, of what is no parameter."""
        rows, columns = (None if index is None else index.to(old.device) for index in (rows_GD, columns_GD))
        assert rows is not None
        groups = torch.arange(len(rows), device=old.device)[:, None]
        new = old.unflatten(0, (len(rows), -1))[groups, rows]
        if columns is not None:
            new = torch.stack([part[:, index] for part, index in zip(new, columns, strict=True)])
        new = new.flatten(0, 1)
        if new.ndim < 4:
            return new
        # Not `contiguous`, which leaves the strides of a 1x1 kernel as they are: those of a resumed search are others.
        return torch.empty_like(new, memory_format=torch.channels_last).copy_(new)

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Let `optimizer` go on with the new parameters; what it remembers in their shape (momentum) grows with them."""
        for group in optimizer.param_groups:
            for place, old in enumerate(group["params"]):
                if old in self._replaced:
                    group["params"][place], grow = self._replaced[old]
                    state = optimizer.state.pop(old, {})
                    optimizer.state[group["params"][place]] = {
                        name: grow(value) if isinstance(value, Tensor) and value.shape == old.shape else value
                        for name, value in state.items()
                    }


def widened_channels(channels: int, partial: int, now: int) -> int:
    """How many channels operations act on at `partial`; UserError where that is no wider and whole share of them."""
    if partial >= now or channels % partial:
        raise UserError(
            f"stages: partial={partial} cannot follow space.partial={now} in a cell of {channels} channels; give a smaller "
            "divisor of space.C."
        )
    return channels // partial


def widen(cells: Iterable[nn.Module], partial: int, widening: Widening) -> None:
    """Let the operations of a supernet's cells act on 1/partial of the channels, where it was less."""
    for cell in cells:
        cell.widen(partial, widening)  # type: ignore[operator]
