"""Periodic cyclic decay: PCD and its linear form LPCD (arXiv 2306.06855, section 4; details of the authors' release)."""

from dataclasses import dataclass

from nas_lightning.errors import UserError
from nas_lightning.schedules.base import Observation, ScheduleState, positive, temperature_at, whole_epochs


@dataclass(frozen=True, kw_only=True)
class _Cycle:
    """t = 1 until `warmup` ends; then cycles of `period` epochs, down and back up; from `final_start` one last descent.

    The position in a cycle is epoch mod period, as in the release, so a warm-up that is no multiple of the period
    cuts into the first cycle. All three constants are epochs (int) or fractions of the run (float).
    """

    epochs: int
    period: int | float = 0.2
    final_start: int | float = 0.8
    warmup: int | float = 0.0

    def __post_init__(self) -> None:
        positive(epochs=self.epochs)
        for name in ("period", "final_start", "warmup"):
            whole_epochs(getattr(self, name), self.epochs, name)
        if whole_epochs(self.period, self.epochs, "period") < 2:
            raise UserError(f"sched.period={self.period} is under 2 epochs in a run of {self.epochs}; make it longer.")

    def cycle(self, depth: float) -> float:
        """Temperature at `depth` of the way down a cycle, 0 < depth <= 1."""
        raise NotImplementedError

    def final(self, depth: float) -> float:
        """Temperature at `depth` of the way down the last descent, 0 < depth <= 1."""
        raise NotImplementedError

    def at(self, epoch: int) -> float:
        period = whole_epochs(self.period, self.epochs, "period")
        final_start = whole_epochs(self.final_start, self.epochs, "final_start")
        if epoch < whole_epochs(self.warmup, self.epochs, "warmup"):
            return 1.0
        if epoch >= final_start:
            return self.final((epoch - final_start + 1) / max(1, self.epochs - final_start))
        position = epoch % period
        steps = min(position, period - position)
        return self.cycle(steps / (period // 2)) if steps else 1.0

    def initial(self) -> ScheduleState:
        return ScheduleState(1.0)

    def update(self, epoch: int, observed: Observation, previous: ScheduleState) -> ScheduleState:
        return ScheduleState(self.at(epoch), previous.decay, epoch)


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
        super().__post_init__()
        positive(
            decay=self.decay, cycle_steps=self.cycle_steps, final_steps=self.final_steps, e_a_value=self.e_a_value
        )

    def cycle(self, depth: float) -> float:
        return temperature_at(self.e_a_value, self.decay * self.cycle_steps * depth)

    def final(self, depth: float) -> float:
        return temperature_at(self.e_a_value, self.decay * self.final_steps * depth)

    def initial(self) -> ScheduleState:
        return ScheduleState(1.0, self.decay)


@dataclass(frozen=True, kw_only=True)
class CyclicLinear(_Cycle):
    """LPCD: the cycle of PCD with evenly spaced temperatures, down to `cycle_end` and, at last, to `final_end`.

    >>> [round(CyclicLinear(epochs=50).at(epoch), 5) for epoch in (0, 1, 5, 40, 49)]
    [1.0, 0.8002, 0.001, 0.90005, 0.0005]
    """

    cycle_end: float = 1e-3
    final_end: float = 5e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(cycle_end=self.cycle_end, final_end=self.final_end)

    def cycle(self, depth: float) -> float:
        return 1 - depth * (1 - self.cycle_end)

    def final(self, depth: float) -> float:
        return 1 - depth * (1 - self.final_end)
