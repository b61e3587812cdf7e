"""What schedules see and return, and the exponential scale they share."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from nas_lightning.errors import UserError

E_A = 1e-3 * math.sqrt(2 / math.pi) / 2
"""E(a) = 3.98942280e-4, the scale constant of logits drawn as 1e-3 * N(0, 1) (arXiv 2306.06855, section 2.3)."""


@dataclass(frozen=True)
class ScheduleState:
    """Temperature t, decay d and number of updates k after an epoch's update; what a checkpoint keeps."""

    temperature: float
    decay: float = 0.0
    updates: int = 0


@dataclass(frozen=True)
class Observation:
    """The architecture as it stands before the update.

    tempered, untempered: cell type -> entropy in nats of each edge's softmax(alpha / t) and softmax(alpha).
    positive_alpha: mean of max(alpha, 0) over all candidate logits, the estimate of E(a).
    """

    tempered: Mapping[str, tuple[float, ...]]
    untempered: Mapping[str, tuple[float, ...]]
    positive_alpha: float


class TemperatureSchedule(Protocol):
    """Frozen settings; the callback keeps and checkpoints the state. `update` runs at the start of `epoch` (from 0)."""

    def initial(self) -> ScheduleState: ...

    def update(self, epoch: int, observed: Observation, previous: ScheduleState) -> ScheduleState: ...


def whole_epochs(value: int | float, epochs: int, name: str) -> int:
    """An epoch constant in epochs: an int counts epochs, a float in [0, 1] is a fraction of the run, rounded."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise UserError(f"sched.{name} must be a number of epochs (int) or a fraction of the run (float), got {value!r}.")
    if isinstance(value, int):
        return value
    if value > 1:
        raise UserError(f"sched.{name}={value} is no fraction of the run; write {round(value)} for that many epochs.")
    return math.floor(value * epochs + 0.5)


def positive(**values: float) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not (0 < value < math.inf):
            raise UserError(f"sched.{name} must be a positive number, got {value!r}.")


def tempered_level(scale: float, temperature: float) -> float:
    """t^exp - 1 = exp(E/t) - 1 (arXiv 2306.06855, eq. 10)."""
    if scale / temperature > 700:
        raise UserError(f"the temperature {temperature} is too small for E(a)={scale}: exp(E/t) overflows; raise it.")
    return math.expm1(scale / temperature)


def temperature_at(scale: float, level: float) -> float:
    """The inverse of `tempered_level`: t = E / ln(1 + level)."""
    return scale / math.log1p(level)
