"""The summary table: finished runs grouped over seeds, as a terminal table, Markdown or CSV."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from nas_lightning.reports.runs import SCORE_NAMES, Run

_FIELDS = ("experiment", "method", "space", "dataset", "recipe")


@dataclass(frozen=True)
class Measure:
    """A column of numbers: heading, its name in CSV (with the unit), decimals shown, and a report's number (or None)."""

    heading: str
    csv_name: str
    decimals: int
    value: Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Statistic:
    """Mean and sample standard deviation of n values; std is None for n = 1, both are None for n = 0."""

    mean: float | None
    std: float | None
    n: int


@dataclass(frozen=True)
class Row:
    """One group of seeds: its settings (same order as `Summary.settings`), its runs, a statistic for every measure."""

    settings: tuple[str, ...]
    runs: tuple[Run, ...]
    statistics: tuple[Statistic, ...]


@dataclass(frozen=True)
class Summary:
    """`settings` names what differs among the finished runs; `unfinished` and `broken` runs are in no row."""

    settings: tuple[str, ...]
    measures: tuple[Measure, ...]
    rows: tuple[Row, ...]
    unfinished: tuple[Run, ...]
    broken: tuple[Run, ...]


def summary(runs: Sequence[Run]) -> Summary:
    """Group the finished runs by every setting that differs among them, the seed excepted.

    Settings are the experiment, method, space, data set and recipe, and the overrides of the command line; a run that does not
    override a setting shows the value of its resolved config, or a blank when that is not a single value.
    """
    finished = [run for run in runs if run.report is not None]
    reports = [run.report for run in finished if run.report is not None]
    keys = {key: None for report in reports for key in _overrides(report)}
    candidates = [*_FIELDS, *(key for key in keys if key not in _FIELDS and _is_setting(key))]
    values = {key: [_setting(report, key) for report in reports] for key in candidates}
    settings = tuple(key for key, column in values.items() if len(set(column)) > 1)
    measures = _measures(reports)
    groups: dict[tuple[str, ...], list[Run]] = {}
    for index, run in enumerate(finished):
        groups.setdefault(tuple(values[key][index] for key in settings), []).append(run)
    rows = [Row(group, tuple(members), _statistics(members, measures)) for group, members in groups.items()]
    return Summary(
        settings=settings,
        measures=measures,
        rows=tuple(sorted(rows, key=lambda row: [_natural(value) for value in row.settings])),
        unfinished=tuple(run for run in runs if run.report is None and not run.cause),
        broken=tuple(run for run in runs if run.cause),
    )


def group_names(table: Summary) -> dict[str, tuple[Run, ...]]:
    """A name for every row, for a figure's legend: `edd, sched.lam=0.06` (method, space, ... without their key)."""
    names = {}
    for row in table.rows:
        parts = [
            value if key in _FIELDS else f"{key}={value}"
            for key, value in zip(table.settings, row.settings, strict=True)
            if value
        ]
        names[", ".join(parts) or "all runs"] = row.runs
    return names


def render_table(table: Summary) -> Table:
    """For the terminal; print it on a Rich console."""
    rich = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for key in table.settings:
        rich.add_column(Text(key), overflow="fold")
    rich.add_column("n", justify="right")
    for measure in table.measures:
        rich.add_column(Text(measure.heading.replace(" ", "\n")), justify="right", overflow="fold")
    for row in table.rows:
        rich.add_row(*(Text(cell) for cell in _cells(row, table.measures)))
    return rich


def render_markdown(table: Summary) -> str:
    """A Markdown table, followed by the unfinished and broken runs as a list."""
    headings = [*table.settings, "n", *(measure.heading for measure in table.measures)]
    alignment = ["---"] * len(table.settings) + ["---:"] * (1 + len(table.measures))
    lines = [headings, alignment, *(_cells(row, table.measures) for row in table.rows)]
    text = "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
    listed = "".join(f"- {note}\n" for note in notes(table))
    return f"{text}\n{listed}" if listed else text


def render_csv(table: Summary) -> str:
    """Full precision: settings, n (runs), then mean, std and n (values) of every measure; blank where there is none."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = [f"{measure.csv_name}_{part}" for measure in table.measures for part in ("mean", "std", "n")]
    writer.writerow([*table.settings, "n", *columns])
    for row in table.rows:
        numbers = [value for each in row.statistics for value in (each.mean, each.std, each.n)]
        writer.writerow([*row.settings, len(row.runs), *numbers])
    return file.getvalue()


def notes(table: Summary) -> list[str]:
    """A line for every seed that counts twice, unfinished run (with its epochs) and broken run (with the cause)."""
    lines = []
    for row in table.rows:
        seeds = [run.report["seed"] for run in row.runs if run.report and "seed" in run.report]
        for seed in sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            name = ", ".join(filter(None, row.settings)) or "all runs"
            lines.append(f"repeated: {name}: {seeds.count(seed)} runs have seed {seed}, and n counts each of them")
    for run in table.unfinished:
        lines.append(f"unfinished: {run.folder}: {run.epochs} epoch{'' if run.epochs == 1 else 's'} done")
    return [*lines, *(f"broken: {run.folder}: {run.cause}" for run in table.broken)]


def _overrides(report: Mapping[str, Any]) -> dict[str, str]:
    """Hydra's overrides by key, without the `+` and `++` of added keys."""
    pairs = (override.lstrip("+").partition("=") for override in report["overrides"])
    return {key: value for key, _, value in pairs}


def _is_setting(key: str) -> bool:
    return key != "seed" and not key.startswith("hydra.")


def _setting(report: Mapping[str, Any], key: str) -> str:
    """The config's value where it is a single one, so that 0.060 and an untouched default of 0.06 are the same."""
    if key in _FIELDS:
        return str(report.get(key, ""))
    node: Any = report["config"]
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    if isinstance(node, str | int | float):
        return str(node)
    return _overrides(report).get(key, "")


def _score_keys(reports: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The three test columns of 200 epochs where any run has one, else every score there is."""
    present = {key: None for report in reports for key in report["scores"]}
    return tuple(key for key in SCORE_NAMES if key in present) or tuple(present)


def _measures(reports: Sequence[Mapping[str, Any]]) -> tuple[Measure, ...]:
    scores = tuple(
        Measure(_heading(key), f"{key}_percent", 2, _under("scores", key)) for key in _score_keys(reports)
    )
    seconds = Measure("seconds", "seconds", 0, lambda report: report.get("seconds"))
    if any(report.get("kind") == "evaluation" for report in reports):
        return (
            Measure("test (%)", "test_accuracy_percent", 2, lambda report: _percent(report.get("test_accuracy"))),
            *scores,
            Measure("parameters (M)", "params_millions", 3, lambda report: report["params"] / 1e6),
            Measure("multiply-adds (M)", "macs_millions", 1, lambda report: report["macs"] / 1e6),
            seconds,
        )
    discrete = _under("final", "discrete_accuracy")
    return (
        Measure("entropy (nats)", "entropy_nats", 3, _under("final", "entropy")),
        Measure("discretised (%)", "discrete_accuracy_percent", 2, lambda report: _percent(discrete(report))),
        *scores,
        seconds,
    )


def _under(part: str, key: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda report: report[part].get(key)


def _percent(fraction: Any) -> float | None:
    finite = _finite(fraction)
    return None if finite is None else 100 * finite


def _heading(score: str) -> str:
    return f"{SCORE_NAMES[score]} test (%)" if score in SCORE_NAMES else f"{score} (%)"


def _statistics(runs: Sequence[Run], measures: Sequence[Measure]) -> tuple[Statistic, ...]:
    reports = [run.report for run in runs if run.report is not None]
    columns = ([_finite(measure.value(report)) for report in reports] for measure in measures)
    return tuple(_statistic([value for value in column if value is not None]) for column in columns)


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _statistic(values: Sequence[float]) -> Statistic:
    if not values:
        return Statistic(None, None, 0)
    return Statistic(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def _cells(row: Row, measures: Sequence[Measure]) -> list[str]:
    runs = len(row.runs)
    shown = (_shown(each, measure.decimals, runs) for each, measure in zip(row.statistics, measures, strict=True))
    return [*row.settings, str(runs), *shown]


def _shown(statistic: Statistic, decimals: int, runs: int) -> str:
    """`93.21 ± 0.12`; with the number of values where it is not the row's n."""
    if statistic.mean is None:
        return ""
    spread = "" if statistic.std is None else f" ± {statistic.std:.{decimals}f}"
    count = "" if statistic.n == runs else f" (n={statistic.n})"
    return f"{statistic.mean:.{decimals}f}{spread}{count}"


def _natural(value: str) -> tuple[int, float, str]:
    """Sorts numbers by size and before words."""
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value
