"""Figures of searches, drawn from `metrics.csv`: one search over its epochs, or settings against each other."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nas_lightning.errors import UserError
from nas_lightning.reports.comparison import Metric, elapsed
from nas_lightning.reports.curves import (
    COMPARISONS,
    DISCRETE,
    TABLE_COLUMNS,
    Curve,
    Metrics,
    Panel,
    curve_of,
    curves_of,
    panels,
    shared_epochs,
)
from nas_lightning.reports.drawing import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    drawing_style,
    fitted,
    legend_below,
    save_figure,
)
from nas_lightning.reports.runs import SCORE_NAMES, Run
from nas_lightning.reports.statistic import finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class _Line(NamedTuple):
    """`factor` turns the column into the axis's unit: 100 for fractions drawn as percent."""

    column: str
    label: str
    colour: str
    dashes: str = "-"
    width: float = 1.8
    factor: float = 1.0


@dataclass(frozen=True)
class Look:
    """`fill` is that of the marker: full or none."""

    colour: str
    dashes: str
    marker: str
    fill: Literal["full", "none"]


LOOKS = tuple(
    Look(colour, ("-", "--", "-.", ":")[(number + again) % 4], marker, "none" if again % 2 else "full")
    for again in range(4)
    for number, (colour, marker) in enumerate(
        zip((BLUE, VERMILLION, GREEN, BLACK, PURPLE, SKY, ORANGE), "osD^vPX", strict=True)
    )
)
"""No two have the same dashes and marker, so that lines differ without colour; marks alone differ in the first 14."""


_MOST_BANDS = 4


def plot_search(metrics: Metrics, path_without_suffix: str | Path, title: str) -> None:
    """Write `<path>.svg` and `<path>.png`: entropy, temperature and accuracies of one search, over its epochs.

    `metrics` holds the columns of `metrics.csv`, as `read_metrics` gives them; a column that is absent or blank is left
    out. UserError when there is no epoch to draw.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not curve_of(metrics, "entropy"):
        raise UserError(f"no epoch to draw for {path_without_suffix}; run the search for one epoch first.")
    with drawing_style():
        figure = Figure(figsize=(7.2, 7.4), layout="constrained")
        entropy, temperature, accuracy = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": (1, 1, 1.4)})
        _draw_edges(entropy, metrics)
        _draw_lines(entropy, metrics, [_Line("entropy", "mean over edges", BLUE, width=2.2)])
        entropy.set(ylabel="entropy (nats)")
        _start_at_zero(entropy)
        _draw_lines(temperature, metrics, [_Line("temperature", "", VERMILLION, width=2.2)])
        temperature.set(ylabel="temperature", yscale="log")
        _draw_lines(accuracy, metrics, _accuracy_lines(metrics))
        accuracy.set(ylabel="accuracy (%)", xlabel="epoch", ylim=(0, 100))
        accuracy.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        entropy.legend(loc="best", fontsize=9)
        figure.legend(*accuracy.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
        text, size = fitted(title, width=7.2)
        figure.suptitle(text, fontsize=size, weight="bold")
        save_figure(figure, path_without_suffix, title)


def plot_comparison(
    groups: Mapping[str, Sequence[Run]], path_without_suffix: str | Path, title: str = "", name: str = "fig4"
) -> None:
    """Write `<path>.svg` and `<path>.png`: the figure `name` of COMPARISONS, one line for every group of seeds.

    A line is the mean over a group's runs at the epochs that all of them have, its band, of up to four groups, their minimum
    and maximum. A panel that no run has values for is left out. UserError when a run's `metrics.csv` cannot be read or nothing
    is left.
    """
    from matplotlib.figure import Figure

    shown = list(panels(COMPARISONS[name], groups))
    if not shown:
        raise UserError(f"no run for {path_without_suffix} has an epoch to draw; give a folder with finished searches.")
    with drawing_style():
        columns = min(len(shown), 2)
        rows = math.ceil(len(shown) / columns)
        figure = Figure(figsize=(4.8 * columns + (columns == 1), 3.3 * rows + 0.9), layout="constrained")
        cells = figure.subplots(rows, columns, squeeze=False).flat
        for letter, panel, axes in zip("ABCD", shown, cells, strict=False):
            _draw_panel(axes, f"{letter}  {panel.title}" if len(shown) > 1 else panel.title, panel, groups)
        for axes in list(figure.axes)[len(shown) :]:
            axes.remove()
        legend_below(figure)
        note = "Thick: mean over n runs; band: minimum to maximum; thin: single runs."
        if len(groups) > _MOST_BANDS:
            note = f"Means over n runs; the ranges of more than {_MOST_BANDS} settings would hide the lines."
        lines = [title, note if any(len(runs) > 1 for runs in groups.values()) else ""]
        figure.suptitle("\n".join(filter(None, lines)), fontsize=10)
        save_figure(figure, path_without_suffix, title)


def plot_cost(groups: Mapping[str, Sequence[Run]], path_without_suffix: str | Path, title: str = "") -> None:
    """Write `<path>.svg` and `<path>.png`: seconds of search against accuracy, a mark for every run.

    Accuracy (%) is the first data set of SCORE_NAMES that any report has, else that of the discretised supernet.
    UserError when no finished run has both.
    """
    from matplotlib.figure import Figure

    reports = [run.report for runs in groups.values() for run in runs if run.report]
    score = next((key for key in SCORE_NAMES if any(key in report["scores"] for report in reports)), None)
    label = f"{SCORE_NAMES[score]} test accuracy in the table (%)" if score else DISCRETE.title
    points = {name: [point for run in runs if (point := _cost(run, score))] for name, runs in groups.items()}
    if not any(points.values()):
        raise UserError(f"no run for {path_without_suffix} has seconds and an accuracy; give finished searches.")
    with drawing_style():
        figure = Figure(figsize=(6.2, 4.4), layout="constrained")
        axes = figure.subplots()
        for look, (name, pairs) in zip(LOOKS * (1 + len(points) // len(LOOKS)), points.items(), strict=False):
            if pairs:
                seconds, accuracies = zip(*pairs, strict=True)
                axes.plot(
                    seconds, accuracies, look.marker, color=look.colour, markersize=7, fillstyle=look.fill,
                    label=f"{name} (n={len(pairs)})",
                )  # fmt: skip
        axes.set(xlabel="search (seconds, machines as in the reports)", ylabel=label)
        legend_below(figure)
        if title:
            figure.suptitle(title, fontsize=10)
        save_figure(figure, path_without_suffix, title)


def plot_anytime(
    groups: Mapping[str, Sequence[Run]], path_without_suffix: str | Path, metric: Metric, clock: str | None
) -> None:
    """Write `<path>.svg` and `<path>.png`: the metric of every epoch's architecture over epochs and over seconds so far.

    Lines and bands as in `plot_comparison`; the second panel has an epoch's mean at its mean seconds by the column `clock`,
    and is left out where that is None. UserError when no run has the metric over its epochs.
    """
    from matplotlib.figure import Figure

    curves = {name: [(run, curve) for run in runs if (curve := metric.curve(run))] for name, runs in groups.items()}
    if not any(curves.values()):
        raise UserError(f"no run for {path_without_suffix} has {metric.name} over its epochs; give another --metric.")
    with drawing_style():
        figure = Figure(figsize=(9.6 if clock else 5.8, 4.2), layout="constrained")
        panels = figure.subplots(1, 2 if clock else 1, squeeze=False)[0]
        for index, (name, pairs) in enumerate(curves.items()):
            if not pairs:
                continue
            look, offset = LOOKS[index % len(LOOKS)], index / len(curves)
            spread = len(curves) <= _MOST_BANDS
            _draw_group(panels[0], [curve for _, curve in pairs], f"{name} (n={len(pairs)})", look, offset, spread)
            if clock:
                times = [elapsed(run, clock) for run, _ in pairs]
                _draw_group(panels[1], [curve for _, curve in pairs], "", look, offset, spread, times)
        for axes, label in zip(panels, ("epoch", f"{clock or ''} of the search".replace("_", " ")), strict=False):
            axes.set(xlabel=label, ylabel=metric.heading)
        legend_below(figure)
        save_figure(figure, path_without_suffix, metric.heading)


def _cost(run: Run, score: str | None) -> tuple[float, float] | None:
    if run.report is None:
        return None
    accuracy = run.report["scores"].get(score) if score else run.report["final"].get("discrete_accuracy")
    seconds = run.report.get("seconds")
    if (value := finite(accuracy)) is None or (time := finite(seconds)) is None:
        return None
    return time, value if score else 100 * value


def _start_at_zero(axes: "Axes") -> None:
    """With a little room below and above, so that a line at zero or at the top is seen in full."""
    top = max(axes.get_ylim()[1], 1.03 * axes.dataLim.ymax)
    axes.set_ylim(-0.03 * top, top)


def _accuracy_lines(metrics: Metrics) -> list[_Line]:
    lines = [
        _Line("discrete_accuracy", "discretised, validation", BLUE, width=2.2, factor=100),
        _Line("valid_accuracy", "relaxed, validation", GREY, width=1.1, factor=100),
    ]
    looks = ((VERMILLION, "--"), (GREEN, "-."), (PURPLE, ":"))
    for (column, name), (colour, dashes) in zip(TABLE_COLUMNS.items(), looks, strict=True):
        lines.append(_Line(column, f"{name} test, in the table", colour, dashes))
    return [line for line in lines if curve_of(metrics, line.column)]


def _draw_lines(axes: "Axes", metrics: Metrics, lines: Sequence[_Line]) -> None:
    for line in lines:
        curve = curve_of(metrics, line.column, line.factor)
        marker = "o" if len(curve) < 3 else ""
        axes.plot(
            list(curve),
            list(curve.values()),
            line.dashes,
            color=line.colour,
            linewidth=line.width,
            marker=marker,
            label=line.label,
        )


def _draw_edges(axes: "Axes", metrics: Metrics) -> None:
    edges = [column for column in metrics if column.startswith("entropy/")]
    for number, column in enumerate(edges):
        curve = curve_of(metrics, column)
        label = "single edges" if number == 0 else None
        axes.plot(list(curve), list(curve.values()), color=GREY, linewidth=0.7, alpha=0.7, label=label)


def _draw_panel(axes: "Axes", title: str, panel: Panel, groups: Mapping[str, Sequence[Run]]) -> None:
    from matplotlib.ticker import MaxNLocator

    fewer = []
    for index, (name, runs) in enumerate(groups.items()):
        curves = curves_of(runs, panel)
        if curves:
            label = f"{name} (n={len(runs)})"
            look, offset = LOOKS[index % len(LOOKS)], index / len(groups)
            _draw_group(axes, curves, label, look, offset, spread=len(groups) <= _MOST_BANDS)
        if len(curves) != len(runs):
            fewer.append(f"; {name}: n={len(curves)}")
    title += "".join(fewer) if len(fewer) < 3 else f"; {len(fewer)} of {len(groups)} lines with fewer runs or none"
    axes.set_title(textwrap.fill(title, 48), loc="left", fontsize=10, weight="bold")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if panel.log:
        axes.set_yscale("log")
    if panel.best:
        _show_best(axes, panel.best, panel.seen_from)
    if panel.column in ("entropy", "skip_connects"):
        _start_at_zero(axes)
    if panel.column == "skip_connects":
        axes.set_ylim(top=max(1.0, axes.get_ylim()[1]))  # a space without skip connections has only zeros
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _show_best(axes: "Axes", best: float, seen_from: float | None) -> None:
    """A line at the table's best. The axis begins at `seen_from`, or below it in a scale that gives the rest most room."""
    from matplotlib.ticker import FixedLocator

    axes.axhline(best, color=GREY, linestyle=(0, (2, 2)), linewidth=1, zorder=2.5)
    axes.annotate(
        f"best in the table: {best:.2f}", (1, best), (0, 2), ("axes fraction", "data"), "offset points",
        ha="right", va="bottom", fontsize=8, color=BLACK,
    )  # fmt: skip
    lowest = float(axes.dataLim.ymin)
    if seen_from is None:
        return
    room = best - seen_from
    if lowest >= seen_from:
        axes.set_ylim(seen_from - 0.02 * room, best + 0.1 * room)
        return
    squeezed = (seen_from - lowest) / (0.3 * room)  # so many times: what is below gets 0.3 of the height of the rest
    axes.set_yscale(
        "function", functions=(partial(_bent, at=seen_from, by=1 / squeezed), partial(_bent, at=seen_from, by=squeezed))
    )
    axes.set_ylim(lowest - 0.02 * room * squeezed, best + 0.1 * room)
    ticks = range(math.ceil(seen_from), math.floor(best) + 1, 2)
    axes.yaxis.set_major_locator(FixedLocator([lowest, *ticks]))
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.axhline(seen_from, color=GREY, linewidth=0.8)
    axes.annotate(
        f"below {seen_from:g}: another scale", (0, seen_from), (3, -2), ("axes fraction", "data"), "offset points",
        va="top", fontsize=7, color=BLACK, zorder=4, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8},
    )  # fmt: skip


def _bent(values: Any, at: float, by: float) -> Any:
    """An array whose distances below `at` are multiplied by `by`."""
    return values + (values < at) * (by - 1) * (values - at)


def _draw_group(
    axes: "Axes",
    curves: Sequence[Curve],
    label: str,
    look: Look,
    offset: float,
    spread: bool,
    times: Sequence[Mapping[int, float]] | None = None,
) -> None:
    """`offset` in [0, 1) shifts the markers, so that groups do not hide each other's where lines coincide.

    spread: whether single runs and the band from their minimum to their maximum are drawn.
    times: where an epoch of each curve is drawn, at its own number unless given; a group's mean is at their mean.
    """
    shared = shared_epochs(curves)
    values = [[curve[epoch] for curve in curves] for epoch in shared]
    places = [{epoch: float(epoch) for epoch in curve} for curve in curves] if times is None else times
    means = [fmean(place[epoch] for place in places) for epoch in shared]
    if len(curves) > 1 and spread:
        for curve, place in zip(curves, places, strict=True):
            drawn = [place[epoch] for epoch in curve]
            axes.plot(drawn, list(curve.values()), look.dashes, color=look.colour, linewidth=0.6, alpha=0.6, zorder=2)
        low, high = [*map(min, values)], [*map(max, values)]
        axes.fill_between(means, low, high, color=look.colour, alpha=0.1, lw=0, zorder=1)
        # A margin keeps the mean apart from what is below it.
        axes.plot(means, [*map(fmean, values)], color="white", linewidth=3.8, alpha=0.8, zorder=2.8)
    step = max(1, len(shared) // 6)
    axes.plot(
        means,
        [*map(fmean, values)],
        look.dashes,
        color=look.colour,
        zorder=3,
        linewidth=2.2,
        marker=look.marker,
        markersize=5.5,
        fillstyle=look.fill,
        markevery=(int(offset * step), step),
        label=label,
    )
