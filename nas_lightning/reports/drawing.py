"""What all drawings share: the colours, and SVG and PNG files that are equal whenever their input is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nas_lightning.files import replace_atomically

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
            }
        )
        yield


def save_figure(figure: "Figure", path_without_suffix: str | Path, title: str) -> None:
    """Write `<path>.svg` and `<path>.png`; `title` goes into the SVG's metadata. Call inside `drawing_style`."""
    # Appended, not Path.with_suffix: run folders and names hold dots, as in `sched.lam=0.06`.
    with replace_atomically(f"{path_without_suffix}.svg") as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Title": title})
    with replace_atomically(f"{path_without_suffix}.png") as temporary:
        figure.savefig(temporary, format="png", dpi=150)
