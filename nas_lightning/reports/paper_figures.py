"""Figures 2A, 2B and 3 of arXiv 2306.06855, drawn from the curves of `nas_lightning.relaxations.curves`."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas_lightning.reports.drawing import drawing_style, save_figure
from nas_lightning.reports.figures import LOOKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def plot_gradient_norms(curves: Curves, path_without_suffix: str | Path) -> None:
    """Figure 2A: write `<path>.svg` and `<path>.png`; curves are (t, norm)."""
    from matplotlib.figure import Figure

    with drawing_style():
        figure = Figure(figsize=(6.2, 4.4), layout="constrained")
        axes = figure.subplots()
        _draw(axes, curves)
        axes.set(xscale="log", yscale="log", xlabel="temperature t (falling)", ylabel="norm of dL/dα, median")
        axes.set_ylim(1e-3, 1e4)
        axes.invert_xaxis()
        axes.legend(fontsize=9, handlelength=3.5)
        axes.set_title("Gradient of α as the temperature falls, α ~ 1e-3 N(0, 1)", fontsize=10, loc="left")
        save_figure(figure, path_without_suffix, "Figure 2A")


def plot_schedule_entropies(curves: Curves, path_without_suffix: str | Path) -> None:
    """Figure 2B: write `<path>.svg` and `<path>.png`; curves are (decay point, entropy in nats)."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with drawing_style():
        figure = Figure(figsize=(6.2, 4.0), layout="constrained")
        axes = figure.subplots()
        _draw(axes, curves)
        axes.set(xlabel="decay point, t from 1 to 0.001", ylabel="mean entropy of β (nats)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(handlelength=3.5)
        axes.set_title("Same α ~ 1e-3 N(0, 1), two schedules", fontsize=10, loc="left")
        save_figure(figure, path_without_suffix, "Figure 2B")


def plot_schedule_example(
    temperatures: Mapping[str, Sequence[float]], scale: float, path_without_suffix: str | Path
) -> None:
    """Figure 3: write `<path>.svg` and `<path>.png`: the temperatures, and exp(E/t) for E = `scale`, of every step."""
    from matplotlib.figure import Figure

    with drawing_style():
        figure = Figure(figsize=(8.6, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        steps = {name: list(map(float, range(len(values)))) for name, values in temperatures.items()}
        _draw(left, {name: (steps[name], values) for name, values in temperatures.items()}, every=1)
        _draw(
            right,
            {name: (steps[name], [math.exp(scale / t) for t in ts]) for name, ts in temperatures.items()},
            every=1,
        )
        for look, values in zip(LOOKS, temperatures.values(), strict=False):
            for n, t in enumerate(values[1:-1], start=1):
                place = {"textcoords": "offset points", "xytext": (5, 6), "ha": "left"}
                left.annotate(f"{t:.4g}", (n, t), **place, fontsize=8.5, color=look.colour)
        left.set(yscale="log", xlabel="step n", ylabel="temperature t", xticks=steps["ETS"])
        right.set(xlabel="step n", ylabel="exp(E / t)", xticks=steps["ETS"])
        left.legend(handlelength=3.5)
        save_figure(figure, path_without_suffix, "Figure 3")


def _draw(axes: "Axes", curves: Curves, every: int | None = None) -> None:
    for number, (look, (name, (x, y))) in enumerate(zip(LOOKS, curves.items(), strict=False)):
        step = every or max(1, len(x) // 8)
        axes.plot(
            x, y, look.dashes, color=look.colour, marker=look.marker, markersize=5, linewidth=1.8, label=name,
            markevery=(number % step, step),
        )  # fmt: skip
