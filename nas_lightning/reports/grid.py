"""A table of text, and its form in a terminal, in Markdown and in LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from nas_lightning import escapes


@dataclass(frozen=True)
class Grid:
    """`headings` and `rows` have the same number of columns; the first `labels` columns are words, the others numbers.

    `groups` are the rows (from 0) that begin a new block; LaTeX and the terminal set a line or a gap before them.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int
    groups: frozenset[int] = frozenset()


def terminal(grid: Grid) -> Table:
    """Print it on a Rich console."""
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, heading in enumerate(grid.headings):
        if index < grid.labels:
            table.add_column(Text(escapes.visible(heading)), overflow="fold")
        else:
            table.add_column(Text(escapes.visible(heading).replace(" ", "\n")), justify="right", overflow="fold")
    for index, row in enumerate(grid.rows):
        table.add_row(*(Text(escapes.visible(cell)) for cell in row), end_section=index + 1 in grid.groups)
    return table


def markdown(grid: Grid) -> str:
    alignment = ["---"] * grid.labels + ["---:"] * (len(grid.headings) - grid.labels)
    lines = [map(escapes.markdown, grid.headings), alignment, *(map(escapes.markdown, row) for row in grid.rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(grid: Grid) -> str:
    r"""A `tabular` for the package booktabs."""
    columns = "l" * grid.labels + "r" * (len(grid.headings) - grid.labels)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _latex_row(grid.headings), r"\midrule"]
    for index, row in enumerate(grid.rows):
        if index and index in grid.groups:
            lines.append(r"\addlinespace")
        lines.append(_latex_row(row))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(escapes.latex, cells)) + r" \\"
