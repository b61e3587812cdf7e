"""A table of text, and its form in a terminal, in Markdown and in LaTeX."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nas_lightning import escapes


@dataclass(frozen=True)
class Grid:
    """`headings` and `rows` have the same number of columns; the first `labels` columns are words, the others numbers.

    `groups` are the rows (from 0) that begin a new block; LaTeX and the terminal set a line or a gap before them. `main` is
    the column that a narrow terminal leaves out last.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int
    groups: frozenset[int] = frozenset()
    main: int | None = None


def without_blanks(headings: Sequence[str], rows: Sequence[tuple[str, ...]], labels: int) -> Grid:
    """A grid without the columns that are blank: what so few runs cannot tell."""
    kept = [index for index in range(len(headings)) if index < labels or any(row[index] for row in rows)]
    return Grid(tuple(headings[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in rows), labels)


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return file.getvalue()


def with_column(text: str, name: str, value: str) -> str:
    """A CSV table with `value` in a first column `name`."""
    header, *rows = csv.reader(io.StringIO(text))
    return csv_text((name, *header), [(value, *row) for row in rows])


_ANY_WIDTH = 1000
_NARROWEST_LABEL = 10


def console() -> Console:
    """Of the terminal's width; a pipe or file has none of its own and gets tables as wide as they need."""
    own = Console()
    return own if own.is_terminal else Console(width=_ANY_WIDTH)


def show(grid: Grid, console: Console, elsewhere: str | None = None) -> None:
    """Print the columns that fit, or a list where hardly any does. elsewhere: how to see the others; None lists all rather
    than to leave one out."""
    shown, hidden = fitted(grid, console.width)
    if hidden and (elsewhere is None or len(shown.headings) == shown.labels):
        print(listed(grid, console.width))
        return
    console.print(terminal(shown, console.width))
    if hidden:
        say([f"not in {console.width} columns: {', '.join(hidden)}; {elsewhere}"], console)


def say(notes: Iterable[str], console: Console) -> None:
    """Lines below a table, broken between words where they are wider than the terminal; in a pipe or file each is one."""
    for note in notes:
        console.print(Text(escapes.visible(note)), soft_wrap=not console.is_terminal)


def fitted(grid: Grid, width: int) -> tuple[Grid, tuple[str, ...]]:
    """The grid with as many columns of numbers, from the left and with the main one, as fit into `width` characters, and the
    others' headings.

    Labels may be folded, to no less than ten characters, numbers are not. No column of numbers is left where no two (the
    count and a measure) fit.
    """
    every = range(len(grid.headings))
    left_out = [index for index in reversed(every[grid.labels :]) if index != grid.main]
    numbers = len(every) - grid.labels
    for dropped in [0, *range(1, numbers - 1)]:
        kept = [index for index in every if index not in left_out[:dropped]]
        if _widths(part := _columns(grid, kept), width) is not None:
            return part, tuple(grid.headings[index] for index in every if index not in kept)
    return _columns(grid, every[: grid.labels]), grid.headings[grid.labels :]


def _columns(grid: Grid, kept: Sequence[int]) -> Grid:
    """The grid of these columns alone."""
    rows = tuple(tuple(row[index] for index in kept) for row in grid.rows)
    return replace(grid, headings=tuple(grid.headings[index] for index in kept), rows=rows, main=None)


def terminal(grid: Grid, width: int = 1000) -> Table:
    """Print it on a Rich console of at least `width` characters, into which the grid fits (`fitted`)."""
    widths = _widths(grid, width)
    assert widths is not None
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, (heading, characters) in enumerate(zip(grid.headings, widths, strict=True)):
        shown = Text(_broken(heading, index < grid.labels, characters))
        table.add_column(shown, justify="left" if index < grid.labels else "right", overflow="fold", width=characters)
    for index, row in enumerate(grid.rows):
        cells = (escapes.visible(cell) for cell in row)
        table.add_row(
            *(Text(_folded(*each)) for each in zip(cells, widths, strict=True)), end_section=index + 1 in grid.groups
        )
    return table


def listed(grid: Grid, width: int) -> str:
    """For a terminal too narrow for columns: a block of lines for every row, no number broken over two of them."""
    blocks = []
    for row in grid.rows:
        pairs = [
            (escapes.visible(h), escapes.visible(cell)) for h, cell in zip(grid.headings, row, strict=True) if cell
        ]
        fits = [cell_len(heading) + cell_len(cell) < width for heading, cell in pairs]
        blocks.append(
            "".join(f"{h} {cell}\n" if fit else f"{h}\n  {cell}\n" for (h, cell), fit in zip(pairs, fits, strict=True))
        )
    return "\n".join(blocks)


def _widths(grid: Grid, width: int) -> list[int] | None:
    """Of the columns; None where they do not fit. First headings are broken at - and ., then labels are folded."""
    columns = len(grid.headings)
    room = width - 2 * columns - 1
    cells = [[*map(cell_len, (escapes.visible(row[index]) for row in grid.rows))] for index in range(columns)]
    longest = [max(lengths, default=0) for lengths in cells]
    for narrow in (False, True):
        heads = [_pieces(grid.headings[index], index < grid.labels, narrow) for index in range(columns)]
        widths = [
            max(most, *map(cell_len, pieces), 1) if pieces else max(most, 1)
            for most, pieces in zip(longest, heads, strict=True)
        ]
        if sum(widths) <= room:
            return widths
    least = [max(min(each, _NARROWEST_LABEL), 1) if index < grid.labels else each for index, each in enumerate(widths)]
    if sum(least) > room:
        return None
    while sum(widths) > room:
        widest = max((index for index in range(columns) if widths[index] > least[index]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _pieces(heading: str, is_label: bool, narrow: bool) -> list[str]:
    """What of a heading stays on one line: of a number the words, where it must be narrow also what ends in - or a dot."""
    words = [escapes.visible(heading)] if is_label else escapes.visible(heading).split(" ")
    return [piece for word in words for piece in re.findall(r"[^-.]+[-.]*|[-.]+", word)] if narrow else words


def _broken(heading: str, is_label: bool, width: int) -> str:
    """The heading with a line's end after each - and dot of a word that is wider; Rich breaks it at blanks."""
    words = escapes.visible(heading).split(" ")
    pieces = (_pieces(word, is_label, narrow=cell_len(word) > width) for word in words)
    return " ".join("\n".join(each) for each in pieces)


def _folded(cell: str, width: int) -> str:
    """A label over several lines, broken at blanks and after punctuation where a part is no wider than a line."""
    lines = [""]
    for part in re.findall(r"[^\s=:,._-]*[\s=:,._-]*", cell):
        if lines[-1] and cell_len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


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
