"""`python -m nas_lightning.reports FOLDER`: the summary table of all runs below a folder."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from nas_lightning.errors import UserError
from nas_lightning.reports.figures import plot_comparison
from nas_lightning.reports.runs import Run, find_runs, read_metrics
from nas_lightning.reports.tables import (
    Summary,
    group_names,
    notes,
    render_csv,
    render_markdown,
    render_table,
    summary,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table to stdout (the notes below a CSV go to stderr); 1 and one sentence on stderr for bad input."""
    options = _parser().parse_args(arguments)
    try:
        runs, evaluations = find_runs(options.folder), find_runs(options.folder, "evaluation")
        if not runs and not evaluations:
            raise UserError(
                f"{options.folder} holds no run (no report.json, no config.yaml with metrics.csv); "
                "give the folder of a run or of a sweep."
            )
        if options.figure:
            runs = [_with_readable_metrics(run) for run in runs]
        for found in (runs, evaluations):
            if found:
                _print(summary(found), options.format)
        if options.figure:
            plot_comparison(group_names(summary(runs)), _without_suffix(options.figure))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nas_lightning.reports",
        description="Summarise searches and evaluations: mean ± standard deviation over seeds.",
    )
    parser.add_argument("folder", type=Path, help="folder of a run or of a sweep; runs are found at any depth")
    parser.add_argument("--format", choices=("table", "markdown", "csv"), default="table")
    parser.add_argument(
        "--figure", metavar="PATH", help="also draw entropy, accuracies and skip connections to PATH.svg and PATH.png"
    )
    return parser


def _with_readable_metrics(run: Run) -> Run:
    """A finished run whose metrics.csv cannot be read is in no line of the figure, so it must be in no row either."""
    if run.report is None:
        return run
    try:
        read_metrics(run.folder / "metrics.csv")
    except UserError as error:
        return replace(run, report=None, cause=str(error))
    return run


def _print(table: Summary, form: str) -> None:
    if form == "csv":
        print(render_csv(table), end="")
        print("".join(f"{note}\n" for note in notes(table)), end="", file=sys.stderr)
    elif form == "markdown":
        print(render_markdown(table), end="")
    else:
        console = Console()
        # A pipe or file has no width of its own: as wide as the table needs.
        if not console.is_terminal:
            console = Console(width=1000)
        if table.rows:
            console.print(render_table(table))
        for note in notes(table):
            console.print(note, soft_wrap=True, markup=False, highlight=False)


def _without_suffix(path: str) -> str:
    return path[:-4] if path.lower().endswith((".svg", ".png")) else path


if __name__ == "__main__":
    sys.exit(main())
