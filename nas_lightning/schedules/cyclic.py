"""Periodic cyclic decay: PCD and its linear form LPCD (arXiv 2306.06855, section 4; details: authors' release)."""

from dataclasses import dataclass

from nas_lightning.errors import UserError
from nas_lightning.schedules.base import (
    Observation,
    ScheduleState,
    check_epoch_constants,
    check_epochs,
    check_positive,
    decayed_temperature,
    whole_epochs,
)


@dataclass(frozen=True, kw_only=True)
class _Cycle:
    """t = 1 until `warmup` ends; then cycles of `period` epochs, down and back up; from `final_start` one last descent.

    The position in a cycle is epoch mod period, as in the release, so a warm-up that is no multiple of the period
    cuts into the first cycle. All three constants are epochs (int) or fractions of the run (float); a fraction of a run
    too short for it is a cycle of 2 epochs.
    """

    epochs: int
    period: int | float = 0.2
    final_start: int | float = 0.8
    warmup: int | float = 0.0

    def check_cycle(self) -> None:
        check_epochs(self.epochs)
        check_epoch_constants(self.epochs, period=self.period, final_start=self.final_start, warmup=self.warmup)
        if self.period == 0 or (isinstance(self.period, int) and self.period < 2):
            raise UserError(f"sched.period={self.period} has no room to go down and up; make it 2 epochs or more.")

    def depth(self, epoch: int) -> tuple[float, bool]:
        """How far down the temperature is, from 0 (t = 1) to 1 (the lowest), and whether this is the last descent."""
        final_start = whole_epochs(self.final_start, self.epochs)
        if epoch < whole_epochs(self.warmup, self.epochs):
            return 0.0, False
        if epoch >= final_start:
            return (epoch - final_start + 1) / (self.epochs - final_start), True
        period = max(2, whole_epochs(self.period, self.epochs))
        position = epoch % period
        return min(position, period - position) / (period // 2), False


@dataclass(frozen=True, kw_only=True)
class Cyclic(_Cycle):
    """PCD: t_n = E / ln(1 + d n), n rising to `cycle_steps` in a cycle and to `final_steps` in the last descent.

    At 50 epochs and the default constants a cycle is [1, t1, t2, t3, t4, t5, t4, t3, t2, t1] and the end t1 .. t10.

    >>> [round(Cyclic(epochs=50).at(epoch), 7) for epoch in (0, 1, 5, 40, 49)]
    [1.0, 0.0038233, 0.0009104, 0.0038233, 0.0005378]
    """

    decay: float = 0.11
    cycle_steps: int = 5
    final_steps: int = 10
    e_a_value: float = 3.99e-4

    def __post_init__(self) -> None:
        self.check_cycle()
        check_positive(
            decay=self.decay, cycle_steps=self.cycle_steps, final_steps=self.final_steps, e_a_value=self.e_a_value
        )

    def at(self, epoch: int) -> float:
        depth, final = self.depth(epoch)
        steps = depth * (self.final_steps if final else self.cycle_steps)
        return decayed_temperature(self.e_a_value, 0.0, self.decay * steps) if steps else 1.0

    def initial(self) -> ScheduleState:
        return ScheduleState(1.0, self.decay)

    def update(self, epoch: int, observed: Observation, previous: ScheduleState) -> ScheduleState:
        return ScheduleState(self.at(epoch), self.decay, epoch)


@dataclass(frozen=True, kw_only=True)
class CyclicLinear(_Cycle):
    """LPCD: the cycle of PCD with evenly spaced temperatures, down to `cycle_end` and, at last, to `final_end`.

    >>> [round(CyclicLinear(epochs=50).at(epoch), 5) for epoch in (0, 1, 5, 40, 49)]
    [1.0, 0.8002, 0.001, 0.90005, 0.0005]
    """

    cycle_end: float = 1e-3
    final_end: float = 5e-4

    def __post_init__(self) -> None:
        self.check_cycle()
        check_positive(cycle_end=self.cycle_end, final_end=self.final_end)

    def at(self, epoch: int) -> float:
        depth, final = self.depth(epoch)
        return 1 - depth * (1 - (self.final_end if final else self.cycle_end))

    def initial(self) -> ScheduleState:
        return ScheduleState(1.0)

    def update(self, epoch: int, observed: Observation, previous: ScheduleState) -> ScheduleState:
        return ScheduleState(self.at(epoch), 0.0, epoch)
