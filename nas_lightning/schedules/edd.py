"""Entropy-based dynamic decay (arXiv 2306.06855, eq. 13-15, Algorithm 2), with every reading of it as an option."""

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from nas_lightning.errors import UserError, is_number
from nas_lightning.schedules.base import (
    E_A,
    Observation,
    ScheduleState,
    check_epoch_constants,
    check_epochs,
    check_positive,
    decayed_temperature,
    half_up,
    whole_epochs,
)


@dataclass(frozen=True)
class EntropyDynamicDecay:
    """d(k) = lambda (1 - rho) H + rho d(k-1), d(0) = 0;  t(k) = E(a) / ln(exp(E(a)/t_0) + k d(k)).

    The defaults are what the authors' released program does where the paper is silent; the paper's text alone is
    `warmup=0, interval=1, late_start=None`.

    lam: lambda > 0. It multiplies the mean entropy; with `entropy_reduce="sum"` divide it by the number of edges.
    rho: momentum of the decay, 0 <= rho < 1.
    t0: temperature before the first update.
    warmup, interval, late_start: epochs (int; 1 is one epoch) or fractions of the run (float; 1.0 is all of it).
        Updates happen at the start of epoch `warmup`, then at the multiples of `interval` (the epochs nearest to them),
        and from `late_start` on at every epoch, with lambda multiplied by `late_lambda_mult`. None: no late phase.
        Epoch 0 always runs at t0: nothing has been learned yet.
    reheat_below: nats. At an update before the late phase that finds H below it the temperature starts again from t0 with
        d = 0 and k = 0, so that undecided edges are looked at anew: PCD's cycles, closed by the entropy (ours, in no paper).
        None: never.
    entropy_source: H of softmax(alpha / t) as it stands (closed loop) or of softmax(alpha) (eq. 13 to the letter).
    entropy_reduce, entropy_cells: mean or sum over the edges of all cell types, or of the cell type `normal` in a space
        that has one.
    e_a: E(a) fixed at `e_a_value`, or re-estimated at each update as the mean of max(alpha, 0).
    t0exp: the level the decay starts from: exp(E/t0), which keeps t <= t0, or 1 as in the paper's example.
    k_counts: k is the number of updates, or the epoch number.

    >>> schedule = EntropyDynamicDecay(epochs=50)
    >>> [epoch for epoch in range(50) if schedule.updates_at(epoch)]
    [10, 15, 20, 25, 30, 35, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49]
    """

    epochs: int
    lam: float = 0.06
    rho: float = 0.5
    t0: float = 1.0
    warmup: int | float = 0.2
    interval: int | float = 0.1
    late_start: int | float | None = 0.8
    late_lambda_mult: float = 2.0
    reheat_below: float | None = None
    entropy_source: Literal["tempered", "untempered"] = "tempered"
    entropy_reduce: Literal["mean", "sum"] = "mean"
    entropy_cells: Literal["all", "normal"] = "all"
    e_a: Literal["fixed", "reestimate"] = "fixed"
    e_a_value: float = E_A
    t0exp: Literal["exp", "one"] = "exp"
    k_counts: Literal["updates", "epochs"] = "updates"

    def __post_init__(self) -> None:
        check_epochs(self.epochs)
        check_positive(lam=self.lam, t0=self.t0, late_lambda_mult=self.late_lambda_mult, e_a_value=self.e_a_value)
        if not (is_number(self.rho) and 0 <= self.rho < 1):
            raise UserError(f"sched.rho must be a number in [0, 1), got {self.rho!r}.")
        check_epoch_constants(self.epochs, warmup=self.warmup, interval=self.interval)
        if not self.interval:
            raise UserError(f"sched.interval={self.interval} is no distance; for an update every epoch write 1.")
        if self.late_start is not None:
            check_epoch_constants(self.epochs, late_start=self.late_start)
        if self.reheat_below is not None:
            check_positive(reheat_below=self.reheat_below)
        hints = get_type_hints(type(self))
        for name in ("entropy_source", "entropy_reduce", "entropy_cells", "e_a", "t0exp", "k_counts"):
            if getattr(self, name) not in get_args(hints[name]):
                choices = " or ".join(get_args(hints[name]))
                raise UserError(f"sched.{name} must be {choices}, got {getattr(self, name)!r}.")

    def initial(self) -> ScheduleState:
        return ScheduleState(self.t0)

    def is_late(self, epoch: int) -> bool:
        return self.late_start is not None and epoch >= whole_epochs(self.late_start, self.epochs)

    def updates_at(self, epoch: int) -> bool:
        first = max(1, whole_epochs(self.warmup, self.epochs))
        # A fraction is not rounded to epochs before its multiples are taken: the number of updates in the middle of the
        # run then does not depend on the length of the run.
        interval = self.interval if isinstance(self.interval, int) else max(1.0, self.interval * self.epochs)
        at_multiple = half_up(half_up(epoch / interval) * interval) == epoch
        return epoch == first or (epoch > first and (at_multiple or self.is_late(epoch)))

    def entropy(self, observed: Observation) -> float:
        """H of eq. 13 under this reading, in nats."""
        by_cell = observed.entropy if self.entropy_source == "tempered" else observed.entropy_at_1
        if self.entropy_cells == "normal" and "normal" in by_cell:
            by_cell = {"normal": by_cell["normal"]}
        edges = [entropy for cell in by_cell.values() for entropy in cell]
        return sum(edges) if self.entropy_reduce == "sum" else sum(edges) / len(edges)

    def temperature(self, scale: float, decay: float) -> float | None:
        """t of eq. 15 for E(a) = scale and k d(k) = decay; None where it is infinite or 0."""
        start = scale / self.t0 if self.t0exp == "exp" else 0.0
        if scale <= 0 or start + decay <= 0:
            return None
        return decayed_temperature(scale, start, decay)

    def update(self, epoch: int, observed: Observation, previous: ScheduleState) -> ScheduleState:
        if not self.updates_at(epoch):
            return previous
        late, entropy = self.is_late(epoch), self.entropy(observed)
        if self.reheat_below is not None and not late and entropy < self.reheat_below:
            return self.initial()
        lam = self.lam * (self.late_lambda_mult if late else 1.0)
        decay = lam * (1 - self.rho) * entropy + self.rho * previous.decay
        updates = previous.updates + 1
        k = updates if self.k_counts == "updates" else epoch
        scale = self.e_a_value if self.e_a == "fixed" else observed.positive_alpha
        return ScheduleState(self.temperature(scale, k * decay) or previous.temperature, decay, updates)
