"""Where the parts of a drawn cell lie: nodes on a line, arrows between neighbours, arcs between the others. Draws nothing.

Lengths are inches; y grows upwards from the line of nodes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.reports.drawing import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION

Point = tuple[float, float]


class Stroke(NamedTuple):
    """`dashes` are on and off lengths in line widths (empty: solid); `dot` is Graphviz's nearest line style."""

    colour: str
    width: float
    dashes: tuple[float, ...] = ()
    dot: str = "solid"


STROKES = {
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
UNKNOWN = Stroke(GREY, 2.2, (7, 2), "dashed")

MOST_CELLS, MOST_CHOICES = 20, 60

RADIUS, LIFT, HEAD = 0.24, 0.72, 0.17


def is_drawable(genotype: Genotype) -> bool:
    """Whether a drawing has room for it: at most `MOST_CELLS` cells of `MOST_CHOICES` operations each."""
    return len(genotype.cells) <= MOST_CELLS and all(len(each) <= MOST_CHOICES for each in genotype.cells.values())


@dataclass(frozen=True)
class Arrow:
    """`level` 0 is a straight arrow; +k and -k are the k-th arc above and below the line of nodes."""

    choice: Choice
    level: int


def nodes_of(choices: Sequence[Choice]) -> list[int]:
    return sorted({node for choice in choices for node in (choice.source, choice.target)})


def layout(choices: Sequence[Choice]) -> list[Arrow]:
    """Neighbours are joined by a straight arrow, the others by arcs on the side where they cross fewer others.

    Short arcs come first, so that a longer one on the same side passes above those that it spans.
    """
    order = {node: place for place, node in enumerate(nodes_of(choices))}
    spans = [(order[choice.source], order[choice.target], choice) for choice in choices]
    arrows: list[Arrow] = []
    taken: list[tuple[int, int, int]] = []  # source place, target place, level
    for source, target, choice in sorted(spans, key=lambda span: (span[1] - span[0], span[0])):
        if target - source == 1 and (source, target, 0) not in taken:
            level = 0
        else:
            level = min(_free_levels(source, target, taken), key=lambda item: item[0])[1]
        taken.append((source, target, level))
        arrows.append(Arrow(choice, level))
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


def vertical_extent(arrows: Sequence[Arrow]) -> tuple[float, float]:
    if not arrows:
        return -0.2, 0.4
    levels = [arrow.level for arrow in arrows]
    return min(-0.5, LIFT * min(levels) - 0.35), max(0.7, LIFT * max(levels) + 0.55)


def arc(start: Point, end: Point, level: int) -> tuple[Point, Point, Point, Point]:
    """The control points of the arrow's line, from the rim of one node to the foot of the head at the other."""
    side = (level > 0) - (level < 0)
    angle = side * math.radians(min(35 + 15 * abs(level), 75))
    cosine, sine = math.cos(angle), math.sin(angle)
    leave, arrive = RADIUS, RADIUS + HEAD
    first = (start[0] + leave * cosine, start[1] + leave * sine)
    last = (end[0] - arrive * cosine, end[1] + arrive * sine)
    if level == 0:
        third = (last[0] - first[0]) / 3
        return first, (first[0] + third, first[1]), (last[0] - third, last[1]), last
    # The middle of a cubic is (P0 + 3 P1 + 3 P2 + P3) / 8: with both controls at this height it lies at level * LIFT.
    height = (8 * level * LIFT - first[1] - last[1]) / 6
    return (
        first,
        (first[0] + abs(height - first[1]) * cosine / abs(sine), height),
        (last[0] - abs(height - last[1]) * cosine / abs(sine), height),
        last,
    )


def head(control: Point, foot: Point) -> list[Point]:
    """A triangle on `foot` that points along the line's last direction."""
    length = math.hypot(foot[0] - control[0], foot[1] - control[1])
    dx, dy = (foot[0] - control[0]) / length, (foot[1] - control[1]) / length
    half = HEAD * 0.5
    return [
        (foot[0] + HEAD * dx, foot[1] + HEAD * dy),
        (foot[0] - half * dy, foot[1] + half * dx),
        (foot[0] + half * dy, foot[1] - half * dx),
    ]
