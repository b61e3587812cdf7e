"""The picture in docs/, made from a record alone. Shades and hatches tell bars apart, so that it prints in grey."""

from pathlib import Path
from typing import Any

from nas_lightning.reports.drawing import BLACK, BLUE, GREY, ORANGE, drawing_style, save_figure
from speed.half_steps import ARCHITECTURE, WEIGHT_STEPS
from speed.record import Record

_LABELS = ("weights,\ndense", "weights,\nhalf", "weights,\none-hot", "alpha")
_SHORT = dict(zip((*WEIGHT_STEPS, ARCHITECTURE), _LABELS, strict=True))
_AXES = {"channels": ("C", "o", "-"), "cells": ("N", "s", "--"), "batch": ("batch", "^", ":")}


def plot(record: Record, path_without_suffix: Path) -> None:
    """Half steps against the per-edge reference, growth, and an EDD search that gets cheaper as it sharpens.

    A panel for each of these parts that the record holds.
    """
    from matplotlib.figure import Figure

    with drawing_style():
        panels = [(part, draw) for part, draw in _PANELS.items() if part in record]
        figure = Figure(figsize=(11 / 3 * len(panels), 3.6), layout="constrained")
        for axes, (part, draw) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            draw(axes, record[part])
        save_figure(figure, path_without_suffix, "Speed of nas_lightning")


def _bars(axes: Any, spaces: dict[str, Any]) -> None:
    measured = spaces["nb201"]
    names = list(_SHORT)
    for offset, (side, precision, label, colour, hatch) in enumerate(
        (
            ("reference", "float32", "per edge", GREY, ""),
            ("ours", "float32", "ours", BLUE, ""),
            ("ours", "bfloat16", "ours, bf16", "#B9D6EA", "///"),
        )
    ):
        rows = [measured[precision][name][side]["processor_seconds"] for name in names]
        medians = [row["median"] for row in rows]
        errors = [[row["median"] - row["q1"] for row in rows], [row["q3"] - row["median"] for row in rows]]
        places = [index + (offset - 1) * 0.27 for index in range(len(names))]
        axes.bar(
            places, medians, 0.25, yerr=errors, label=label, color=colour, hatch=hatch, edgecolor=BLACK, linewidth=0.6
        )
    axes.set_xticks(range(len(names)), [_SHORT[name] for name in names])
    size = measured["size"]
    axes.set(
        title=f"Half step, C={size['channels']}, N={size['cells']}, batch {size['batch']}", ylabel="processor seconds"
    )
    axes.grid(axis="x", visible=False)
    axes.set_axisbelow(True)
    axes.set_ylim(top=axes.get_ylim()[1] * 1.35)  # room for the legend
    axes.legend(loc="upper left", ncols=3, columnspacing=1.0, handlelength=1.2, fontsize=9)


def _growth(axes: Any, spaces: dict[str, Any]) -> None:
    for axis, curve in spaces["nb201"]["axes"].items():
        label, marker, line = _AXES[axis]
        seconds = [point["ours"]["processor_seconds"]["median"] for point in curve["points"]]
        relative = [value / curve["values"][0] for value in curve["values"]]
        axes.plot(
            relative, [value / seconds[0] for value in seconds], marker=marker, linestyle=line, color=BLACK, markersize=5,
            label=f"{label} from {curve['values'][0]}: exponent {curve['exponent_seconds']:.2f}",
        )  # fmt: skip
    axes.set(
        title="Growth of the bilevel step", xlabel="times as large", ylabel="times as long", xscale="log", yscale="log"
    )
    for scale in (axes.xaxis, axes.yaxis):
        scale.set_major_locator(_ticks())
        scale.set_major_formatter("{x:g}")
        scale.set_minor_locator(_none())
    axes.set_ylim(top=axes.get_ylim()[1] * 1.8)
    axes.legend(loc="upper left", fontsize=9)


def _ticks() -> Any:
    from matplotlib.ticker import FixedLocator

    return FixedLocator([1, 2, 4, 8])


def _none() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _sharpening(axes: Any, search: dict[str, Any]) -> None:
    epochs = [row["epoch"] + 1 for row in search["rows"]]
    axes.plot(
        epochs, [row["seconds"] for row in search["rows"]], "o-", color=BLUE, markersize=4, label="seconds an epoch"
    )
    highest = max(row["seconds"] for row in search["rows"])
    axes.set(title="EDD on digits as it sharpens", xlabel="epoch", ylabel="seconds an epoch", ylim=(0, 1.05 * highest))
    share = axes.twinx()
    share.plot(
        epochs, [row["operations_computed"] for row in search["rows"]], "s--", color=ORANGE, markersize=4,
        markerfacecolor="white", label="operations computed",
    )  # fmt: skip
    share.set(ylabel="share computed", ylim=(0, 1.05))
    share.grid(visible=False)
    lines = [*axes.get_lines(), *share.get_lines()]
    axes.legend(lines, [line.get_label() for line in lines], loc="lower left")


_PANELS = {"half_steps": _bars, "growth": _growth, "sharpening": _sharpening}
