"""Drawings of a genotype: nodes on a line, one labelled arrow for every chosen operation."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.reports.cell_layout import (
    MOST_CELLS,
    MOST_CHOICES,
    RADIUS,
    STROKES,
    UNKNOWN,
    Arrow,
    Point,
    arc,
    head,
    is_drawable,
    layout,
    nodes_of,
    vertical_extent,
)
from nas_lightning.reports.drawing import BLACK, GREY, drawing_style, save_figure
from nas_lightning.reports.edges import node_namer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAP, _MARGIN = 2.15, 0.95  # inches


def draw_cell(genotype: Genotype, path_without_suffix: str | Path) -> None:
    """Write `<path>.svg` and `<path>.png`, one row for every cell type; a line of text for one that keeps nothing.

    UserError for a genotype without cells.
    """
    from matplotlib.figure import Figure

    if not genotype.cells:
        raise UserError(f"the genotype for {path_without_suffix} has no cell to draw; give one with a cell.")
    if not is_drawable(genotype):
        raise UserError(
            f"the genotype for {path_without_suffix} is too large for a drawing, which shows at most {MOST_CELLS} cells of "
            f"{MOST_CHOICES} operations each."
        )
    rows = [(name, layout(choices), nodes_of(choices)) for name, choices in genotype.cells.items()]
    bounds = [vertical_extent(arrows) for _, arrows, _ in rows]
    width = max(1, *(len(nodes) - 1 for _, _, nodes in rows)) * _GAP + 2 * _MARGIN
    heights = [top - bottom for bottom, top in bounds]
    with drawing_style():
        figure = Figure(figsize=(width, sum(heights)))
        used = 0.0
        for (name, arrows, nodes), (bottom, top) in zip(rows, bounds, strict=True):
            used += top - bottom
            axes = figure.add_axes((0, 1 - used / sum(heights), 1, (top - bottom) / sum(heights)))
            axes.set(xlim=(-_MARGIN, width - _MARGIN), ylim=(bottom, top), aspect="equal")
            axes.axis("off")
            heading = f"{genotype.space} · {name}" if nodes else f"{genotype.space} · {name}: nothing is kept"
            axes.text(0.15 - _MARGIN, top - 0.12, heading, va="top", fontsize=11, weight="bold", color=BLACK)
            if not nodes:
                continue
            if genotype.output_node is None:
                joined = ", ".join(map(node_namer(genotype), genotype.output_nodes(name)))
                together = f"output: nodes {joined} side by side"
                axes.text(width - _MARGIN - 0.15, top - 0.12, together, va="top", ha="right", fontsize=9.5, color=BLACK)
            _draw_row(
                axes, arrows, dict(zip(nodes, map(node_namer(genotype), nodes), strict=True)), genotype.output_node
            )
        save_figure(figure, path_without_suffix, title=str(genotype))


def dot_text(genotype: Genotype) -> str:
    """The genotype as a Graphviz digraph, one cluster for every cell type."""
    lines = ["digraph genotype {", "  rankdir=LR;", "  node [shape=circle];"]
    for name, choices in genotype.cells.items():
        lines += [f"  subgraph {_quoted('cluster_' + name)} {{", f"    label={_quoted(name)};"]
        lines += [f'    {_quoted(f"{name}/{node}")} [label="{node}"];' for node in nodes_of(choices)]
        for choice in choices:
            stroke = STROKES.get(choice.operation, UNKNOWN)
            ends = f"{_quoted(f'{name}/{choice.source}')} -> {_quoted(f'{name}/{choice.target}')}"
            style = f'color="{stroke.colour}", style={stroke.dot}, penwidth={stroke.width}'
            lines.append(f"    {ends} [label={_quoted(choice.operation)}, {style}];")
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _draw_row(axes: "Axes", arrows: Sequence[Arrow], nodes: Mapping[int, str], output: int | None) -> None:
    from matplotlib.patches import Circle

    place = {node: (index * _GAP, 0.0) for index, node in enumerate(nodes)}
    for arrow in arrows:
        _draw_arrow(axes, arrow, place[arrow.choice.source], place[arrow.choice.target])
    reached = {arrow.choice.target for arrow in arrows}
    for node, centre in place.items():
        end = node not in reached or node == output
        fill, ink = (BLACK, "white") if end else ("white", BLACK)
        axes.add_patch(Circle(centre, RADIUS, facecolor=fill, edgecolor=BLACK, linewidth=1.6, zorder=4))
        name, size = nodes[node], 10 if len(nodes[node]) < 4 else 6  # points; c_{k-2} fits into the circle at 6
        axes.text(*centre, name, ha="center", va="center_baseline", color=ink, weight="bold", fontsize=size, zorder=5)
    # Outside the row, where no arrow passes; inner inputs are told by their filled disc.
    beside = RADIUS + 0.1
    axes.text(-beside, 0, "input", ha="right", va="center", fontsize=9.5, color=BLACK)
    if output in place:
        axes.text(place[output][0] + beside, 0, "output", ha="left", va="center", fontsize=9.5, color=BLACK)


def _draw_arrow(axes: "Axes", arrow: Arrow, start: Point, end: Point) -> None:
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path as Curve

    operation = arrow.choice.operation
    stroke = STROKES.get(operation, UNKNOWN)
    points = arc(start, end, arrow.level)
    style = (0, stroke.dashes) if stroke.dashes else "solid"
    line = Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    axes.add_patch(
        PathPatch(line, fill=False, edgecolor=stroke.colour, linewidth=stroke.width, linestyle=style, zorder=2)
    )
    axes.add_patch(Polygon(head(points[2], points[3]), closed=True, color=stroke.colour, linewidth=0, zorder=3))
    middle_x, middle_y = ((a + 3 * b + 3 * c + d) / 8 for a, b, c, d in zip(*points, strict=True))
    axes.text(
        middle_x,
        middle_y,
        operation,
        ha="center",
        va="center",
        fontsize=9.5,
        color=GREY if operation == "none" else stroke.colour,
        bbox={"boxstyle": "round,pad=0.18", "facecolor": "white", "edgecolor": "none"},
        zorder=3,
    )
