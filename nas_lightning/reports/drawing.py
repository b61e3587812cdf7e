"""What all drawings share: the colours, and SVG and PNG files that are equal whenever their input is."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nas_lightning.errors import UserError
from nas_lightning.escapes import shortened, visible
from nas_lightning.records.files import replace_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart with any colour vision.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = (
    "#222222",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
GREY = "#8C8C8C"
_DPI = 150
_MOST_LABELS, _LABEL = 200, 300


@contextmanager
def drawing_style() -> Iterator[None]:
    """matplotlib's own defaults, whatever the user's matplotlibrc says, with ours on top; restored afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.size": 10,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.grid": True,
                "grid.color": "#E6E6E6",
                "grid.linewidth": 0.8,
                "legend.frameon": False,
                "svg.fonttype": "none",
                "svg.hashsalt": "nas_lightning",
                "text.parse_math": False,  # a name may hold a $
            }
        )
        yield


def fitted(title: str, width: float) -> tuple[str, float]:
    """The title, wrapped at blanks to 80 characters a line, and a font size at which it fits into `width` inches.

    The architecture of a NAS-Bench-201 cell is one word of up to 95 characters.
    """
    text = textwrap.fill(title, 80, break_long_words=False, break_on_hyphens=False)
    longest = max(map(len, text.splitlines()), default=1)
    # A bold character of the default font is about 0.69 of the font's size wide; an inch has 72 points.
    return text, min(11, 72 * width / (0.69 * longest))


def legend_below(figure: "Figure") -> None:
    """One legend of all panels' lines under them, in as many columns as fit; the figure grows by its further rows."""
    found = {label: h for axes in figure.axes for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    size, handle, gaps, character = 10.0, 3.5, 2.8, 0.62  # points; the others in font sizes
    width = 72 * figure.get_figwidth() / size
    if len(found) > _MOST_LABELS:
        raise UserError(
            f"{len(found):,} settings are too many for one figure, which shows {_MOST_LABELS}; give fewer runs."
        )
    shown = (shortened(label, _LABEL) for label in found)
    labels = [textwrap.fill(label, int((width - handle - gaps) / character)) for label in shown]
    longest = max((len(line) for label in labels for line in label.splitlines()), default=1)
    columns = min(len(labels), max(1, int(width / (handle + gaps + character * longest))))
    lines = -(-sum(label.count("\n") + 1 for label in labels) // columns)
    figure.set_figheight(figure.get_figheight() + 0.21 * (lines - 1))
    figure.legend(found.values(), labels, loc="outside lower center", ncols=columns, handlelength=handle, fontsize=size)


def save_figure(figure: "Figure", path_without_suffix: str | Path, title: str) -> None:
    """Write `<path>.svg` and `<path>.png`; `title` goes into the SVG's metadata. Call inside `drawing_style`.

    UserError for a figure that is too large for a PNG.
    """
    from matplotlib.text import Text

    if max(figure.get_size_inches()) * _DPI >= 2**16:
        raise UserError(f"the figure {path_without_suffix} would be too large; give fewer runs.")
    for text in figure.findobj(Text):  # names are anybody's, and XML has no control characters
        lines = text.get_text().split("\n")
        if not all(map(str.isprintable, lines)):
            text.set_text("\n".join(map(visible, lines)))
    # Appended, not Path.with_suffix: run folders and names hold dots, as in `sched.lam=0.06`.
    with replace_atomically(f"{path_without_suffix}.svg") as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Title": visible(title)})
    with replace_atomically(f"{path_without_suffix}.png") as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)
