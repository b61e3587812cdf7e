"""Runs on disk: every folder that holds a `report.json` (finished) or `config.yaml` and `metrics.csv` (unfinished)."""

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from nas_lightning.errors import UserError

SCHEMA = 1
SCORE_NAMES = {
    "cifar10_test_200": "CIFAR-10",
    "cifar100_test_200": "CIFAR-100",
    "imagenet16_120_test_200": "ImageNet16-120",
}
"""The scores that reports show first: test accuracy in percent after 200 epochs, in the order of the field's tables."""

Kind = Literal["search", "evaluation"]
_EVERY_KIND: dict[str, type] = {
    "experiment": str,
    "space": str,
    "dataset": str,
    "overrides": list,
    "config": dict,
    "scores": dict,
}
_REQUIRED: dict[Kind, dict[str, type]] = {
    "search": {**_EVERY_KIND, "method": str, "final": dict},
    "evaluation": {**_EVERY_KIND, "recipe": str, "params": int, "macs": int},
}
_NOT_SEARCHED = {"checkpoints", "wandb"}


@dataclass(frozen=True)
class Run:
    """One search, or one evaluation of an architecture, on disk.

    `report` is the parsed `report.json`, None while the run is unfinished or when the file is broken; `cause` says what
    is broken, in one sentence, and is empty otherwise; `epochs` is the number of finished epochs (None when broken).
    """

    folder: Path
    report: dict[str, Any] | None
    cause: str = ""
    epochs: int | None = None

    @cached_property
    def metrics(self) -> dict[str, list[float]]:
        """`metrics.csv` by column, read on first use; UserError when it is missing or broken."""
        return read_metrics(self.folder / "metrics.csv")


def find_runs(folder: str | Path, kind: Kind = "search") -> list[Run]:
    """Every run of this kind at or below `folder`, sorted by path; unfinished and unreadable ones count as searches.

    A broken file is reported in `Run.cause` instead of raised. The `metrics.csv` of a finished run is not opened.
    UserError when `folder` is not a folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder of a run or of a sweep, such as runs/quickstart.")
    return sorted(_runs_below(folder, kind), key=lambda run: run.folder)


def read_metrics(path: str | Path) -> dict[str, list[float]]:
    """The numeric columns of a `metrics.csv`, one value an epoch; a blank cell is nan, `architecture` is left out.

    Accuracies are fractions in [0, 1], except the `table/` columns, which are percent. UserError when the file cannot
    be read, has no `epoch` column, or has a row of another length or a cell that is no number.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({_reason(error)}); restore it or delete the run's folder.") from error
    if "epoch" not in header:
        raise UserError(f"{path} has no `epoch` column in its first line; restore it or delete the run's folder.")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(
                f"line {number} of {path} has {len(row)} cells where its first line has {len(header)}; "
                "remove that line or delete the run's folder."
            )
    return {
        name: [_number(row[index], name, path, number) for number, row in enumerate(rows, start=2)]
        for index, name in enumerate(header)
        if name != "architecture"
    }


def _runs_below(folder: Path, kind: Kind) -> Iterator[Run]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NOT_SEARCHED and not name.startswith(".")]
        if "report.json" in files:
            yield from _finished(Path(place), kind)
        elif kind == "search" and "metrics.csv" in files and "config.yaml" in files:
            yield _unfinished(Path(place))


def _finished(folder: Path, kind: Kind) -> Iterator[Run]:
    """The run of a `report.json`; nothing when it says that it reports something else."""
    path = folder / "report.json"
    try:
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        if kind == "search":
            yield Run(folder, None, cause=f"report.json cannot be read: {_reason(error)}")
        return
    if (report.get("kind", "search") if isinstance(report, dict) else "search") != kind:
        return
    cause = _fault(report, kind)
    yield Run(folder, None, cause=cause) if cause else Run(folder, report, epochs=report.get("epochs"))


def _unfinished(folder: Path) -> Run:
    run = Run(folder, None)
    try:
        return Run(folder, None, epochs=len(run.metrics["epoch"]))
    except UserError as error:
        return Run(folder, None, cause=str(error).replace(f"{folder}{os.sep}", ""))


def _fault(report: Any, kind: Kind) -> str:
    """What keeps `report` from being one of ours, or an empty string."""
    if not isinstance(report, dict):
        return "report.json does not hold an object"
    if report.get("schema") != SCHEMA:
        return f"report.json has schema {report.get('schema')!r}, this version reads {SCHEMA}"
    for key, required in _REQUIRED[kind].items():
        if not isinstance(report.get(key), required):
            return f"report.json has no valid `{key}`"
    if not all(isinstance(override, str) for override in report["overrides"]):
        return "report.json has no valid `overrides`"
    return ""


def _number(cell: str, name: str, path: str | Path, line: int) -> float:
    if not cell:
        return float("nan")
    try:
        return float(cell)
    except ValueError as error:
        raise UserError(
            f"{cell!r} in column {name}, line {line} of {path}, is not a number; correct it or delete the run's folder."
        ) from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
