"""The figures of a page as plain data, which `page.js` draws: panels of at most four lines, and maps of edges over epochs."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from nas_lightning.escapes import shortened, visible
from nas_lightning.genotypes.base import Genotype
from nas_lightning.reports.architecture import Columns, edges, names_of
from nas_lightning.reports.curves import (
    DISCRETE,
    ENTROPY,
    SKIPS,
    TABLE_COLUMNS,
    TEMPERATURE,
    Curve,
    Groups,
    Panel,
    curve_of,
    curves_of,
    panels,
    shared_epochs,
)
from nas_lightning.reports.runs import Run

MOST_LINES = 4
"""In a panel; more lines get panels of their own."""
MOST_PANELS = 24
_MOST_POINTS = 1_000
_LONGEST = 60
_ASKED: tuple[Panel | str, ...] = ("table", DISCRETE, ENTROPY, SKIPS, TEMPERATURE)
_STYLES = (
    {"colour": "blue", "dash": "solid", "width": 2.4},
    {"colour": "vermillion", "dash": "dash", "width": 2.4},
    {"colour": "green", "dash": "dashdot", "width": 2.4},
    {"colour": "purple", "dash": "dot", "width": 2.4},
)
_SINGLE = {"colour": "sky", "dash": "solid", "width": 1.1}
_ALL = {"colour": "orange", "dash": "dot", "width": 1.4}

Figure = dict[str, Any]


def as_json(data: Any) -> str:
    """For an element that holds data: no character that could end it, and numbers that are none as null."""
    text = json.dumps(_finite(data), separators=(",", ":"))  # in ASCII
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def comparison_figures(groups: Groups) -> list[Figure]:
    """Settings against each other: one figure with a panel for each quantity, or a figure of small panels for each.

    The mean over the runs of a setting with the range from their minimum to their maximum. More than four settings have a
    panel each, the first `MOST_PANELS` that have values, with their single runs (up to three) and, where all runs are equally
    long, the mean over all settings to compare with.
    """
    if len(groups) > MOST_LINES:
        return [_small_multiples(panel, groups) for panel in panels(_ASKED, groups)]
    legend: list[Figure] = [
        {"name": _name(name, runs), "style": style}
        for (name, runs), style in zip(groups.items(), _STYLES, strict=False)
    ]
    together = []
    for panel in panels(_ASKED, groups):
        found = [(number, curves_of(runs, panel)) for number, runs in enumerate(groups.values())]
        lines = [_mean(number, legend[number]["name"], curves) for number, curves in found if curves]
        panel = _lowered(panel, lines)
        together.append(_panel(panel, panel.title, lines))
    return [{"name": "all", "legend": legend, "panels": together}] if together else []


def _lowered(panel: Panel, means: Sequence[Figure]) -> Panel:
    """From where the axis shows the last of each mean."""
    if panel.seen_from is None:
        return panel
    return panel._replace(
        seen_from=math.floor(min([panel.seen_from, *(line["y"][-1] - 0.2 for line in means if line["y"])]))
    )


def _small_multiples(panel: Panel, groups: Groups) -> Figure:
    found = {_name(name, runs): curves for name, runs in groups.items() if (curves := curves_of(runs, panel))}
    every = [curve for curves in found.values() for curve in curves]
    drawn = list(found.items())[:MOST_PANELS]
    has_single = any(_few(curves) for _, curves in drawn)
    has_overall = len({tuple(curve) for curve in every}) == 1
    legend: list[Figure] = [
        {"name": "mean of the setting", "style": _STYLES[0]},
        *([{"name": "its single runs", "style": _SINGLE}] if has_single else []),
        *([{"name": "mean of all settings", "style": _ALL}] if has_overall else []),
    ]
    overall = []
    if has_overall:
        overall.append({**_mean(len(legend) - 1, "mean of all settings", every), "low": None, "high": None})
    means = [_mean(0, f"mean of {len(curves)}" if len(curves) > 1 else "the run", curves) for _, curves in drawn]
    panel = _lowered(panel, means)
    small = []
    for (name, curves), mean in zip(drawn, means, strict=True):
        single = [_line(1, "a single run", curve) for curve in curves] if _few(curves) else []
        small.append(_panel(panel, name, [*overall, *single, mean]))
    return {"name": panel.title, "legend": legend, "panels": small, "alike": True}


def _few(curves: Sequence[object]) -> bool:
    """Whether the runs of a setting are drawn beside their mean."""
    return 1 < len(curves) < MOST_LINES


def run_figures(run: Run, genotype: Genotype, architecture: Columns) -> list[Figure]:
    """One search: its curves with the entropy of each edge, and beta and alpha of each edge.

    `architecture` has the columns of `architecture.csv`, none of a run without it. UserError for more than a figure can show.
    """
    metrics = run.metrics
    accuracies = {"discrete_accuracy": "discretised, validation", "valid_accuracy": "relaxed, validation"}
    table = {column: f"{name} test, in the table" for column, name in TABLE_COLUMNS.items()}
    legend: list[Figure] = []
    shown = [
        _curves_of_columns(run, Panel("", "validation accuracy (%)", 100), accuracies, legend),
        _curves_of_columns(run, Panel("", "test accuracy in the table (%)"), table, legend),
        _curves_of_columns(run, ENTROPY, {"entropy": "mean entropy"}, legend),
        _curves_of_columns(run, TEMPERATURE, {"temperature": "temperature"}, legend),
    ]
    by_edge = {
        (cell, edge): values
        for name, values in metrics.items()
        if name.startswith("entropy/") and name.count("/") == 2
        for _, cell, edge in [name.split("/")]
    }
    if 0 < len(by_edge) <= 200:
        rows = dict(zip(names_of(by_edge, genotype), by_edge.values(), strict=True))
        largest = max((value for row in rows.values() for value in row if math.isfinite(value)), default=0.0)
        shown.append(_map(f"entropy of each edge (0 to {largest:.2f} nats)", rows, metrics["epoch"]))
    found = [{"name": "curves", "legend": legend, "panels": [panel for panel in shown if panel]}]
    return [figure for figure in (*found, *_maps(genotype, architecture)) if figure["panels"]]


def _maps(genotype: Genotype, columns: Columns) -> Iterator[Figure]:
    for kind, symbol in (("beta", "β"), ("alpha", "α")):
        by_edge = edges(columns, kind)
        names = names_of(by_edge, genotype)
        maps = [_map(name, rows, columns["epoch"]) for name, rows in zip(names, by_edge.values(), strict=True)]
        said, signed = (" (blue: above 0)", {"signed": True}) if kind == "alpha" else (" (blue: 1)", {"range": [0, 1]})
        yield {"name": f"{symbol} of each edge{said}", "legend": [], "panels": maps, "alike": True, **signed}


def _curves_of_columns(run: Run, panel: Panel, columns: Mapping[str, str], legend: list[Figure]) -> Figure | None:
    """Lines for what the run has of `columns`, which it adds to the legend; None where it has nothing."""
    lines = []
    for (column, name), style in zip(columns.items(), _STYLES, strict=False):
        if curve := curve_of(run.metrics, column, panel.factor):
            lines.append(_line(len(legend), name, curve))
            legend.append({"name": name, "style": style, "alone": len(columns) == 1})
    return _panel(panel, panel.title, lines) if lines else None


def _panel(panel: Panel, title: str, lines: list[Figure]) -> Figure:
    data: Figure = {"title": title, "unit": panel.title, "log": panel.log, "lines": lines}
    if panel.best:
        data |= {"best": panel.best, "from": panel.seen_from}
    return data


def _mean(key: int, name: str, curves: Sequence[Curve]) -> Figure:
    epochs = _thinned(shared_epochs(curves))
    values = [[curve[epoch] for curve in curves] for epoch in epochs]
    line = {"key": key, "name": name, "x": epochs, "y": [*map(fmean, values)]}
    if len(curves) > 1:
        line |= {"low": [*map(min, values)], "high": [*map(max, values)]}
    return line


def _line(key: int, name: str, curve: Curve) -> Figure:
    epochs = _thinned(sorted(curve))
    return {"key": key, "name": name, "x": epochs, "y": [curve[epoch] for epoch in epochs]}


def _map(title: str, rows: Mapping[str, Sequence[float]], epochs: Sequence[float]) -> Figure:
    kept = _thinned(range(len(epochs)))
    values = [[_rounded(row[index]) for index in kept] for row in rows.values()]
    names = [_short(name) for name in rows]
    return {"title": _short(title), "rows": names, "x": [epochs[index] for index in kept], "z": values}


def _thinned(places: Sequence[int]) -> list[int]:
    """At most about a thousand, evenly, with the last."""
    step = math.ceil(len(places) / _MOST_POINTS) or 1
    return [*places[:-1:step], *places[-1:]]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _name(name: str, runs: Sequence[Run]) -> str:
    return f"{_short(name)} (n={len(runs)})"


def _short(text: str) -> str:
    return visible(shortened(text, _LONGEST))
