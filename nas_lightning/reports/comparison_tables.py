"""The tables of a comparison, each with its caption: as a grid for eyes and as CSV in full precision for programs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nas_lightning.escapes import csv_cell
from nas_lightning.reports import comparison as numbers
from nas_lightning.reports.comparison import Correlation, Difference, Epochs, Interval, Metric, Summary
from nas_lightning.reports.grid import Grid, csv_text, with_column, without_blanks
from nas_lightning.reports.groups import Comparison, Group, value_of, varying
from nas_lightning.reports.runs import Run
from nas_lightning.reports.statistic import Statistic, count, p_text

_FEW = 6
_NAMED = 3
_WIDTH = f"{100 * numbers.CONFIDENCE:.0f} %"


@dataclass(frozen=True)
class Table:
    """`name` is that of its files."""

    name: str
    title: str
    grid: Grid
    csv: str
    notes: tuple[str, ...]


def comparison_tables(comparison: Comparison, metric: Metric, predictor: Metric) -> list[Table]:
    """Groups, differences, tests, best against last epoch, correlations, anytime curves; those that there is data for.

    Their CSV begins with the comparison's protocol where that is told. UserError where a run's metrics.csv cannot be read.
    """
    groups = comparison.groups
    made = [_groups(groups, metric)]
    pairs = numbers.differences(groups, metric)
    made.append(_differences(pairs, metric))
    if any(getattr(pair, name) is not None for pair in pairs for name in _TESTS):
        made.append(_tests(groups, pairs, metric))
    if _searched(groups):
        made += _over_epochs(groups, metric, predictor)
    return [replace(table, csv=_with_protocol(table.csv, comparison)) for table in made]


def _with_protocol(text: str, comparison: Comparison) -> str:
    return with_column(text, "protocol", comparison.protocol) if comparison.protocol else text


def _searched(groups: Sequence[Group]) -> bool:
    """Evaluations have no metrics.csv of a search."""
    return all(run.report is not None and "final" in run.report for group in groups for run in group.runs)


def _over_epochs(groups: Sequence[Group], metric: Metric, predictor: Metric) -> list[Table]:
    everything = tuple(run for group in groups for run in group.runs)
    made = []
    if metric.is_accuracy:
        rows = [numbers.best_and_last(group.name, group.runs, metric) for group in (*groups, Group("all", everything))]
        if any(rows):
            made.append(_epochs([row for row in rows if row], metric, _missing(everything, metric)))
    if predictor.name != metric.name and (found := numbers.correlations(groups, predictor, metric)):
        made.append(_correlations(found, predictor, metric, _missing(everything, metric, predictor)))
    return made


def _missing(runs: Sequence[Run], *metrics: Metric) -> tuple[str, ...]:
    """A note of the runs without these columns, where others have them."""
    without = [str(run.folder) for run in runs if not all(metric.curve(run) for metric in metrics)]
    if not without or len(without) == len(runs):
        return ()
    named = ", ".join(without[:_NAMED]) + (f" and {len(without) - _NAMED} more" if len(without) > _NAMED else "")
    columns = " and ".join(metric.name for metric in metrics)
    return (f"missing: {named} without {columns} over the epochs in metrics.csv: not in what is over epochs",)


def anytime_csv(comparison: Comparison, metric: Metric, clock: str | None) -> str:
    """A line for every group and epoch: n, mean, std, least, most, and the mean seconds so far by that clock."""
    rows: list[list[Any]] = []
    for group in comparison.groups:
        for epoch, statistic, least, most, seconds in numbers.anytime(group, metric, clock):
            rows.append([csv_cell(group.name), epoch, statistic.n, statistic.mean, statistic.std, least, most, seconds])
    text = csv_text(["group", "epoch", "n", "mean", "std", "min", "max", clock or "seconds"], rows)
    return _with_protocol(text, comparison)


def _groups(groups: Sequence[Group], metric: Metric) -> Table:
    rows = [numbers.summarise(group, metric) for group in groups]
    headings = [
        "group",
        "n",
        metric.heading,
        f"{_WIDTH} t",
        *(["regret"] if metric.best else []),
        f"{_WIDTH} BCa",
        "range",
    ]
    cells = [_group_cells(row, metric) for row in rows]
    lines = [
        [
            csv_cell(r.name),
            r.statistic.n,
            r.statistic.mean,
            r.statistic.std,
            *_ends(r.t),
            *_ends(r.bca),
            r.least,
            r.most,
            r.regret,
        ]
        for r in rows
    ]
    columns = ["group", "n", "mean", "std", "t_low", "t_high", "bca_low", "bca_high", "min", "max", "regret"]
    notes = [
        f"mean ± sample standard deviation; {_WIDTH} intervals of the mean: Student's t, and BCa bootstrap "
        f"({numbers.RESAMPLES:,} resamples, from 3 runs on)"
    ]
    if metric.best:
        notes.append(f"regret: {metric.best:.2f}, the best of the table on this column, minus the mean")
    notes += _group_notes(groups, rows)
    return Table(
        "groups", metric.heading, without_blanks(headings, cells, labels=1), csv_text(columns, lines), tuple(notes)
    )


def _group_cells(row: Summary, metric: Metric) -> tuple[str, ...]:
    places = metric.decimals
    regret = [] if row.regret is None else [f"{row.regret:.{places}f}"]
    span = f"{row.least:.{places}f} - {row.most:.{places}f}"
    shown = row.statistic.shown(places, row.statistic.n)
    return (row.name, str(row.statistic.n), shown, _interval(row.t, places), *regret, _interval(row.bca, places), span)


def _group_notes(groups: Sequence[Group], rows: Sequence[Summary]) -> list[str]:
    notes = []
    if single := [row.name for row in rows if row.statistic.n == 1]:
        notes.append(
            f"ONE RUN each of {', '.join(single)}: no interval and no test, and a difference may be the seed's alone"
        )
    for group, row in zip(groups, rows, strict=True):
        if row.statistic.n < len(group.runs):
            notes.append(
                f"missing: {row.statistic.n} of the {count(len(group.runs), 'run')} of {group.name} have a value"
            )
        if keys := varying(group.runs):
            settings = "; ".join(f"{key} {', '.join(sorted({value_of(r, key) for r in group.runs}))}" for key in keys)
            notes.append(f"pooled: {group.name} is {count(len(group.runs), 'run')} over {settings}")
        for seed, number in numbers.repeated(group):
            notes.append(
                f"repeated: {number} runs of {group.name} have seed {seed} and the same settings, so none is paired"
            )
    return notes


def _differences(pairs: Sequence[Difference], metric: Metric) -> Table:
    headings = ("A", "B", "A - B", f"{_WIDTH} of A - B", "P(A > B)", "pairs won")
    columns = [
        "first", "second", "difference", "difference_low", "difference_high", "improvement", "improvement_low",
        "improvement_high", "pairs", "won", "paired_difference",
    ]  # fmt: skip
    cells = []
    lines: list[list[Any]] = []
    for p in pairs:
        won = f"{p.won} of {p.pairs}" if p.pairs else ""
        interval = _interval(p.interval, metric.decimals)
        cells.append((p.first, p.second, _signed(p.mean, metric), interval, _probability(p), won))
        names = [csv_cell(p.first), csv_cell(p.second)]
        chances = [p.improvement, *_ends(p.improvement_interval)]
        lines.append([*names, p.mean, *_ends(p.interval), *chances, p.pairs, p.won, p.paired_mean])
    notes = ["A - B: of the means, with Welch's interval" if any(p.interval for p in pairs) else "A - B: of the means"]
    if any(p.improvement_interval for p in pairs):
        notes.append(
            "P(A > B): that a run of A has more than one of B, equal ones half; percentile bootstrap, "
            f"{numbers.RESAMPLES:,} resamples within each group and setting; [1.00, 1.00] says only that no run overlaps"
        )
    if any(p.pairs for p in pairs):
        notes.append(
            "pairs won: of the runs of one seed (and of one setting, where these differ within a group) those where A has more"
        )
    return Table(
        "differences", "differences", without_blanks(headings, cells, labels=2), csv_text(columns, lines), tuple(notes)
    )


_TESTS = {"welch": "Welch t", "mann_whitney": "Mann-Whitney", "paired_t": "paired t", "wilcoxon": "Wilcoxon"}


def _tests(groups: Sequence[Group], pairs: Sequence[Difference], metric: Metric) -> Table:
    """p and, of each test, p after Holm's correction over the pairs of groups that it was made for."""
    raw = {name: [getattr(pair, name) for pair in pairs] for name in _TESTS}
    corrected = {name: numbers.holm(values) for name, values in raw.items()}
    counts = {name: sum(p is not None for p in values) for name, values in raw.items()}
    used = [name for name in _TESTS if counts[name]]
    several = {name for name in used if counts[name] > 1}
    cells = []
    lines: list[list[Any]] = []
    for index, pair in enumerate(pairs):
        shown = (_p_cell(raw[name][index], corrected[name][index], name in several) for name in used)
        cells.append((pair.first, pair.second, *shown))
        values = [each for name in _TESTS for each in (raw[name][index], corrected[name][index], counts[name])]
        lines.append([csv_cell(pair.first), csv_cell(pair.second), *values])
    headings = ("A", "B", *(f"{_TESTS[name]} p{' (Holm)' if name in several else ''}" for name in used))
    columns = ["first", "second", *(f"{name}_{part}" for name in _TESTS for part in ("p", "p_holm", "comparisons"))]
    notes = (_holm_note(counts, several), *_kruskal_note(groups, metric), *_few_notes(groups, pairs, metric))
    return Table("tests", "tests", without_blanks(headings, cells, labels=2), csv_text(columns, lines), notes)


def _holm_note(counts: Mapping[str, int], several: Collection[str]) -> str:
    if not several:
        return "two-sided p; one comparison, so no correction"
    unpaired, paired = max(counts["welch"], counts["mann_whitney"]), max(counts["paired_t"], counts["wilcoxon"])
    of_pairs = f", {paired} paired" if paired != unpaired else ""
    return f"two-sided p, in brackets after Holm's correction of each test for {unpaired} comparisons{of_pairs}"


def _kruskal_note(groups: Sequence[Group], metric: Metric) -> list[str]:
    p = numbers.kruskal(groups, metric)
    if p is None:
        return []
    text = p_text(p)
    return [f"Kruskal-Wallis over the {len(groups)} groups: p {'' if text.startswith('<') else '= '}{text}"]


def _few_notes(groups: Sequence[Group], pairs: Sequence[Difference], metric: Metric) -> list[str]:
    """The smallest p that so few runs can give."""
    notes = []
    runs = sorted(n for group in groups if (n := sum(metric.result(run) is not None for run in group.runs)) > 1)
    if len(runs) > 1 and runs[0] < _FEW:
        notes.append(
            f"FEW RUNS: with {runs[0]} against {runs[1]} an exact Mann-Whitney p is at least "
            f"{numbers.smallest_p(runs[0], runs[1]):.2g} before any correction, and t tests and intervals lean on a normality "
            "that so few cannot show"
        )
    fewest = min((pair.pairs for pair in pairs if pair.pairs > 1), default=_FEW)
    if fewest < _FEW:
        notes.append(
            f"FEW PAIRS: with {fewest} an exact Wilcoxon p is at least {2 / 2**fewest:.2g} before any correction"
        )
    return notes


def _epochs(rows: Sequence[Epochs], metric: Metric, missing: tuple[str, ...]) -> Table:
    headings = ("group", "n", "best epoch", "last epoch", "best - last", "epoch of the best")
    cells = []
    lines: list[list[Any]] = []
    for row in rows:
        shown = (each.shown(metric.decimals, each.n) for each in (row.best, row.last, row.lost))
        cells.append((row.name, str(row.best.n), *shown, f"{row.epoch:g}"))
        values = [part for each in (row.best, row.last, row.lost) for part in (each.mean, each.std)]
        lines.append([csv_cell(row.name), row.best.n, *values, row.epoch])
    columns = [
        "group",
        "n",
        "best_mean",
        "best_std",
        "last_mean",
        "last_std",
        "lost_mean",
        "lost_std",
        "best_epoch_median",
    ]
    notes = (
        f"{metric.heading} of every epoch's architecture; the best is picked by it, as no search can; its epoch, counted from "
        "0: median",
        *missing,
    )
    return Table(
        "epochs", "best epoch against last", without_blanks(headings, cells, labels=1), csv_text(columns, lines), notes
    )


def _correlations(rows: Sequence[Correlation], predictor: Metric, metric: Metric, missing: tuple[str, ...]) -> Table:
    headings = ("over", "group", "n", "Kendall", "p", "Spearman", "p")
    cells = [
        (r.what, r.name, str(r.n), _rank(r.kendall), p_text(r.kendall_p), _rank(r.spearman), p_text(r.spearman_p))
        for r in rows
    ]
    lines = [
        [
            r.what,
            csv_cell(r.name),
            r.n,
            r.kendall.mean,
            r.kendall.std,
            r.kendall_p,
            r.spearman.mean,
            r.spearman.std,
            r.spearman_p,
        ]
        for r in rows
    ]
    columns = ["over", "group", "n", "kendall", "kendall_std", "kendall_p", "spearman", "spearman_std", "spearman_p"]
    notes = (
        "within a run: mean ± sample standard deviation over the n runs; epochs of one run depend on each other, so no p",
        "p of single correlations, not corrected",
        *missing,
    )
    title = f"rank correlation of {predictor.heading} with {metric.heading}"
    return Table("correlations", title, without_blanks(headings, cells, labels=2), csv_text(columns, lines), notes)


def _p_cell(p: float | None, corrected: float | None, several: bool) -> str:
    return f"{p_text(p)} ({p_text(corrected)})" if p is not None and several else p_text(p)


def _probability(pair: Difference) -> str:
    if pair.improvement_interval is None:
        return "" if pair.improvement is None else f"{pair.improvement:.2f}"
    return f"{pair.improvement:.2f} {_interval(pair.improvement_interval, 2)}"


def _rank(statistic: Statistic) -> str:
    return statistic.shown(2, statistic.n).replace("-", "−")


def _signed(value: float, metric: Metric) -> str:
    return f"{value:+z.{metric.decimals}f}".replace("-", "−")


def _interval(interval: Interval | None, decimals: int) -> str:
    return "" if interval is None else f"[{interval[0]:z.{decimals}f}, {interval[1]:z.{decimals}f}]".replace("-", "−")


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else interval
