"""Schedules fixed before training that never turn back."""

import math
from dataclasses import dataclass

from nas_lightning.errors import UserError
from nas_lightning.schedules.base import E_A, Observation, ScheduleState, check_epochs, check_positive


@dataclass(frozen=True)
class Constant:
    """t = temperature throughout; DARTS is t = 1."""

    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_positive(temperature=self.temperature)

    def initial(self) -> ScheduleState:
        return ScheduleState(self.temperature)

    def update(self, epoch: int, observed: Observation, previous: ScheduleState) -> ScheduleState:
        return previous


def _check_descent(epochs: int, t0: float, t_end: float) -> None:
    check_epochs(epochs)
    check_positive(t0=t0, t_end=t_end)
    if t_end > t0:
        raise UserError(f"sched.t_end={t_end} must not exceed sched.t0={t0}; the temperature falls, so swap them.")


@dataclass(frozen=True)
class Linear:
    """LTS (arXiv 2306.06855, section 2.2): t_n = t_0 + n (t_N - t_0) / N, with n the epoch and N = epochs - 1.

    >>> schedule = Linear(epochs=5, t0=1.0, t_end=0.001)
    >>> [round(schedule.at(n), 5) for n in range(5)]
    [1.0, 0.75025, 0.5005, 0.25075, 0.001]
    """

    epochs: int
    t0: float = 1.0
    t_end: float = 1e-3

    def __post_init__(self) -> None:
        _check_descent(self.epochs, self.t0, self.t_end)

    @property
    def decay(self) -> float:
        """The step in temperature."""
        return (self.t0 - self.t_end) / max(1, self.epochs - 1)

    def at(self, epoch: int) -> float:
        return self.t0 - epoch * self.decay

    def initial(self) -> ScheduleState:
        return ScheduleState(self.t0)

    def update(self, epoch: int, observed: Observation, previous: ScheduleState) -> ScheduleState:
        return ScheduleState(self.at(epoch), self.decay, epoch)


@dataclass(frozen=True)
class Exponential:
    """ETS (arXiv 2306.06855, eq. 10-12): exp(E/t) moves in N = epochs - 1 equal steps from t_0 to t_N.

    >>> schedule = Exponential(epochs=5, t0=1.0, t_end=0.001, e_a_value=4e-4)
    >>> [round(schedule.at(n), 7) for n in range(5)]
    [1.0, 0.0034414, 0.0018179, 0.0012737, 0.001]
    """

    epochs: int
    t0: float = 1.0
    t_end: float = 1e-3
    e_a_value: float = E_A

    def __post_init__(self) -> None:
        _check_descent(self.epochs, self.t0, self.t_end)
        check_positive(e_a_value=self.e_a_value)
        if self.e_a_value / self.t_end > 700:
            raise UserError(
                f"sched.t_end={self.t_end} is too small for sched.e_a_value={self.e_a_value}: "
                f"exp(E/t) overflows below t = {self.e_a_value / 700:.1e}; raise t_end."
            )

    @property
    def decay(self) -> float:
        """d, the step in exponential space."""
        start, end = self.e_a_value / self.t0, self.e_a_value / self.t_end
        return (math.expm1(end) - math.expm1(start)) / max(1, self.epochs - 1)

    def at(self, epoch: int) -> float:
        return self.e_a_value / math.log1p(math.expm1(self.e_a_value / self.t0) + epoch * self.decay)

    def initial(self) -> ScheduleState:
        return ScheduleState(self.t0)

    def update(self, epoch: int, observed: Observation, previous: ScheduleState) -> ScheduleState:
        return ScheduleState(self.at(epoch), self.decay, epoch)
