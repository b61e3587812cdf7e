"""Drawings of a genotype: nodes on a line, one labelled arrow for every chosen operation."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Choice, Genotype
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
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float]


class Stroke(NamedTuple):
    """`dashes` are on and off lengths in line widths (empty: solid); `dot` is Graphviz's nearest line style."""

    colour: str
    width: float
    dashes: tuple[float, ...] = ()
    dot: str = "solid"


_STROKES = {
    "none": Stroke("#A8A8A8", 1.3, (1, 2.5), "dotted"),
    "skip_connect": Stroke(BLACK, 1.4),
    "nor_conv_1x1": Stroke(VERMILLION, 2.6, (4, 1.5), "dashed"),
    "nor_conv_3x3": Stroke(BLUE, 3.4),
    "avg_pool_3x3": Stroke(GREEN, 2.2, (5, 1.5, 1, 1.5), "dashed"),
    "max_pool_3x3": Stroke(PURPLE, 2.2, (5, 1.5, 1, 1.5, 1, 1.5), "dashed"),
    "sep_conv_3x3": Stroke(BLUE, 3.0),
    "sep_conv_5x5": Stroke(SKY, 4.2),
    "dil_conv_3x3": Stroke(VERMILLION, 2.6, (4, 1.5), "dashed"),
    "dil_conv_5x5": Stroke(ORANGE, 3.4, (2, 1), "dashed"),
    "sep_conv_7x7": Stroke(SKY, 5.4, (6, 1), "dashed"),
    "noise": Stroke(GREY, 1.4, (1, 1), "dotted"),
}
_UNKNOWN = Stroke(GREY, 2.2, (7, 2), "dashed")

_MOST_CELLS, _MOST_CHOICES = 20, 60

# Lengths in inches.
_GAP, _RADIUS, _LIFT, _HEAD, _MARGIN = 2.15, 0.24, 0.72, 0.17, 0.95


@dataclass(frozen=True)
class _Arrow:
    """`level` 0 is a straight arrow; +k and -k are the k-th arc above and below the line of nodes."""

    choice: Choice
    level: int


def draw_cell(genotype: Genotype, path_without_suffix: str | Path) -> None:
    """Write `<path>.svg` and `<path>.png`, one row for every cell type; a line of text for one that keeps nothing.

    UserError for a genotype without cells.
    """
    from matplotlib.figure import Figure

    if not genotype.cells:
        raise UserError(f"the genotype for {path_without_suffix} has no cell to draw; give one with a cell.")
    if len(genotype.cells) > _MOST_CELLS or any(len(choices) > _MOST_CHOICES for choices in genotype.cells.values()):
        raise UserError(
            f"the genotype for {path_without_suffix} is too large for a drawing, which shows at most {_MOST_CELLS} cells of "
            f"{_MOST_CHOICES} operations each."
        )
    rows = [(name, _layout(choices), _nodes(choices)) for name, choices in genotype.cells.items()]
    bounds = [_vertical_extent(arrows) for _, arrows, _ in rows]
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
                together = f"output: nodes {', '.join(map(str, genotype.output_nodes(name)))} side by side"
                axes.text(width - _MARGIN - 0.15, top - 0.12, together, va="top", ha="right", fontsize=9.5, color=BLACK)
            _draw_row(axes, arrows, nodes, genotype.output_node)
        save_figure(figure, path_without_suffix, title=str(genotype))


def dot_text(genotype: Genotype) -> str:
    """The genotype as a Graphviz digraph, one cluster for every cell type."""
    lines = ["digraph genotype {", "  rankdir=LR;", "  node [shape=circle];"]
    for name, choices in genotype.cells.items():
        lines += [f"  subgraph {_quoted('cluster_' + name)} {{", f"    label={_quoted(name)};"]
        lines += [f'    {_quoted(f"{name}/{node}")} [label="{node}"];' for node in _nodes(choices)]
        for choice in choices:
            stroke = _STROKES.get(choice.operation, _UNKNOWN)
            ends = f"{_quoted(f'{name}/{choice.source}')} -> {_quoted(f'{name}/{choice.target}')}"
            style = f'color="{stroke.colour}", style={stroke.dot}, penwidth={stroke.width}'
            lines.append(f"    {ends} [label={_quoted(choice.operation)}, {style}];")
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _nodes(choices: Sequence[Choice]) -> list[int]:
    return sorted({node for choice in choices for node in (choice.source, choice.target)})


def _layout(choices: Sequence[Choice]) -> list[_Arrow]:
    """Neighbours are joined by a straight arrow, the others by arcs on the side where they cross fewer others.

    Short arcs come first, so that a longer one on the same side passes above those that it spans.
    """
    order = {node: place for place, node in enumerate(_nodes(choices))}
    spans = [(order[choice.source], order[choice.target], choice) for choice in choices]
    arrows: list[_Arrow] = []
    taken: list[tuple[int, int, int]] = []  # source place, target place, level
    for source, target, choice in sorted(spans, key=lambda span: (span[1] - span[0], span[0])):
        if target - source == 1 and (source, target, 0) not in taken:
            level = 0
        else:
            level = min(_free_levels(source, target, taken), key=lambda item: item[0])[1]
        taken.append((source, target, level))
        arrows.append(_Arrow(choice, level))
    return arrows


def _free_levels(source: int, target: int, taken: list[tuple[int, int, int]]) -> list[tuple[tuple[int, int, int], int]]:
    """For above and below: what it costs (crossings, height, arcs there already), and the level."""
    options = []
    for side in (1, -1):
        same = [(a, b, abs(level)) for a, b, level in taken if level * side > 0]
        crossings = sum(a < source < b < target or source < a < target < b for a, b, _ in same)
        height = 1 + max((level for a, b, level in same if a < target and source < b), default=0)
        options.append(((crossings, height, len(same)), side * height))
    return options


def _vertical_extent(arrows: Sequence[_Arrow]) -> tuple[float, float]:
    if not arrows:
        return -0.2, 0.4
    levels = [arrow.level for arrow in arrows]
    return min(-0.5, _LIFT * min(levels) - 0.35), max(0.7, _LIFT * max(levels) + 0.55)


def _draw_row(axes: "Axes", arrows: Sequence[_Arrow], nodes: Sequence[int], output: int | None) -> None:
    from matplotlib.patches import Circle

    place = {node: (index * _GAP, 0.0) for index, node in enumerate(nodes)}
    for arrow in arrows:
        _draw_arrow(axes, arrow, place[arrow.choice.source], place[arrow.choice.target])
    reached = {arrow.choice.target for arrow in arrows}
    for node, centre in place.items():
        end = node not in reached or node == output
        fill, ink = (BLACK, "white") if end else ("white", BLACK)
        axes.add_patch(Circle(centre, _RADIUS, facecolor=fill, edgecolor=BLACK, linewidth=1.6, zorder=4))
        axes.text(*centre, str(node), ha="center", va="center_baseline", color=ink, weight="bold", zorder=5)
    # Outside the row, where no arrow passes; inner inputs are told by their filled disc.
    beside = _RADIUS + 0.1
    axes.text(-beside, 0, "input", ha="right", va="center", fontsize=9.5, color=BLACK)
    if output in place:
        axes.text(place[output][0] + beside, 0, "output", ha="left", va="center", fontsize=9.5, color=BLACK)


def _draw_arrow(axes: "Axes", arrow: _Arrow, start: Point, end: Point) -> None:
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path as Curve

    operation = arrow.choice.operation
    stroke = _STROKES.get(operation, _UNKNOWN)
    points = _bezier(start, end, arrow.level)
    style = (0, stroke.dashes) if stroke.dashes else "solid"
    line = Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    axes.add_patch(
        PathPatch(line, fill=False, edgecolor=stroke.colour, linewidth=stroke.width, linestyle=style, zorder=2)
    )
    axes.add_patch(Polygon(_head(points[2], points[3]), closed=True, color=stroke.colour, linewidth=0, zorder=3))
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


def _bezier(start: Point, end: Point, level: int) -> tuple[Point, Point, Point, Point]:
    """The control points of the arrow's line, from the rim of one node to the foot of the head at the other."""
    side = (level > 0) - (level < 0)
    angle = side * math.radians(min(35 + 15 * abs(level), 75))
    cosine, sine = math.cos(angle), math.sin(angle)
    leave, arrive = _RADIUS, _RADIUS + _HEAD
    first = (start[0] + leave * cosine, start[1] + leave * sine)
    last = (end[0] - arrive * cosine, end[1] + arrive * sine)
    if level == 0:
        third = (last[0] - first[0]) / 3
        return first, (first[0] + third, first[1]), (last[0] - third, last[1]), last
    # The middle of a cubic is (P0 + 3 P1 + 3 P2 + P3) / 8: with both controls at this height it lies at level * _LIFT.
    height = (8 * level * _LIFT - first[1] - last[1]) / 6
    return (
        first,
        (first[0] + abs(height - first[1]) * cosine / abs(sine), height),
        (last[0] - abs(height - last[1]) * cosine / abs(sine), height),
        last,
    )


def _head(control: Point, foot: Point) -> list[Point]:
    """A triangle on `foot` that points along the line's last direction."""
    length = math.hypot(foot[0] - control[0], foot[1] - control[1])
    dx, dy = (foot[0] - control[0]) / length, (foot[1] - control[1]) / length
    half = _HEAD * 0.5
    return [
        (foot[0] + _HEAD * dx, foot[1] + _HEAD * dy),
        (foot[0] - half * dy, foot[1] + half * dx),
        (foot[0] + half * dy, foot[1] - half * dx),
    ]
