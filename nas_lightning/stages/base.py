"""A search in parts, one after another.

Letters: E edges, O operations.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from nas_lightning.decisions.base import Decision, Masks
from nas_lightning.errors import UserError, check_whole, is_number
from nas_lightning.relaxations.view import View
from nas_lightning.schedules.base import half_up, is_start, whole_epochs


@dataclass(frozen=True)
class Stage:
    """epochs: how many (int), or their share of the run (float).

    arch_start: epochs (int) or share of the stage (float) before alpha's first step in it. keep: at its start every edge keeps
    so many candidates, those of largest probability. partial: at its start operations get wider, to 1/partial of the channels,
    see `spaces.widening`. weight_rate: the weights' learning rate throughout, instead of the schedule's. decision: asked in
    this stage, its epochs counted from the stage's start.
    """

    epochs: int | float
    arch_start: int | float = 0
    keep: int | None = None
    partial: int | None = None
    weight_rate: float | None = None
    decision: Decision | None = None

    def __post_init__(self) -> None:
        if not (is_number(self.epochs) and 0 < self.epochs < math.inf):
            raise UserError(
                f"stages: a stage's epochs must be a positive number or a share of the run, got {self.epochs!r}."
            )
        if not is_start(self.arch_start):
            raise UserError(
                f"stages: arch_start must be a number of epochs or a share of the stage below 1, got {self.arch_start!r}."
            )
        for name in ("keep", "partial"):
            if getattr(self, name) is not None:
                check_whole(f"stages: {name}", getattr(self, name), 1)
        if self.weight_rate is not None and not (is_number(self.weight_rate) and 0 < self.weight_rate < math.inf):
            raise UserError(f"stages: weight_rate must be a positive number, got {self.weight_rate!r}.")


@dataclass(frozen=True)
class Stages:
    """The parts of a run of `epochs` epochs by name, in order; together they are all of it."""

    epochs: int
    stages: Mapping[str, Stage]

    def __post_init__(self) -> None:
        if not isinstance(self.stages, Mapping) or not all(isinstance(stage, Stage) for stage in self.stages.values()):
            raise UserError("stages.stages must name parts of class nas_lightning.stages.Stage, as conf/stages does.")
        empty = [name for name, length in self._lengths().items() if length == 0]
        if empty:
            raise UserError(
                f"stages: {empty[0]} has none of the run's {self.epochs} epochs; make trainer.max_epochs larger."
            )
        parts = " + ".join(f"{name} {length}" for name, length in self._lengths().items())
        if sum(self._lengths().values()) != self.epochs:
            raise UserError(
                f"the stages have {parts or 0} epochs and the run trainer.max_epochs={self.epochs}; make them add up "
                "(stages.stages.<name>.epochs=)."
            )
        for name, length in self._lengths().items():
            start = self.stages[name].arch_start
            if whole_epochs(start, length) > length:
                raise UserError(
                    f"stages: {name} has {length} of the run's epochs and alpha's first step after arch_start={start} of them; "
                    f"give stages.stages.{name}.arch_start of at most {length}, which is a stage without any."
                )

    def _lengths(self) -> dict[str, int]:
        """Where a stage ends is rounded, not its length: two halves of an odd run are all of it."""
        ends, end = [0], 0.0
        for stage in self.stages.values():
            end += stage.epochs if isinstance(stage.epochs, int) else stage.epochs * self.epochs
            ends.append(half_up(end))
        return {name: last - first for name, (first, last) in zip(self.stages, pairwise(ends), strict=True)}

    def at(self, epoch: int) -> tuple[Stage, int]:
        """The stage of `epoch`, and how many of its epochs are done."""
        name, done = self._place(epoch)
        return self.stages[name], done

    def length(self, epoch: int) -> int:
        """How many epochs the stage of `epoch` has."""
        return self._lengths()[self._place(epoch)[0]]

    def trains_alpha(self, epoch: int) -> bool:
        """Whether alpha takes steps in `epoch`."""
        name, done = self._place(epoch)
        return done >= whole_epochs(self.stages[name].arch_start, self.length(epoch))

    def _place(self, epoch: int) -> tuple[str, int]:
        first = 0
        for name, length in self._lengths().items():
            if epoch < first + length:
                return name, epoch - first
            first += length
        raise ValueError(f"epoch {epoch} is beyond the {self.epochs} of the stages")


def kept(view: View, keep: int) -> Masks:
    """Of each edge the `keep` candidates of largest probability; of equals the first."""
    masks: dict[str, Tensor] = {}
    for name, cell in view.items():
        order_EO = cell.double().log_odds_EO.argsort(dim=-1, descending=True, stable=True)
        rank_EO = torch.empty_like(order_EO).scatter_(
            -1, order_EO, torch.arange(order_EO.shape[-1]).expand_as(order_EO).contiguous()
        )
        masks[name] = cell.mask_EO & (rank_EO < keep)
    return masks
