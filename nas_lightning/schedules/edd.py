"""Entropy-based dynamic decay (arXiv 2306.06855, eq. 13-15, Algorithm 2), with every reading of it as an option."""

import math
from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from nas_lightning.errors import UserError
from nas_lightning.schedules.base import (
    E_A,
    Observation,
    ScheduleState,
    positive,
    temperature_at,
    tempered_level,
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
    warmup, interval, late_start: epochs (int) or fractions of the run (float). Updates happen at the start of epoch
        `warmup`, then at epochs divisible by `interval`, and from `late_start` on at every epoch with lambda
        multiplied by `late_lambda_mult`. Epoch 0 always runs at t0: nothing has been learned yet.
    entropy_source: H of softmax(alpha / t) as it stands (closed loop) or of softmax(alpha) (eq. 13 to the letter).
    entropy_reduce, entropy_cells: mean or sum over the edges of all cell types or of the normal cell only.
    e_a: E(a) fixed at `e_a_value`, or re-estimated at each update as the mean of max(alpha, 0).
    t0exp: the level the decay starts from: exp(E/t0), or 1 as in the paper's example.
    k_counts: k is the number of updates, or the epoch number.
    """

    epochs: int
    lam: float = 0.06
    rho: float = 0.5
    t0: float = 1.0
    warmup: int | float = 0.2
    interval: int | float = 0.1
    late_start: int | float | None = 0.8
    late_lambda_mult: float = 2.0
    entropy_source: Literal["tempered", "untempered"] = "tempered"
    entropy_reduce: Literal["mean", "sum"] = "mean"
    entropy_cells: Literal["all", "normal"] = "all"
    e_a: Literal["fixed", "reestimate"] = "fixed"
    e_a_value: float = E_A
    t0exp: Literal["exp", "one"] = "exp"
    k_counts: Literal["updates", "epochs"] = "updates"

    def __post_init__(self) -> None:
        positive(
            epochs=self.epochs, lam=self.lam, t0=self.t0, late_lambda_mult=self.late_lambda_mult, e_a_value=self.e_a_value
        )
        if not 0 <= self.rho < 1:
            raise UserError(f"sched.rho must lie in [0, 1), got {self.rho}.")
        for name, hint in get_type_hints(type(self)).items():
            choices = get_args(hint)
            if all(isinstance(choice, str) for choice in choices) and choices and getattr(self, name) not in choices:
                raise UserError(f"sched.{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}.")
        for name in ("warmup", "interval"):
            whole_epochs(getattr(self, name), self.epochs, name)
        if self.late_start is not None:
            whole_epochs(self.late_start, self.epochs, "late_start")
        tempered_level(self.e_a_value, self.t0)

    def initial(self) -> ScheduleState:
        return ScheduleState(self.t0)

    def is_late(self, epoch: int) -> bool:
        return self.late_start is not None and epoch >= whole_epochs(self.late_start, self.epochs, "late_start")

    def updates_at(self, epoch: int) -> bool:
        first = max(1, whole_epochs(self.warmup, self.epochs, "warmup"))
        interval = max(1, whole_epochs(self.interval, self.epochs, "interval"))
        return epoch == first or (epoch > first and (epoch % interval == 0 or self.is_late(epoch)))

    def entropy(self, observed: Observation) -> float:
        """H of eq. 13 under this reading, in nats."""
        by_cell = observed.tempered if self.entropy_source == "tempered" else observed.untempered
        if self.entropy_cells == "normal" and "normal" in by_cell:
            by_cell = {"normal": by_cell["normal"]}
        edges = [entropy for cell in by_cell.values() for entropy in cell]
        return sum(edges) if self.entropy_reduce == "sum" else sum(edges) / len(edges)

    def update(self, epoch: int, observed: Observation, previous: ScheduleState) -> ScheduleState:
        if not self.updates_at(epoch):
            return previous
        lam = self.lam * (self.late_lambda_mult if self.is_late(epoch) else 1.0)
        decay = lam * (1 - self.rho) * self.entropy(observed) + self.rho * previous.decay
        updates = previous.updates + 1
        k = updates if self.k_counts == "updates" else epoch
        scale = self.e_a_value if self.e_a == "fixed" else max(observed.positive_alpha, 1e-12)
        level = k * decay
        # A re-estimated E(a) can outgrow t0 by orders of magnitude; exp(E/t0) is then no longer a double.
        if self.t0exp == "exp" and scale / self.t0 < 700:
            level += math.expm1(scale / self.t0)
        temperature = temperature_at(scale, level) if level > 0 else previous.temperature
        return ScheduleState(temperature, decay, updates)
