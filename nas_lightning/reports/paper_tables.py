"""The tables of arXiv 2306.06855 with our runs beside the paper's numbers, from `report.json` files alone.

What the paper prints, and which of our runs stand beside a row, are data: `paper/<table>.csv` and `paper/tables.toml`.
A new method joins a table by a word in the row's column `runs`.
"""

import csv
import io
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nas_lightning.errors import UserError, is_number
from nas_lightning.escapes import csv_cell
from nas_lightning.reports.comparison import kendall
from nas_lightning.reports.grid import Grid
from nas_lightning.reports.runs import Run, config_value
from nas_lightning.reports.statistic import Statistic, count, finite, p_text
from nas_lightning.reports.tables import compact, is_setting

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
    """A row of the paper's table and ours beside it: `ours` has a statistic for every measure.

    `protocol` is what all `runs` have in common beside the row's own settings, `method` theirs where the row takes in several,
    else blank; runs of another are another line.
    """

    labels: tuple[str, ...]
    protocol: str
    method: str
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
    """Our finished `runs` beside every row of the paper's table, a line for every protocol and method of theirs.

    A row without runs is one line with only blanks beside it.
    """
    by_place: dict[tuple[str, str], list[Report]] = defaultdict(list)
    for evaluation in evaluations:
        if evaluation.report is not None:
            place = str(evaluation.report.get("architecture")), str(evaluation.report["dataset"])
            by_place[place].append(evaluation.report)
    candidates = [alike for alike in _alike(table, runs) if _matches(_report(alike[0]), table.where)]
    lines = []
    for row in table.rows:
        chosen: dict[tuple[str, str], list[Run]] = defaultdict(list)
        for alike in candidates:
            if row["runs"] and _matches(_report(alike[0]), row["runs"]):
                for run in alike:
                    chosen[_protocol(_report(run), row["runs"]), _method(_report(run), row["runs"])].append(run)
        for (protocol, method), members in sorted(chosen.items()) or [(("", ""), [])]:
            values = [[_value(_report(run), measure.source, by_place) for run in members] for measure in table.measures]
            lines.append(
                Line(
                    labels=tuple(row[column] for column in table.labels),
                    protocol=protocol,
                    method=method,
                    paper=tuple(_printed(row, measure.name) for measure in table.measures),
                    runs=tuple(members),
                    ours=tuple(map(Statistic.of, values)),
                )
            )
    return lines


def _alike(table: PaperTable, runs: Sequence[Run]) -> list[list[Run]]:
    """The finished runs in groups that no selection of the table tells apart: one match does for all seeds."""
    keys = sorted({key for text in (table.where, *(row["runs"] for row in table.rows)) for key, _ in _pairs(text)})
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.report is not None:
            groups[str([_selected(run.report, key) for key in keys])].append(run)
    return list(groups.values())


def _report(run: Run) -> Report:
    assert run.report is not None
    return run.report


def _marks(lines: Sequence[Line]) -> dict[str, str]:
    """How a line and the note of its protocol refer to each other where there are several."""
    protocols = sorted({line.protocol for line in lines if line.runs})
    return {name: f" ({number})" if len(protocols) > 1 else "" for number, name in enumerate(protocols, start=1)}


def paper_grid(table: PaperTable, lines: Sequence[Line]) -> Grid:
    """Up to three lines a row, protocol and method: ours with its n, the paper's, and the difference of the means."""
    rows: list[tuple[str, ...]] = []
    marks = _marks(lines)
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
        name = f": {line.method}" if line.method else ""
        blank = ("",) * len(line.labels)
        rows += [
            (*line.labels, f"ours{marks[line.protocol]}{name}, n={n}", *ours),
            (*blank, "paper", *printed),
            (*blank, "difference", *differences),
        ]
    headings = (*table.labels.values(), "", *(measure.heading for measure in table.measures))
    return Grid(headings, tuple(rows), len(table.labels) + 1, frozenset(groups - {0}))


def paper_csv(table: PaperTable, lines: Sequence[Line]) -> str:
    """Full precision: labels, n, then ours, the paper's and the difference for every measure, and how ours were made."""
    parts = ("mean", "std", "n", "paper_mean", "paper_std", "difference")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = [f"{measure.name}_{part}" for measure in table.measures for part in parts]
    writer.writerow([*table.labels, "n", *columns, "protocol", "our_method"])
    for line in lines:
        groups = zip(line.ours, line.paper, line.differences, strict=True)
        numbers = [value for o, p, d in groups for value in (o.mean, o.std, o.n, p.mean, p.std, d)]
        made = map(csv_cell, (line.protocol, line.method))
        writer.writerow([*map(csv_cell, line.labels), len(line.runs), *numbers, *made])
    return file.getvalue()


def paper_notes(table: PaperTable, lines: Sequence[Line], runs: Sequence[Run]) -> list[str]:
    """How the runs in the table were made, and how many are not in it."""
    used: dict[str, set[Path]] = defaultdict(set)
    for line in lines:
        used[line.protocol] |= {run.folder for run in line.runs}
    notes = [f"ours{mark}: {protocol}: {count(len(used[protocol]), 'run')}" for protocol, mark in _marks(lines).items()]
    notes += [note for protocol, mark in _marks(lines).items() for note in _orders(table, lines, protocol, mark)]
    left_out = sum(run.report is not None for run in runs) - len(set().union(*used.values()))
    if left_out:
        notes.append(f"not in {table.name}: {count(left_out, 'finished run')}")
    if missing := sum(run.report is None for run in runs):
        notes.append(f"left out: {count(missing, 'run')} unfinished, failed or broken; the command summary says which")
    return notes


def _orders(table: PaperTable, lines: Sequence[Line], protocol: str, mark: str) -> Iterator[str]:
    """How the order of our lines agrees with the paper's, for each accuracy or error that three lines and more have."""
    chosen = [line for line in lines if line.runs and line.protocol == protocol]
    for index, measure in enumerate(table.measures):
        both = [(line.labels, line.ours[index].mean, line.paper[index].mean) for line in chosen]
        points = [(row, ours, paper) for row, ours, paper in both if ours is not None and paper is not None]
        found = kendall([point[1:] for point in points]) if measure.heading.endswith("(%)") else None
        if found is not None:
            tau, p = found
            rows = len({row for row, _, _ in points})
            over = f"{rows} rows" if rows == len(points) else f"{len(points)} lines of {count(rows, 'row')}"
            shown = f"Kendall's tau {_signed(tau, 2)} over {over}, p = {p_text(p)}"
            yield f"order of ours{mark} and the paper's, {measure.heading}: {shown}"


def _method(report: Report, selection: str) -> str:
    """The run's where `selection` has several, else blank."""
    several = any(key == "method" and len(values) > 1 for key, values in _pairs(selection))
    return str(_selected(report, "method")) if several else ""


def _protocol(report: Report, selection: str) -> str:
    """The experiment, the data set, and what else the command line changed beside the keys of `selection`."""
    named = {"space", "dataset", "dataset.root", "dataset.cache", *(key for key, _ in _pairs(selection))}
    overrides = (
        override.lstrip("+") for override in report["overrides"] if override != f"experiment={report['experiment']}"
    )
    pairs = (each.partition("=") for each in overrides)
    changed = (f"{key}{equals}{compact(value)}" for key, equals, value in pairs if key not in named and is_setting(key))
    return " ".join([f"experiment {report['experiment']} on {report['dataset']}", *sorted(changed)])


@cache
def _settings() -> dict[str, Any]:
    return tomllib.loads((_FOLDER / "tables.toml").read_text(encoding="utf-8"))


def _matches(report: Report, selection: str) -> bool:
    """Whether the report has every key=value of `selection`: a config group's choice, else a value of the config.

    A method that was changed stands where it would unchanged, on a line of its own whose protocol names the change.
    """
    for key, values in _pairs(selection):
        value = _selected(report, key)
        if not any(_same(value, wanted) for wanted in values):
            return False
    return True


def _selected(report: Report, key: str) -> Any:
    if key == "method":
        return str(report.get(key)).partition(" ")[0]  # of `edd with relaxation=softmax` the method that it began as
    return report.get(key) if key in _CHOICES else config_value(report, key)


@cache
def _pairs(selection: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    pairs = (pair.partition("=") for pair in selection.split())
    return tuple((key, tuple(values.split("|"))) for key, _, values in pairs)


def _same(value: Any, wanted: str) -> bool:
    if not is_number(value):
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
