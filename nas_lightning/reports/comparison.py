"""The numbers of a comparison: intervals, tests, probability of improvement, best against last epoch, rank correlations.

Tests and bootstraps are scipy's; nothing here draws or formats.
"""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from math import comb
from statistics import fmean, median
from typing import Any

from nas_lightning.errors import UserError
from nas_lightning.reports.groups import Group, value_of, varying
from nas_lightning.reports.runs import SCORE_NAMES, Run, are_tabulated, score_heading
from nas_lightning.reports.statistic import Statistic, finite
from nas_lightning.reports.tables import seed_of

CONFIDENCE = 0.95
RESAMPLES = 9_999
_EXACT = 7  # points up to which all orders are tried
_SEED = 0  # of the bootstrap: the same runs give the same interval
TABLE_BEST = {
    "cifar10_valid_12": 84.89, "cifar10_test_12": 89.16, "cifar10_test_200": 94.37, "cifar100_valid_12": 61.32,
    "cifar100_test_12": 61.18, "cifar100_test_200": 73.51, "imagenet16_120_valid_12": 38.67, "imagenet16_120_test_12": 38.27,
    "imagenet16_120_test_200": 47.31,
}  # fmt: skip
"""The largest accuracy (%) of each column of the package's NAS-Bench-201 table, rounded to 0.01 as the table is."""

_REPORTED = ("seconds", "processor_seconds", "epochs", "params", "macs", "test_accuracy", "train_accuracy")

Interval = tuple[float, float]


@dataclass(frozen=True)
class Metric:
    """What is compared: a column of metrics.csv (its last value), a score of the table, a number of the report, or
    `edges/<operation>`, how many edges of the found architecture have it. Accuracies are in percent.
    is_of_these: whether a score of the table is of the images of the runs.
    """

    name: str
    is_of_these: bool = True

    @property
    def heading(self) -> str:
        if self._is_score:
            return score_heading(self.name.removeprefix("table/"), self.is_of_these)
        return {"discrete_accuracy": "discretised (%)", "entropy": "entropy (nats)"}.get(
            self.name, f"{self.name} (%)" if self.is_accuracy else self.name
        )

    @property
    def is_accuracy(self) -> bool:
        return self._is_score or self.name.endswith("accuracy")

    @property
    def decimals(self) -> int:
        if self.is_accuracy:
            return 2
        return 1 if self.name.startswith("edges/") or self.name in ("skip_connects", *_REPORTED) else 3

    @property
    def best(self) -> float | None:
        """The table's, in percent."""
        return TABLE_BEST.get(self.name.removeprefix("table/")) if self._is_score else None

    @property
    def _is_score(self) -> bool:
        return self.name.startswith("table/")

    @property
    def _factor(self) -> float:
        return 100.0 if self.is_accuracy and not self._is_score else 1.0

    def result(self, run: Run) -> float | None:
        """The run's final value: of the architecture that it ended with for a score, else of its last epoch."""
        report: Any = run.report
        if self._is_score:
            return finite(report["scores"].get(self.name.removeprefix("table/")))
        if self.name.startswith("edges/"):
            if (found := run.known_genotype) is None:
                return None
            return float(sum(choice.operation == self.name[6:] for cell in found.cells.values() for choice in cell))
        value = finite((report if self.name in _REPORTED else report.get("final", {})).get(self.name))
        return None if value is None else self._factor * value

    def curve(self, run: Run) -> dict[int, float]:
        """Epoch -> value; empty without the column. UserError where metrics.csv cannot be read."""
        points = zip(run.metrics["epoch"], run.metrics.get(self.name, ()), strict=False)
        return {int(epoch): self._factor * value for epoch, value in points if math.isfinite(value)}


@dataclass(frozen=True)
class Summary:
    """Of one group: mean and sample deviation, range, 95 % intervals of the mean (None for n = 1), table's best minus mean."""

    name: str
    statistic: Statistic
    least: float
    most: float
    t: Interval | None
    bca: Interval | None
    regret: float | None


@dataclass(frozen=True)
class Difference:
    """Of two groups, `first` minus `second`. p values are two-sided, None where a test cannot be made.

    improvement: P(first > second) + P(equal) / 2 over all pairs of runs, the mean over the settings (strata) that both groups
    have; None for a single run. pairs: runs of the same seed and settings; won: of them, those where `first` has more.
    """

    first: str
    second: str
    mean: float
    interval: Interval | None
    improvement: float | None
    improvement_interval: Interval | None
    welch: float | None
    mann_whitney: float | None
    pairs: int
    won: int
    paired_mean: float | None
    paired_t: float | None
    wilcoxon: float | None


@dataclass(frozen=True)
class Epochs:
    """Best epoch (largest value on the way) against the last, over the runs that have the column."""

    name: str
    best: Statistic
    last: Statistic
    lost: Statistic
    epoch: float


@dataclass(frozen=True)
class Correlation:
    """Rank correlation of `predictor` and metric over n points; where it is a mean over runs, p is None, std their spread."""

    what: str
    name: str
    n: int
    kendall: Statistic
    kendall_p: float | None
    spearman: Statistic
    spearman_p: float | None


def choose_metric(name: str | None, groups: Sequence[Group], option: str = "--metric") -> Metric:
    """The metric called `name`, else the first data set of the table that a run has, else the discretised accuracy.

    UserError, with what there is, where a group has no run with it; `option` is where it was asked for.
    """
    runs = [run for group in groups for run in group.runs]
    reports: list[Mapping[str, Any]] = [run.report for run in runs if run.report]
    scores = list(dict.fromkeys(key for report in reports for key in report["scores"]))
    if name is None:
        name = next((f"table/{key}" for key in SCORE_NAMES if key in scores), "discrete_accuracy")
    metric = Metric(f"table/{name}" if name in scores else name, are_tabulated(reports))
    if name.startswith("edges/"):
        _check_operation(name, runs, option)
    for group in groups:
        if all(metric.result(run) is None for run in group.runs):
            columns = (key for report in reports for key in report.get("final", {}) if not key.startswith("entropy/"))
            known = {*columns} | {f"table/{key}" for key in scores}
            known |= {key for report in reports for key in _REPORTED if finite(report.get(key)) is not None}
            raise UserError(f"no run of {group.name} has {name}; give {option} one of {', '.join(sorted(known))}.")
    return metric


def _check_operation(name: str, runs: Sequence[Run], option: str) -> None:
    """UserError for an operation that none of the runs has found, such as a misspelt one: it would be 0 everywhere."""
    genotypes = [found for run in runs if (found := run.known_genotype) is not None]
    operations = {choice.operation for found in genotypes for cell in found.cells.values() for choice in cell}
    if operations and name.removeprefix("edges/") not in operations:
        known = ", ".join(f"edges/{operation}" for operation in sorted(operations))
        raise UserError(f"no architecture of these runs has an edge for {name}; give {option} one of {known}.")


def summarise(group: Group, metric: Metric) -> Summary:
    from scipy import stats

    values = _values(group.runs, metric)
    statistic = Statistic.of(values)
    assert statistic.mean is not None
    t = bca = None
    if statistic.std:
        low, high = stats.t.interval(
            CONFIDENCE, len(values) - 1, loc=statistic.mean, scale=statistic.std / math.sqrt(len(values))
        )
        t = float(low), float(high)
        bca = _bootstrap([values], _mean, "BCa") if len(values) > 2 else None
    regret = None if metric.best is None else metric.best - statistic.mean
    return Summary(group.name, statistic, min(values), max(values), t, bca, regret)


def differences(groups: Sequence[Group], metric: Metric) -> list[Difference]:
    """Every two groups, in their order."""
    return [_difference(first, second, metric) for first, second in combinations(groups, 2)]


def kruskal(groups: Sequence[Group], metric: Metric) -> float | None:
    """p of Kruskal and Wallis' test that all groups have one distribution; None for fewer than three groups or values."""
    from scipy import stats

    samples = [_values(group.runs, metric) for group in groups]
    if len(samples) < 3 or min(map(len, samples)) < 2:
        return None
    return _p(lambda: stats.kruskal(*samples))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction over the p values that are not None (Scandinavian Journal of Statistics 6, 1979)."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[index] = largest
    return corrected


def smallest_p(first: int, second: int) -> float:
    """The smallest that an exact two-sided Mann-Whitney test of so many runs can give."""
    return 2 / comb(first + second, first)


def best_and_last(name: str, runs: Sequence[Run], metric: Metric) -> Epochs | None:
    """None where no run has the column over its epochs."""
    curves = [curve for run in runs if (curve := metric.curve(run))]
    if not curves:
        return None
    best = [max(curve.values()) for curve in curves]
    last = [curve[max(curve)] for curve in curves]
    epoch = median(min(epoch for epoch, value in curve.items() if value == max(curve.values())) for curve in curves)
    lost = Statistic.of(b - x for b, x in zip(best, last, strict=True))
    return Epochs(name, Statistic.of(best), Statistic.of(last), lost, epoch)


def correlations(groups: Sequence[Group], predictor: Metric, metric: Metric) -> list[Correlation]:
    """Over the final values of all runs and of each group's, over the epochs within a run, and over all epochs of all runs."""
    everything = Group("all", tuple(run for group in groups for run in group.runs))
    found = []
    for group in (everything, *groups):
        finals = [(predictor.result(run), metric.result(run)) for run in group.runs]
        points = [(x, y) for x, y in finals if x is not None and y is not None]
        found.append(rank_correlation("final values, over runs", group.name, points))
    for group in (everything, *groups):
        curves = [_joined(run, predictor, metric) for run in group.runs]
        found.append(_within("epochs, within a run", group.name, curves))
    pooled = [point for run in everything.runs for point in _joined(run, predictor, metric)]
    # No p: epochs of one run are no independent points.
    found.append(rank_correlation("epochs of all runs", everything.name, pooled, independent=False))
    return [each for each in found if each is not None]


def anytime(group: Group, metric: Metric, clock: str | None) -> list[tuple[int, Statistic, float, float, float | None]]:
    """For every epoch that all runs of the group with the column have: its statistic, least and most, and mean time so far.

    clock: the column of seconds an epoch took, None for none.
    """
    curves = [(run, curve) for run in group.runs if (curve := metric.curve(run))]
    if not curves:
        return []
    times = [elapsed(run, clock) for run, _ in curves] if clock else []
    rows = []
    for epoch in sorted(set.intersection(*(set(curve) for _, curve in curves))):
        values = [curve[epoch] for _, curve in curves]
        seconds = fmean(time[epoch] for time in times) if times and all(epoch in time for time in times) else None
        rows.append((epoch, Statistic.of(values), min(values), max(values), seconds))
    return rows


def clock_of(runs: Sequence[Run]) -> str | None:
    """Processor seconds where every run has them, else a clock's seconds, else None."""
    for name in ("processor_seconds", "seconds"):
        if all(elapsed(run, name) for run in runs):
            return name
    return None


def elapsed(run: Run, clock: str) -> dict[int, float]:
    """Epoch -> seconds from the first epoch's beginning to its end; empty where an epoch's are missing."""
    seconds = run.metrics.get(clock, [])
    if not seconds or not all(map(math.isfinite, seconds)):
        return {}
    total, times = 0.0, {}
    for epoch, each in zip(run.metrics["epoch"], seconds, strict=True):
        total += each
        times[int(epoch)] = total
    return times


def _difference(first: Group, second: Group, metric: Metric) -> Difference:
    from scipy import stats

    x, y = _values(first.runs, metric), _values(second.runs, metric)
    keys = {*varying(first.runs), *varying(second.runs)}
    strata = _strata(first.runs, second.runs, keys, metric)
    interval = welch = mann_whitney = None
    if min(len(x), len(y)) > 1:
        with _quietly():
            result = stats.ttest_ind(x, y, equal_var=False)
            interval = _finite_interval(result.confidence_interval(CONFIDENCE))
        welch = _p(lambda: result)
        mann_whitney = _p(lambda: stats.mannwhitneyu(x, y, alternative="two-sided"))
    pairs = _pairs(first.runs, second.runs, keys, metric)
    a, b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    tested = len(pairs) > 1
    return Difference(
        first.name, second.name, fmean(x) - fmean(y), interval, _improvement(strata) if min(len(x), len(y)) > 1 else None,
        _improvement_interval(strata), welch, mann_whitney, len(pairs), sum(left > right for left, right in pairs),
        fmean(a) - fmean(b) if pairs else None,
        _p(lambda: stats.ttest_rel(a, b)) if tested else None,
        _p(lambda: stats.wilcoxon(a, b)) if tested and a != b else None,
    )  # fmt: skip


def _values(runs: Sequence[Run], metric: Metric) -> list[float]:
    return [value for run in runs if (value := metric.result(run)) is not None]


def _stratum(run: Run, keys: set[str]) -> tuple[str, ...]:
    return tuple(value_of(run, key) for key in sorted(keys))


def _strata(
    first: Sequence[Run], second: Sequence[Run], keys: set[str], metric: Metric
) -> list[tuple[list[float], list[float]]]:
    """The values of both apart by what differs within them, where both have the same of it; else as one."""
    by_side: list[dict[tuple[str, ...], list[float]]] = [{}, {}]
    for side, runs in zip(by_side, (first, second), strict=True):
        for run in runs:
            if (value := metric.result(run)) is not None:
                side.setdefault(_stratum(run, keys), []).append(value)
    if set(by_side[0]) != set(by_side[1]):
        return [(_values(first, metric), _values(second, metric))]
    return [(values, by_side[1][key]) for key, values in by_side[0].items()]


def _pairs(first: Sequence[Run], second: Sequence[Run], keys: set[str], metric: Metric) -> list[tuple[float, float]]:
    """Of runs with the same seed and settings; none where two runs of a group have both the same."""
    sides = []
    for runs in (first, second):
        known = [run for run in runs if metric.result(run) is not None and run.report and "seed" in run.report]
        side = {(*_stratum(run, keys), seed_of(run.report or {})): metric.result(run) for run in known}
        if len(side) != len(known):
            return []
        sides.append(side)
    shared = [key for key in sides[0] if key in sides[1]]
    return [(a, b) for key in shared if (a := sides[0][key]) is not None and (b := sides[1][key]) is not None]


def _improvement(strata: Sequence[tuple[list[float], list[float]]]) -> float:
    """P(X > Y) as in Agarwal et al. (arXiv 2108.13264): Mann and Whitney's U over the number of pairs, mean over strata."""
    return fmean(fmean((a > b) + (a == b) / 2 for a in x for b in y) for x, y in strata)


def _improvement_interval(strata: Sequence[tuple[list[float], list[float]]]) -> Interval | None:
    """Percentiles of the bootstrap that resamples each group within each stratum, as theirs does."""
    if min(len(values) for pair in strata for values in pair) < 2:
        return None
    samples = [values for pair in strata for values in pair]

    def statistic(*resampled: Any, axis: int) -> Any:
        import numpy as np

        each = []
        for x, y in zip(resampled[::2], resampled[1::2], strict=True):
            a, b = np.moveaxis(x, axis, -1)[..., :, None], np.moveaxis(y, axis, -1)[..., None, :]
            each.append(((a > b) + (a == b) / 2).mean(axis=(-2, -1)))
        return sum(each) / len(each)

    return _bootstrap(samples, statistic, "percentile")


def _mean(values: Any, axis: int) -> Any:
    return values.mean(axis=axis)


def _bootstrap(samples: Sequence[list[float]], statistic: Callable[..., Any], method: str) -> Interval | None:
    import numpy as np
    from scipy import stats

    with _quietly():
        result = stats.bootstrap(
            samples, statistic, paired=False, vectorized=True, method=method, n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE, rng=np.random.default_rng(_SEED), batch=1_000,
        )  # fmt: skip
    return _finite_interval(result.confidence_interval)


def _finite_interval(interval: Any) -> Interval | None:
    low, high = float(interval.low), float(interval.high)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _p(test: Callable[[], Any]) -> float | None:
    """None where the values leave nothing to test, such as a deviation of 0."""
    with _quietly():
        return finite(float(test().pvalue))


@contextmanager
def _quietly() -> Iterator[None]:
    """Small and constant samples are said in the notes, and no value is shown where there is none."""
    import numpy as np

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _joined(run: Run, predictor: Metric, metric: Metric) -> list[tuple[float, float]]:
    x, y = predictor.curve(run), metric.curve(run)
    return [(x[epoch], y[epoch]) for epoch in sorted(x.keys() & y.keys())]


def rank_correlation(
    what: str, name: str, points: Sequence[tuple[float, float]], independent: bool = True
) -> Correlation | None:
    """None where `kendall` is; p only of `independent` points."""
    from scipy import stats

    if (found := kendall(points)) is None:
        return None
    tau, tau_p = found
    x, y = zip(*points, strict=True)
    with _quietly():
        spearman = stats.spearmanr(x, y)
        rho_p = _spearman_p(x, y) if len(points) <= _EXACT else float(spearman.pvalue)
    p = (tau_p, rho_p) if independent else (None, None)
    rho = Statistic(float(spearman.statistic), None, 1)
    return Correlation(what, name, len(points), Statistic(tau, None, 1), p[0], rho, p[1])


def kendall(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Tau-b and its p; None for fewer than three points, or where one of the two is the same everywhere."""
    from scipy import stats

    if len(points) < 3 or any(len(set(values)) < 2 for values in zip(*points, strict=True)):
        return None
    x, y = zip(*points, strict=True)
    with _quietly():
        found = stats.kendalltau(x, y)
    return float(found.statistic), float(found.pvalue)


def _spearman_p(x: Sequence[float], y: Sequence[float]) -> float:
    """By all permutations: scipy's own is of Student's t, which is 0 for three points in order."""
    import numpy as np
    from scipy import stats

    a, b = (stats.rankdata(values) - (len(values) + 1) / 2 for values in (x, y))

    def product(ranks: Any, axis: int) -> Any:
        return (ranks * b).sum(axis=axis)

    return float(
        stats.permutation_test((a,), product, permutation_type="pairings", vectorized=True, n_resamples=np.inf).pvalue
    )


def _within(what: str, name: str, curves: Sequence[Sequence[tuple[float, float]]]) -> Correlation | None:
    """Mean and spread over the runs of each one's correlation; n counts the runs."""
    each = [found for points in curves if (found := rank_correlation(what, name, points))]
    if not each:
        return None
    tau, rho = Statistic.of(one.kendall.mean for one in each), Statistic.of(one.spearman.mean for one in each)
    return Correlation(what, name, len(each), tau, None, rho, None)


def repeated(group: Group) -> list[tuple[str, int]]:
    """Seeds that runs of one setting share, with how many: such a group is not paired."""
    keys = set(varying(group.runs))
    seeds = Counter((_stratum(run, keys), seed_of(run.report or {})) for run in group.runs)
    return sorted((seed, number) for (_, seed), number in seeds.items() if number > 1)
