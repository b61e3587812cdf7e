"""The tables of arXiv 2306.06855 with our runs beside the paper's numbers, from `report.json` files alone.

What the paper prints, and which of our runs stand beside a row, are data: `paper/<table>.csv` and `paper/tables.toml`.
A new method joins a table by a word in the row's column `runs`.
"""

import csv
import io
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nas_lightning.errors import UserError
from nas_lightning.reports.grid import Grid
from nas_lightning.reports.runs import Run, config_value
from nas_lightning.reports.statistic import Statistic, finite

_FOLDER = Path(__file__).parent / "paper"
_CHOICES = ("experiment", "method", "space", "dataset", "relaxation", "sched", "seed")

Report = Mapping[str, Any]
Evaluations = Mapping[tuple[str, str], Sequence[Report]]  # (architecture, data set) -> reports


@dataclass(frozen=True)
class Measure:
    """A column of the paper's table: its name in the CSV file, its heading, where our value is, decimals shown."""

    name: str
    heading: str
    source: str
    decimals: int


@dataclass(frozen=True)
class PaperTable:
    """`rows` are the lines of the CSV file; `where` selects the runs that may stand in the table at all."""

    name: str
    title: str
    where: str
    labels: Mapping[str, str]
    measures: tuple[Measure, ...]
    rows: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Line:
    """A row of the paper's table and ours beside it: `ours` has a statistic for every measure."""

    labels: tuple[str, ...]
    paper: tuple[Statistic, ...]
    runs: tuple[Run, ...]
    ours: tuple[Statistic, ...]

    @property
    def differences(self) -> tuple[float | None, ...]:
        """Our mean minus the paper's, None where either is missing."""
        pairs = zip(self.ours, self.paper, strict=True)
        return tuple(o.mean - p.mean if o.mean is not None and p.mean is not None else None for o, p in pairs)


@cache
def table_names() -> tuple[str, ...]:
    return tuple(_settings())


def paper_table(name: str) -> PaperTable:
    """What the paper prints in the table `name`; UserError where there is no such table."""
    if name not in table_names():
        raise UserError(f"there is no {name!r}; choose one of {', '.join(table_names())}.")
    settings = _settings()[name]
    with open(_FOLDER / f"{name}.csv", newline="", encoding="utf-8") as file:
        rows = tuple(csv.DictReader(line for line in file if not line.startswith("#")))
    measures = tuple(Measure(*measure) for measure in settings["measures"])
    return PaperTable(name, settings["title"], settings["where"], settings["labels"], measures, rows)


def compare(table: PaperTable, runs: Sequence[Run], evaluations: Sequence[Run] = ()) -> list[Line]:
    """Our finished `runs` beside every row of the paper's table; a row without runs has only blanks beside it."""
    by_place: dict[tuple[str, str], list[Report]] = defaultdict(list)
    for evaluation in evaluations:
        if evaluation.report is not None:
            place = str(evaluation.report.get("architecture")), str(evaluation.report["dataset"])
            by_place[place].append(evaluation.report)
    candidates = [run for run in runs if run.report is not None and _matches(run.report, table.where)]
    lines = []
    for row in table.rows:
        chosen = tuple(run for run in candidates if row["runs"] and run.report and _matches(run.report, row["runs"]))
        lines.append(
            Line(
                labels=tuple(row[column] for column in table.labels),
                paper=tuple(_printed(row, measure.name) for measure in table.measures),
                runs=chosen,
                ours=tuple(
                    Statistic.of(_value(run.report, measure.source, by_place) for run in chosen if run.report)
                    for measure in table.measures
                ),
            )
        )
    return lines


def paper_grid(table: PaperTable, lines: Sequence[Line]) -> Grid:
    """Up to three lines a row: ours with its n, the paper's, and the difference of the means."""
    rows: list[tuple[str, ...]] = []
    groups = set()
    for line in lines:
        groups.add(len(rows))
        decimals = [measure.decimals for measure in table.measures]
        printed = tuple(each.shown(places, each.n) for each, places in zip(line.paper, decimals, strict=True))
        if not line.runs:
            rows.append((*line.labels, "paper", *printed))
            continue
        n = len(line.runs)
        ours = (each.shown(places, n) for each, places in zip(line.ours, decimals, strict=True))
        differences = (_signed(value, places) for value, places in zip(line.differences, decimals, strict=True))
        blank = ("",) * len(line.labels)
        rows += [(*line.labels, f"ours, n={n}", *ours), (*blank, "paper", *printed), (*blank, "difference", *differences)]
    headings = (*table.labels.values(), "", *(measure.heading for measure in table.measures))
    return Grid(headings, tuple(rows), len(table.labels) + 1, frozenset(groups - {0}))


def paper_csv(table: PaperTable, lines: Sequence[Line]) -> str:
    """Full precision, one line a row: labels, n, then ours, the paper's and the difference for every measure."""
    parts = ("mean", "std", "n", "paper_mean", "paper_std", "difference")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = [f"{measure.name}_{part}" for measure in table.measures for part in parts]
    writer.writerow([*table.labels, "n", *columns])
    for line in lines:
        groups = zip(line.ours, line.paper, line.differences, strict=True)
        numbers = [value for o, p, d in groups for value in (o.mean, o.std, o.n, p.mean, p.std, d)]
        writer.writerow([*line.labels, len(line.runs), *numbers])
    return file.getvalue()


def paper_notes(table: PaperTable, lines: Sequence[Line], runs: Sequence[Run]) -> list[str]:
    """Which runs are in the table, which are not, and rows that mix runs of several protocols."""
    notes = []
    used = {run.folder for line in lines for run in line.runs}
    finished = [run for run in runs if run.report is not None]
    counts: dict[str, int] = defaultdict(int)
    for run in finished:
        if run.folder in used:
            counts[_protocol(run)] += 1
    notes += [f"ours: {protocol}: {count} runs" for protocol, count in sorted(counts.items())]
    for line in lines:
        protocols = sorted({_protocol(run) for run in line.runs})
        if len(protocols) > 1:
            notes.append(f"mixed: {' '.join(filter(None, line.labels))} averages over {' and '.join(protocols)}")
    left_out = len(finished) - len(used)
    if left_out:
        notes.append(f"not in {table.name}: {left_out} finished run{'' if left_out == 1 else 's'}")
    return notes


def _protocol(run: Run) -> str:
    assert run.report is not None
    return f"experiment {run.report['experiment']} on {run.report['dataset']}"


@cache
def _settings() -> dict[str, Any]:
    return tomllib.loads((_FOLDER / "tables.toml").read_text(encoding="utf-8"))


def _matches(report: Report, selection: str) -> bool:
    """Whether the report has every key=value of `selection`: a config group's choice, else a value of the config."""
    for pair in selection.split():
        key, _, values = pair.partition("=")
        value = report.get(key) if key in _CHOICES else config_value(report, key)
        if not any(_same(value, wanted) for wanted in values.split("|")):
            return False
    return True


def _same(value: Any, wanted: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).lower() == wanted.lower()
    try:
        return float(value) == float(wanted)
    except ValueError:
        return False


def _printed(row: Mapping[str, str], name: str) -> Statistic:
    mean = row.get(f"{name}_mean") or row.get(name)
    std = row.get(f"{name}_std")
    return Statistic(float(mean) if mean else None, float(std) if std else None, 1 if mean else 0)


def _value(report: Report, source: str, evaluations: Evaluations) -> float | None:
    """Our value for one run, see the head of paper/tables.toml."""
    kind, _, key = source.partition(".")
    if kind == "scores":
        return finite(report["scores"].get(key))
    if kind in ("seconds", "days"):
        seconds = finite(report.get("seconds"))
        return seconds if kind == "seconds" or seconds is None else seconds / 86400
    place = str(report.get("architecture")), str(report["dataset"] if key == "searched" else key)
    if kind == "params":
        values = [finite(each.get("params")) for each in evaluations.get(place, ())]
        return Statistic.of(value / 1e6 for value in values if value is not None).mean
    accuracies = [finite(each.get("test_accuracy")) for each in evaluations.get(place, ())]
    return Statistic.of(100 * (1 - value) for value in accuracies if value is not None).mean


def _signed(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:+.{decimals}f}".replace("-", "−")
