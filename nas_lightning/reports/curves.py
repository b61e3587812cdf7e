"""What is drawn over the epochs: columns of `metrics.csv` as curves, in the unit of their axis."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from nas_lightning.reports.comparison import TABLE_BEST
from nas_lightning.reports.runs import SCORE_NAMES, Run

Metrics = Mapping[str, Sequence[float]]
Curve = dict[int, float]  # epoch -> value, finite values only
Groups = Mapping[str, Sequence[Run]]

TABLE_COLUMNS = {f"table/{key}": name for key, name in SCORE_NAMES.items()}
_SEEN_FROM = {"table/cifar10_test_200": 88.0}


class Panel(NamedTuple):
    """`factor` turns the column into the axis's unit: 100 for fractions drawn as percent.

    `best` is the largest value that the table has. What lies between it and `seen_from` gets most of the axis: there
    architectures that were found by searches lie apart.
    """

    column: str
    title: str
    factor: float = 1.0
    log: bool = False
    best: float | None = None
    seen_from: float | None = None


ENTROPY = Panel("entropy", "mean entropy (nats)")
DISCRETE = Panel("discrete_accuracy", "discretised validation accuracy (%)", 100)
SKIPS = Panel("skip_connects", "skip connections")
TEMPERATURE = Panel("temperature", "temperature t", log=True)
# "table" stands for the first data set of SCORE_NAMES that any run has.
COMPARISONS: Mapping[str, tuple[Panel | str, ...]] = {
    "fig4": (ENTROPY, DISCRETE, "table", SKIPS),
    "fig4a": (ENTROPY,),
    "fig4b": (DISCRETE,),
    "temperature": (TEMPERATURE, Panel("decay", "decay d")),
    "skips": (SKIPS,),
}
"""Figures with one line for every group of seeds over the epochs; fig4a and fig4b are those of arXiv 2306.06855."""


def panels(asked: Sequence[Panel | str], groups: Groups) -> Iterator[Panel]:
    """Those of `asked` that any run has values for."""
    tables = (
        Panel(column, f"{title} test accuracy in the table (%)", 1.0, False, TABLE_BEST[key], _SEEN_FROM.get(column))
        for key, (column, title) in zip(SCORE_NAMES, TABLE_COLUMNS.items(), strict=True)
    )
    first = [table for table in tables if _any(table, groups)][:1]
    for panel in asked:
        if isinstance(panel, str):
            yield from first
        elif _any(panel, groups):
            yield panel


def _any(panel: Panel, groups: Groups) -> bool:
    return any(curves_of(runs, panel) for runs in groups.values())


def curve_of(metrics: Metrics, column: str, factor: float = 1.0) -> Curve:
    points = zip(metrics["epoch"], metrics.get(column, ()), strict=False)
    return {int(epoch): factor * value for epoch, value in points if math.isfinite(value)}


def curves_of(runs: Sequence[Run], panel: Panel) -> list[Curve]:
    """Of the runs that have any value."""
    curves = (curve_of(run.metrics, panel.column, panel.factor) for run in runs)
    return [curve for curve in curves if curve]


def shared_epochs(curves: Sequence[Curve]) -> list[int]:
    """The epochs that all have, ascending."""
    return sorted(set.intersection(*map(set, curves)))
