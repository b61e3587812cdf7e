"""From the files of runs to drawings, figures and tables. Imports no training code; matplotlib only when drawing."""

from nas_lightning.reports.cells import dot_text, draw_cell
from nas_lightning.reports.figures import plot_comparison, plot_search
from nas_lightning.reports.panel import print_found
from nas_lightning.reports.runs import Run, find_runs, read_metrics
from nas_lightning.reports.tables import summary

__all__ = [
    "Run",
    "dot_text",
    "draw_cell",
    "find_runs",
    "plot_comparison",
    "plot_search",
    "print_found",
    "read_metrics",
    "summary",
]
