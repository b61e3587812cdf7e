"""Runs on disk: every folder that holds `report.json` (finished), `failed.txt`, or only `config.yaml` (unfinished)."""

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from glob import glob
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from nas_lightning.errors import UserError
from nas_lightning.escapes import shortened
from nas_lightning.genotypes.base import Genotype
from nas_lightning.image_tree import place_name
from nas_lightning.records.folder import FAILURE
from nas_lightning.records.overrides import written
from nas_lightning.records.received import (
    DATA_BYTES,
    TEXT_BYTES,
    parsed_json,
    received_bytes,
    received_json,
    received_table,
)
from nas_lightning.reports.statistic import count

SCHEMA = 1
SCORE_NAMES = {
    "cifar10_test_200": "CIFAR-10",
    "cifar100_test_200": "CIFAR-100",
    "imagenet16_120_test_200": "ImageNet16-120",
}
"""The scores that reports show first: test accuracy in percent after 200 epochs, in the order of the field's tables."""


def is_tabulated(dataset: object) -> bool:
    """Whether these scores are of this data set; of another, such as a user's photos, they say how an architecture does
    elsewhere."""
    return any(key == f"{dataset}_test_200" for key in SCORE_NAMES)


def images_of(report: Mapping[str, Any]) -> str:
    """What the images are called: a folder or zip by its own name, other data sets by theirs."""
    dataset = str(report.get("dataset", "?"))
    config = report.get("config")
    settings = config.get("dataset") if isinstance(config, Mapping) else None
    root = settings.get("root") if isinstance(settings, Mapping) else None
    return place_name(root) or dataset if dataset == "folder" and isinstance(root, str) else dataset


def are_tabulated(reports: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the images of any of these are a table's."""
    return any(is_tabulated(report.get("dataset")) for report in reports)


def score_heading(score: str, is_of_these: bool) -> str:
    """Of a column with this score; is_of_these: whether the table is of the images of the runs beside it."""
    if score not in SCORE_NAMES:
        return f"{score} (%)"
    return f"{SCORE_NAMES[score]} test (%)" if is_of_these else f"if trained on {SCORE_NAMES[score]} (%)"


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
_NUMBER = (int, float, type(None))
# What may be missing, but not be something else: tables and pages take it as it is.
_OPTIONAL: dict[str, tuple[type, ...]] = {
    "method": (str, type(None)),
    "architecture": (str,),
    "recipe": (str, type(None)),
    "selection": (str,),
    "genotype": (dict,),
    "table": (list,),
    "split": (dict,),
    "networks": (dict,),
    "search": (dict,),
    "seed": (int,),
    "epochs": (int,),
    "seconds": _NUMBER,
    "test_accuracy": _NUMBER,
}
_MOST_SCORES, _MOST_OVERRIDES = 100, 1_000
_MOST_ENTRIES = 500_000
_MOST_EPOCH = 10**6
_CAUSE = 1_000
_EVALUATION = re.compile(rb'"kind"\s*:\s*"evaluation"')
_NOT_SEARCHED = {"checkpoints", "wandb"}


@dataclass(frozen=True)
class Run:
    """One search, or one evaluation of an architecture, on disk.

    `report` is the parsed `report.json`, None while the run is unfinished or when the file is broken; `cause` says what
    is broken, or why the job of a sweep `failed`, in one sentence, and is empty otherwise; `epochs` is the number of
    finished epochs (None when broken or failed).
    """

    folder: Path
    report: dict[str, Any] | None
    cause: str = ""
    epochs: int | None = None
    failed: bool = False

    @cached_property
    def metrics(self) -> dict[str, list[float]]:
        """`metrics.csv` by column, read on first use; UserError when it is missing or broken, or not of all epochs of a
        finished search."""
        path = self.folder / "metrics.csv"
        columns = read_metrics(path)
        report = self.report or {}
        found, epochs = len(columns["epoch"]), report.get("epochs")
        if epochs not in (None, found) and report.get("kind", "search") == "search":
            raise UserError(
                f"{path} has {count(found, 'epoch')} where the report beside it says {epochs}; restore it or delete the run's "
                "folder."
            )
        return columns

    @property
    def checked(self) -> "Run":
        """This run; a broken one where it is finished and its `metrics.csv` cannot be had: then it counts nowhere."""
        lost = self.lost_metrics if self.report else ""
        return replace(self, report=None, cause=lost) if lost else self

    @property
    def lost_metrics(self) -> str:
        """Why `metrics.csv` cannot be had, in one sentence; empty where it can."""
        try:
            _ = self.metrics
        except UserError as error:
            return str(error).replace(f"{self.folder}{os.sep}", "")
        return ""

    @property
    def genotype(self) -> Genotype:
        """The architecture that a finished run has found; UserError when its report holds none."""
        return Genotype.from_json(json.dumps((self.report or {}).get("genotype")), str(self.folder))

    @property
    def known_genotype(self) -> Genotype | None:
        with suppress(UserError):
            return self.genotype
        return None


def find_runs(*folders: str | Path) -> list[Run]:
    """Every search at or below `folders`, or what these match as patterns, once each, sorted by path.

    A broken file is reported in `Run.cause` instead of raised. The `metrics.csv` of a finished run is not opened.
    UserError when one of `folders` is neither a folder nor a pattern of any.
    """
    runs = [run for place, files in _places(folders) for run in _run_at(place, files)]
    return sorted(runs, key=lambda run: run.folder)


def find_evaluations(*folders: str | Path) -> list[Run]:
    """Every evaluation of an architecture at or below `folders`, or what these match, once each, sorted by path.

    Broken files are left to `find_runs`; one that lacks a value which evaluations have is reported in `Run.cause`.
    """
    runs = [run for place, files in _places(folders) if "report.json" in files for run in _evaluation_at(place)]
    return sorted(runs, key=lambda run: run.folder)


def _evaluation_at(place: Path) -> Iterator[Run]:
    with suppress(OSError, ValueError, AttributeError):
        content = received_bytes(place / "report.json", DATA_BYTES)
        # Most reports are searches: to parse them only to drop them would double the time.
        if _EVALUATION.search(content) and (report := parsed_json(content)).get("kind") == "evaluation":
            cause = _fault(report, "evaluation")
            yield Run(place, None, cause=cause) if cause else _finished_run(place, report)


def _finished_run(place: Path, report: dict[str, Any]) -> Run:
    """The run of a report that has no fault, its method named as this version names it.

    Earlier ones left out what a setting above several was set to: `edd + space.auxiliary_skip`.
    """
    name, plus, added = (report.get("method") or "").partition(" + ")
    if plus:
        values = ((key, config_value(report, key)) for key in added.split(", "))
        told = (f"{key}={written(value)}" if isinstance(value, Mapping) else key for key, value in values)
        report = {**report, "method": f"{name} + {', '.join(told)}"}
    return Run(place, report, epochs=report.get("epochs"))


def config_value(report: Mapping[str, Any], key: str) -> Any:
    """The value at the dotted `key` of the report's config, None where there is none."""
    node: Any = report["config"]
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def read_metrics(path: str | Path) -> dict[str, list[float]]:
    """The numeric columns of a `metrics.csv`, one value an epoch; a blank cell is nan, `architecture` is left out.

    Accuracies are fractions in [0, 1], except the `table/` columns, which are percent. UserError when the file cannot
    be read, has no `epoch` column, or has a row of another length, a cell that is no number or an epoch that is none.
    """
    try:
        header, *rows = received_table(Path(path)) or [[]]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({_reason(error)}); restore it or delete the run's folder.") from error
    if "epoch" not in header:
        raise UserError(f"{path} has no `epoch` column in its first line; restore it or delete the run's folder.")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(
                f"line {number} of {path} has {len(row)} cells where its first line has {len(header)}; "
                "remove that line or delete the run's folder."
            )
    columns = {
        name: [_number(row[index], name, path, number) for number, row in enumerate(rows, start=2)]
        for index, name in enumerate(header)
        if name != "architecture"
    }
    for number, epoch in enumerate(columns["epoch"], start=2):
        if not (0 <= epoch <= _MOST_EPOCH and epoch.is_integer()):
            raise UserError(f"line {number} of {path} has the epoch {epoch}; correct it or delete the run's folder.")
    return columns


def matching_folders(text: str | Path) -> list[Path]:
    """The folder of that name, or those that it matches as a pattern (`**` at any depth); none for any other text."""
    if os.path.isdir(text):
        return [Path(text)]
    pattern = os.path.expanduser(text)
    is_pattern = any(character in pattern for character in "*?[")
    return (
        [Path(match) for match in sorted(glob(pattern, recursive=True)) if os.path.isdir(match)] if is_pattern else []
    )


def _places(given: Sequence[str | Path]) -> Iterator[tuple[Path, list[str]]]:
    """Every folder at or below those that are given, once, with the names of its files."""
    matches = {text: matching_folders(text) for text in given}
    for text, found in matches.items():
        if not found:
            raise UserError(
                f"{text} is not a folder, nor a pattern of some; give the folder of a run or of a sweep, such as "
                "runs/quickstart."
            )
    folders = [folder for found in matches.values() for folder in found]
    seen: set[str] = set()
    entries = 0
    for folder in folders:
        for place, below, files in os.walk(folder, onerror=_unlisted):
            below[:] = [name for name in below if name not in _NOT_SEARCHED and not name.startswith(".")]
            entries += len(below) + len(files)
            if entries > _MOST_ENTRIES:
                raise UserError(
                    f"{folder} has more than {_MOST_ENTRIES:,} files and folders; give folders further down."
                )
            if len(folders) > 1:
                if (real := os.path.realpath(place)) in seen:
                    continue
                seen.add(real)
            yield Path(place), files


def _unlisted(error: OSError) -> None:
    raise UserError(
        f"{error.filename} cannot be listed ({error.strerror}); make it readable, or give folders beside it."
    )


def _run_at(place: Path, files: list[str]) -> Iterator[Run]:
    if "report.json" in files:
        yield from _finished(place)
    elif FAILURE in files:
        yield Run(place, None, cause=_failure(place / FAILURE), failed=True)
    elif "config.yaml" in files and "metrics.csv" in files:
        yield _unfinished(place)
    elif "config.yaml" in files:
        with suppress(OSError, ValueError):
            if b"\nrun_dir:" in received_bytes(place / "config.yaml", DATA_BYTES):
                yield Run(place, None, epochs=0)  # stopped within its first epoch


def _failure(path: Path) -> str:
    """In one line."""
    try:
        text = received_bytes(path, TEXT_BYTES).decode("utf-8", errors="replace")
    except (OSError, ValueError) as error:
        return f"{FAILURE} cannot be read: {_reason(error)}"
    return shortened(" ".join(text.split()), _CAUSE)


def _finished(folder: Path) -> Iterator[Run]:
    """The run of a `report.json`; nothing when it says that it reports something else, such as an evaluation."""
    path = folder / "report.json"
    try:
        report = received_json(path)
    except (OSError, ValueError) as error:
        yield Run(folder, None, cause=f"report.json cannot be read: {_reason(error)}")
        return
    if isinstance(report, dict) and report.get("kind", "search") != "search":
        return
    cause = _fault(report, "search")
    yield Run(folder, None, cause=cause) if cause else _finished_run(folder, report)


def _unfinished(folder: Path) -> Run:
    run = Run(folder, None)
    cause = run.lost_metrics
    return replace(run, cause=cause) if cause else replace(run, epochs=len(run.metrics["epoch"]))


def _fault(report: Any, kind: Kind) -> str:
    """What keeps `report` from being one of ours, or an empty string."""
    if not isinstance(report, dict):
        return "report.json does not hold an object"
    if report.get("schema") != SCHEMA:
        return f"report.json has schema {report.get('schema')!r}, this version reads {SCHEMA}"
    if key := _of_another_kind(report, _REQUIRED[kind]):
        return f"report.json has no valid `{key}`"
    if not _all_of(str, report["overrides"], _MOST_OVERRIDES):
        return "report.json has no valid `overrides`"
    if not _all_of(str, report.get("table", []), _MOST_SCORES):
        return "report.json has no valid `table`"
    if not _all_of((int, float), report["scores"].values(), _MOST_SCORES):
        return "report.json has no valid `scores`"
    if not _all_of(_NUMBER, report.get("final", {}).values(), _MOST_OVERRIDES):
        return "report.json has no valid `final`"
    if "search" in report and not is_search(report["search"]):
        return "report.json has no valid `search`"
    return ""


def is_search(value: Mapping[str, Any]) -> bool:
    """Whether `value` says which search found the network of an evaluation."""
    overrides = value.get("overrides")
    known = type(value.get("seed")) is int and isinstance(value.get("commit"), str | None)
    return known and isinstance(overrides, list) and _all_of(str, overrides, _MOST_OVERRIDES)


def is_network(value: Any) -> bool:
    """Whether `value` is what an evaluation's report has of one of its networks."""
    if not isinstance(value, dict) or _of_another_kind(value, {"params": int, "macs": int, "scores": dict}):
        return False
    return _all_of((int, float), value["scores"].values(), _MOST_SCORES)


def _of_another_kind(values: Mapping[str, Any], required: Mapping[str, type]) -> str | None:
    """The first key that is missing or not what it is to be, of these and of what may be missing."""
    wrong = (key for key, kind in required.items() if not isinstance(values.get(key), kind))
    optional = (key for key, kinds in _OPTIONAL.items() if key in values and not isinstance(values[key], kinds))
    return next(chain(wrong, optional), None)


def _all_of(kinds: type | tuple[type, ...], values: Collection[Any], most: int) -> bool:
    return len(values) <= most and all(isinstance(value, kinds) for value in values)


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
