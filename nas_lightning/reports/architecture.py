"""alpha and beta of a search, from its `architecture.csv`: trajectories per edge, and beta as a heat map."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.reports.drawing import drawing_style, fitted, legend_below, save_figure
from nas_lightning.reports.edges import edge_names
from nas_lightning.reports.figures import LOOKS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Columns = Mapping[str, Sequence[float]]
_MOST_EDGES, _MOST_LINES = 200, 2_000
Edge = tuple[str, str]  # cell type, index of the edge

_SYMBOLS = {"alpha": "α", "beta": "β"}


def edges(columns: Columns, kind: str) -> dict[Edge, dict[str, Sequence[float]]]:
    """`kind` is alpha or beta: cell type and edge -> operation -> its values over the epochs, in the order of the file.

    UserError for more than a figure can show.
    """
    found: dict[Edge, dict[str, Sequence[float]]] = {}
    for name, values in columns.items():
        first, *parts = name.split("/")
        if first == kind and len(parts) == 3:
            cell, edge, operation = parts
            found.setdefault((cell, edge), {})[operation] = values
    lines = sum(map(len, found.values()))
    if len(found) > _MOST_EDGES or lines > _MOST_LINES:
        raise UserError(
            f"architecture.csv has {lines:,} columns of {kind} for {len(found):,} edges, more than a figure can show "
            f"({_MOST_LINES:,} for {_MOST_EDGES})."
        )
    return found


def names_of(by_edge: Collection[Edge], genotype: Genotype) -> list[str]:
    """`cell 0->1` of every edge; for a cell type and an index that are no numbers from 0 on, the index itself."""
    times = Counter(cell for cell, _ in by_edge)
    names = {cell: edge_names(genotype, cell, count) for cell, count in times.items()}
    known = {(cell, str(index)): name for cell, named in names.items() for index, name in enumerate(named)}
    return [f"{cell} {known.get((cell, edge), f'edge {edge}')}" for cell, edge in by_edge]


def plot_trajectories(
    columns: Columns, genotype: Genotype, kind: str, path_without_suffix: str | Path, title: str = ""
) -> None:
    """Write `<path>.svg` and `<path>.png`: a panel for every edge, a line for every operation, over the epochs.

    `columns` is what `read_metrics` gives of an `architecture.csv`; `genotype` is one of the search, for the edges' names.
    UserError when there is no epoch to draw.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    by_edge = edges(columns, kind)
    if not by_edge or not columns["epoch"]:
        raise UserError(f"no {kind} to draw for {path_without_suffix}; give a search with an architecture.csv.")
    wide = 3 if len(by_edge) <= 6 else 7
    rows = math.ceil(len(by_edge) / wide)
    operations = list(dict.fromkeys(operation for values in by_edge.values() for operation in values))
    looks = dict(zip(operations, LOOKS * (1 + len(operations) // len(LOOKS)), strict=False))
    epochs = list(columns["epoch"])
    with drawing_style():
        figure = Figure(figsize=(2.9 * wide, 2.1 * rows + 0.8), layout="constrained")
        panels = figure.subplots(rows, wide, sharex=True, sharey=True, squeeze=False).flat
        for axes, name, values in zip(panels, names_of(by_edge, genotype), by_edge.values(), strict=False):
            for number, (operation, curve) in enumerate(values.items()):
                look = looks[operation]
                step = max(1, len(epochs) // 4)
                start = number * step // max(1, len(values))
                axes.plot(
                    epochs, curve, look.dashes, color=look.colour, linewidth=1.5, marker=look.marker, markersize=4,
                    markevery=(start, step), fillstyle=look.fill, label=operation,
                )  # fmt: skip
            axes.set_title(name, fontsize=9, loc="left")
        for axes in list(figure.axes)[len(by_edge) :]:
            axes.remove()
        for axes in figure.axes[-wide:]:  # not figure.supxlabel, which the legend would cover
            axes.set_xlabel("epoch")
            axes.tick_params(labelbottom=True)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        figure.supylabel(_SYMBOLS[kind], fontsize=11)
        legend_below(figure)
        text, size = fitted(title, figure.get_figwidth())
        figure.suptitle(text, fontsize=size)
        save_figure(figure, path_without_suffix, title)


def plot_beta(columns: Columns, genotype: Genotype, epoch: int, path_without_suffix: str | Path) -> None:
    """Write `<path>.svg` and `<path>.png`: beta after `epoch` as a heat map, edges down and operations across."""
    with drawing_style():
        save_figure(beta_map(columns, genotype, epoch), path_without_suffix, f"beta after epoch {epoch}")


def beta_map(columns: Columns, genotype: Genotype, epoch: int) -> "Figure":
    """The heat map as a matplotlib figure; call inside `drawing_style`. UserError without that epoch."""
    from matplotlib.figure import Figure

    by_edge = edges(columns, "beta")
    if epoch not in columns.get("epoch", ()) or not by_edge:
        raise UserError(f"architecture.csv has no epoch {epoch}; give one that the search has finished.")
    row = list(columns["epoch"]).index(epoch)
    operations = list(dict.fromkeys(operation for values in by_edge.values() for operation in values))
    table = [[values[name][row] if name in values else math.nan for name in operations] for values in by_edge.values()]
    figure = Figure(figsize=(1.05 * len(operations) + 2.2, 0.32 * len(table) + 1.4), layout="constrained")
    axes = figure.subplots()
    # Black is 1: the map reads the same on paper.
    mesh = axes.pcolormesh(table, cmap="Greys", vmin=0, vmax=1, edgecolors="white", linewidth=1)
    for y, line in enumerate(table):
        for x, value in enumerate(line):
            if math.isfinite(value):
                ink = "white" if value > 0.55 else "#222222"
                axes.text(x + 0.5, y + 0.5, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
    axes.set_xticks([x + 0.5 for x in range(len(operations))], operations, fontsize=8, rotation=20, ha="right")
    axes.set_yticks([y + 0.5 for y in range(len(table))], names_of(by_edge, genotype), fontsize=8)
    axes.invert_yaxis()
    axes.grid(False)
    axes.set_title(f"β after epoch {epoch}", fontsize=10, loc="left")
    figure.colorbar(mesh, ax=axes, shrink=0.8)
    return figure
