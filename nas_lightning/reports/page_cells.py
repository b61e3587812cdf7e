"""Cells as SVG text for a page, in the colours of its style; laid out as the drawings of `draw_cell`, but narrower."""

from collections.abc import Callable, Sequence

from nas_lightning import escapes
from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.reports.cell_layout import (
    RADIUS,
    STROKES,
    UNKNOWN,
    Point,
    arc,
    head,
    is_drawable,
    layout,
    nodes_of,
    vertical_extent,
)
from nas_lightning.reports.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION
from nas_lightning.reports.edges import node_namer

# Names of the style's colours, which are others on a dark page; what has none is drawn in the colour of text.
COLOURS = {
    BLUE: "blue", VERMILLION: "vermillion", GREEN: "green", ORANGE: "orange", SKY: "sky", PURPLE: "purple", GREY: "grey",
    STROKES["none"].colour: "grey",
}  # fmt: skip
_GAP, _MARGIN, _SCALE = 1.95, 0.4, 62  # inches, inches, pixels an inch
_LONGEST = 40

Names = Callable[[int], str]


def cell_drawings(genotype: Genotype) -> str:
    """An SVG and a list of the edges for every cell type; a sentence for a genotype that is too large or has no cell."""
    if not genotype.cells:
        return '<p class="note">The architecture has no cell.</p>'
    if not is_drawable(genotype):
        return '<p class="note">The architecture is too large to be drawn.</p>'
    return f'<div class="cells">{"".join(_cell(genotype, name) for name in genotype.cells)}</div>'


def _cell(genotype: Genotype, name: str) -> str:
    choices = genotype.cells[name]
    title = f"{_short(genotype.space)} · {_short(name)}"
    if not choices:
        return f"<div><h4>{title}: nothing is kept</h4></div>"
    names = node_namer(genotype)
    listed = "".join(
        f"<li><code>{escapes.html(_edge(choice, names))}</code> {_short(choice.operation)}</li>" for choice in choices
    )
    output = ""
    if genotype.output_node is None:
        joined = ", ".join(map(names, genotype.output_nodes(name)))
        output = f' <span class="note">output: nodes {_short(joined)} side by side</span>'
    drawing = f'<div class="drawing">{_svg(choices, names, genotype.output_node)}</div>'
    return f'<div><h4>{title}{output}</h4>{drawing}<ul class="edges">{listed}</ul></div>'


def _svg(choices: Sequence[Choice], names: Names, output: int | None) -> str:
    arrows, nodes = layout(choices), nodes_of(choices)
    bottom, top = vertical_extent(arrows)
    gap = _GAP if all(len(names(node)) < 4 for node in nodes) else _GAP + 0.25  # c_{k-2} is wider
    width, height = _SCALE * ((len(nodes) - 1) * gap + 2 * _MARGIN), _SCALE * (top - bottom)
    place = {node: (_MARGIN + index * gap, 0.0) for index, node in enumerate(nodes)}
    lines, labels, circles = [], [], []
    for arrow in arrows:
        points = [(x, top - y) for x, y in arc(place[arrow.choice.source], place[arrow.choice.target], arrow.level)]
        line, label = _arrow(arrow.choice, _edge(arrow.choice, names), points)
        lines.append(line)
        labels.append(label)
    inner = {arrow.choice.target for arrow in arrows} - {output}
    for node in nodes:
        x, y = _SCALE * place[node][0], _SCALE * top
        text = escapes.html(names(node))
        half, size = (_SCALE * RADIUS, "") if len(text) < 4 else (_SCALE * RADIUS + 8, ' class="small"')
        circles.append(
            f'<g class="node{"" if node in inner else " end"}"><rect x="{x - half:.1f}" y="{y - _SCALE * RADIUS:.1f}" '
            f'width="{2 * half:.1f}" height="{2 * _SCALE * RADIUS:.1f}" rx="{_SCALE * RADIUS:.1f}"/>'
            f'<text x="{x:.0f}" y="{y:.0f}"{size}>{text}</text></g>'
        )
    spoken = "; ".join(f"{_edge(choice, names)} {choice.operation}" for choice in choices)
    return (
        f'<svg role="img" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'aria-label="{escapes.html(escapes.shortened(spoken, 2_000))}">{"".join((*lines, *labels, *circles))}</svg>'
    )


def _arrow(choice: Choice, name: str, points: Sequence[Point]) -> tuple[str, str]:
    """The line, and what is written on it: the operation, and the edge's name below."""
    stroke = STROKES.get(choice.operation, UNKNOWN)
    colour = COLOURS.get(stroke.colour, "ink")
    width = 0.8 * stroke.width
    dashes = f' stroke-dasharray="{" ".join(f"{width * dash:.1f}" for dash in stroke.dashes)}"' if stroke.dashes else ""
    first, *others = map(_point, points)
    x, y = (_SCALE * (a + 3 * b + 3 * c + d) / 8 for a, b, c, d in zip(*points, strict=True))
    line = (
        f'<g class="{colour}"><path d="M{first} C{" ".join(others)}" stroke-width="{width:.1f}"{dashes}/>'
        f'<polygon points="{" ".join(map(_point, head(points[2], points[3])))}"/></g>'
    )
    label = (
        f'<g class="{colour}"><text x="{x:.0f}" y="{y - 10:.0f}">{_short(choice.operation)}</text>'
        f'<text x="{x:.0f}" y="{y + 10:.0f}" class="name">{escapes.html(name)}</text></g>'
    )
    return line, label


def _edge(choice: Choice, names: Names) -> str:
    return f"{names(choice.source)}->{names(choice.target)}"


def _point(point: Sequence[float]) -> str:
    return f"{_SCALE * point[0]:.1f},{_SCALE * point[1]:.1f}"


def _short(text: str) -> str:
    return escapes.html(escapes.shortened(text, _LONGEST))
