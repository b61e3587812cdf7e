"""What schedules see and return, and the checks and the exponential scale they share."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from nas_lightning.errors import UserError, is_number, is_whole

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

    entropy, entropy_at_1: cell type -> entropy in nats of each edge's beta, and of what it would be at t = 1.
    positive_alpha: mean of max(alpha, 0) over all candidate logits, the estimate of E(a).
    """

    entropy: Mapping[str, tuple[float, ...]]
    entropy_at_1: Mapping[str, tuple[float, ...]]
    positive_alpha: float


class TemperatureSchedule(Protocol):
    """Frozen settings; the caller keeps the state. `update` runs at the start of every epoch, from 0 on.

    Epoch constants (warmup, interval, ...) are an int, a number of epochs, or a float in [0, 1], a fraction of the run:
    `1` is one epoch and `1.0` the whole run.
    """

    def initial(self) -> ScheduleState: ...

    def update(self, epoch: int, observed: Observation, previous: ScheduleState) -> ScheduleState: ...


def check_positive(**values: float) -> None:
    for name, value in values.items():
        if not (is_number(value) and 0 < value < math.inf):
            raise UserError(f"sched.{name} must be a positive number, got {value!r}.")


def check_epochs(epochs: int) -> None:
    if not is_whole(epochs, 1):
        raise UserError(f"sched.epochs must be a whole number of at least 1, got {epochs!r}; set trainer.max_epochs.")


def check_epoch_constants(epochs: int, **values: int | float) -> None:
    for name, value in values.items():
        if not (is_number(value) and 0 <= value < math.inf):
            raise UserError(
                f"sched.{name} must be a number of epochs such as 5 or a fraction of the run such as 0.1, "
                f"got {value!r}."
            )
        if isinstance(value, float) and value > 1:
            raise UserError(f"sched.{name}={value} is no fraction of the run; for epochs write {round(value)}.")
        if value > epochs:
            raise UserError(
                f"sched.{name}={value} epochs are more than the run's {epochs}; "
                "make trainer.max_epochs larger or give a fraction of the run such as 0.2."
            )


def half_up(value: float) -> int:
    return math.floor(value + 0.5)


def whole_epochs(value: int | float, epochs: int) -> int:
    """An epoch constant in epochs; a fraction goes to the nearest epoch, halves up (`round` takes them to even)."""
    return value if isinstance(value, int) else half_up(value * epochs)


def is_start(value: Any) -> bool:
    """Whether `value` says how much passes before something starts: epochs (int) or a share below 1 (float)."""
    return is_number(value) and 0 <= value < (math.inf if isinstance(value, int) else 1)


def decayed_temperature(scale: float, start: float, decay: float) -> float:
    """t = E / ln(exp(start) + decay), start = E/t_0 (arXiv 2306.06855, eq. 12, 15), in a form that cannot overflow."""
    return scale / (start + math.log1p(decay * math.exp(-start)))
