"""What the edges of searches choose from epoch to epoch, what replaces what, and what pulls at it: `reports replaced`."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from nas_lightning.errors import UserError
from nas_lightning.escapes import csv_cell
from nas_lightning.genotypes.base import Genotype
from nas_lightning.genotypes.darts import parse_darts
from nas_lightning.genotypes.nb201 import parse_nb201
from nas_lightning.records.received import received_table
from nas_lightning.reports.comparison import Metric
from nas_lightning.reports.comparison_tables import Table
from nas_lightning.reports.grid import csv_text, without_blanks
from nas_lightning.reports.groups import Group
from nas_lightning.reports.runs import Run
from nas_lightning.reports.statistic import Statistic, count

Edge = tuple[str, int, int]  # cell type, source, target
LEFT_OUT = "(left out)"
_ROWS = 8
_GRADIENT = "alpha_gradient"


@dataclass(frozen=True)
class Replacement:
    """An edge of another operation in `epoch` than in the epoch before; `cold`: after the first move of the temperature."""

    epoch: int
    edge: Edge
    before: str
    after: str
    cold: bool


def chosen(run: Run) -> list[dict[Edge, str]]:
    """Of each epoch, the operation of every edge in the architecture that the search would have ended with.

    UserError where metrics.csv has no architectures, or one that cannot be read.
    """
    path = run.folder / "metrics.csv"
    _ = run.metrics  # says what is wrong with the file
    header, *rows = received_table(path)
    if "architecture" not in header:
        raise UserError(f"{path} has no column `architecture`; it is no search's.")
    found = []
    for row in rows:
        text = row[header.index("architecture")]
        genotype = parse_nb201(text) if text.startswith("|") else parse_darts(text)
        found.append(_edges(genotype))
    return found


def _edges(genotype: Genotype) -> dict[Edge, str]:
    return {
        (cell, choice.source, choice.target): choice.operation
        for cell, choices in genotype.cells.items()
        for choice in choices
    }


def replacements(run: Run, epochs: Sequence[Mapping[Edge, str]]) -> Iterator[Replacement]:
    """Every change of an edge from one epoch to the next; an edge that the architecture does not have is `LEFT_OUT`.

    epochs: as of `chosen`.
    """
    temperatures = run.metrics.get("temperature", [])
    cold = False
    for epoch in range(1, len(epochs)):
        cold = cold or (bool(temperatures) and temperatures[epoch] != temperatures[0])
        for edge in sorted({*epochs[epoch - 1], *epochs[epoch]}):
            before, after = (epochs[number].get(edge, LEFT_OUT) for number in (epoch - 1, epoch))
            if before != after:
                yield Replacement(epoch, edge, before, after, cold)


def replacement_tables(group: Group, metric: Metric) -> list[Table]:
    """Shares of the operations over the epochs, replacements, and alpha's gradients around each move of the temperature."""
    epochs = [chosen(run) for run in group.runs]
    made = [_shares(group, epochs, metric), _replaced(group, epochs)]
    pulled = _pulls(group)
    return [*made, pulled] if pulled else made


def _shares(group: Group, epochs: Sequence[Sequence[Mapping[Edge, str]]], metric: Metric) -> Table:
    """In percent of an architecture's edges, mean over the runs that have the epoch."""
    by_run = [[Counter(epoch.values()) for epoch in of_run] for of_run in epochs]
    operations = sorted({operation for counters in by_run for counter in counters for operation in counter})
    length = max(map(len, by_run))
    shown_beside = (Metric("entropy"), Metric("temperature"), metric)
    columns = [{run.folder: each.curve(run) for run in group.runs} for each in shown_beside]
    headings = ["epoch", "n", *(f"{operation} (%)" for operation in operations), "entropy (nats)", "t", metric.heading]
    lines: list[list[object]] = []
    cells: list[tuple[str, ...]] = []
    for epoch in range(length):
        kept = [
            (run, counters[epoch]) for run, counters in zip(group.runs, by_run, strict=True) if epoch < len(counters)
        ]
        shares = [fmean(100 * each[operation] / each.total() for _, each in kept) for operation in operations]
        beside = [Statistic.of(curves[run.folder].get(epoch) for run, _ in kept).mean for curves in columns]
        lines.append([epoch, len(kept), *shares, *beside])
        if epoch % max(1, length // _ROWS) == 0 or epoch == length - 1:
            formats = [*([".1f"] * len(shares)), ".3f", ".2g", f".{metric.decimals}f"]
            shown = zip([*shares, *beside], formats, strict=True)
            values = ("" if value is None else f"{value:{form}}" for value, form in shown)
            cells.append((str(epoch), str(len(kept)), *values))
    title = f"operations of the edges, {count(len(group.runs), 'run')}"
    return Table("operations", title, without_blanks(headings, cells, labels=1), csv_text(headings, lines), ())


def _replaced(group: Group, of_runs: Sequence[Sequence[Mapping[Edge, str]]]) -> Table:
    """The commonest first."""
    found = [each for run, epochs in zip(group.runs, of_runs, strict=True) for each in replacements(run, epochs)]
    pairs = Counter((each.before, each.after) for each in found)
    cold = Counter((each.before, each.after) for each in found if each.cold)
    epochs = defaultdict(list)
    for each in found:
        epochs[each.before, each.after].append(each.epoch)
    rows = [
        (before, after, pairs[before, after] - cold[before, after], cold[before, after], fmean(epochs[before, after]))
        for before, after in sorted(pairs, key=lambda pair: (-pairs[pair], pair))
    ]
    cells = [(before, after, str(warm), str(cool), f"{epoch:.0f}") for before, after, warm, cool, epoch in rows]
    headings = ("replaced", "by", "before t moves", "after", "mean epoch")
    lines = [(csv_cell(before), csv_cell(after), *rest) for before, after, *rest in rows]
    note = f"{len(found)} replacements, {len(found) / len(group.runs):.1f} a run"
    return Table(
        "replaced", "what replaces what", without_blanks(headings, cells, labels=2), csv_text(headings, lines), (note,)
    )


def _pulls(group: Group) -> Table | None:
    """Mean gradient of an operation's entries of alpha in the epoch before and after each move of t, as it is and times t."""
    around: dict[str, list[list[float]]] = defaultdict(list)
    moves = 0
    for run in group.runs:
        columns = {name: values for name, values in run.metrics.items() if name.startswith(f"{_GRADIENT}/")}
        temperatures = run.metrics.get("temperature", [])
        for epoch in range(1, len(temperatures)):
            if not columns or temperatures[epoch] == temperatures[epoch - 1]:
                continue
            moves += 1
            for name, values in columns.items():
                before, after = values[epoch - 1], values[epoch]
                if not math.isnan(before + after):
                    t = temperatures[epoch - 1 : epoch + 1]
                    around[name.rpartition("/")[2]].append([before, after, before * t[0], after * t[1]])
    if not around:
        return None
    rows = [(name, [fmean(each) for each in zip(*values, strict=True)]) for name, values in sorted(around.items())]
    headings = ("operation", "before", "after", "before, times t", "after, times t")
    cells = [(name, *(f"{value:+.2e}".replace("-", "−") for value in values)) for name, values in rows]
    lines = [(csv_cell(name), *values) for name, values in rows]
    note = f"{count(moves, 'move')} of the temperature; what is negative is pushed up"
    title = "gradient of alpha around a move of the temperature, mean over edges, moves and runs"
    return Table("pulls", title, without_blanks(headings, cells, labels=1), csv_text(headings, lines), (note,))
