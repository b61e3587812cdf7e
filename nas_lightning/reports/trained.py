"""Each network that evaluations have trained or looked up as a run: what a search found, and the baselines beside it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nas_lightning.records.folder import folder_name
from nas_lightning.reports import tables
from nas_lightning.reports.runs import Run, is_network

_SAID = ("space", "method", "seed")  # of the search, apart from its overrides
# What is known of each network; a report's own are those of the found one.
_OF_EACH = (
    "architecture", "params", "auxiliary_params", "macs", "scores", "seconds", "epochs", "best_epoch", "test_accuracy",
    "train_accuracy", "validation_accuracy",
)  # fmt: skip
_OF_THE_FOUND = (*_OF_EACH, "genotype", "method", "search", "networks")


def trained_networks(evaluations: Sequence[Run], baselines: bool = True) -> list[Run]:
    """A run for each network of each evaluation; unfinished and broken evaluations as they are.

    `method` is for the found network that of its search, where run= named one, whose overrides are settings called
    `search.<key>` and stand for the folder; for a baseline it is "random (baseline)", and where the very same training stands
    beside several found networks it is one run. Without `baselines` there are the found ones alone. The reports may be
    anybody's: what is no network is left out.
    """
    runs = [run if run.report is None else replace(run, report=_found(run.report)) for run in evaluations]
    return [*runs, *_baselines(evaluations)] if baselines else runs


def _found(report: Mapping[str, Any]) -> dict[str, Any]:
    if "search" not in report:
        return dict(report)
    overrides = (override.lstrip("+") for override in report["search"]["overrides"])
    made = [f"search.{override}" for override in overrides if override.partition("=")[0] not in _SAID]
    without = _without(report, "run")
    return {**without, "overrides": [*without["overrides"], f"search.seed={report['search']['seed']}", *made]}


def _baselines(evaluations: Sequence[Run]) -> Iterator[Run]:
    seen = set()
    for run in evaluations:
        if run.report is None:
            continue
        shared = _without({key: run.report[key] for key in run.report if key not in _OF_THE_FOUND}, "run", "genotype")
        for name, network in run.report.get("networks", {}).items():
            if name == "found" or not is_network(network):
                continue
            own = {key: network[key] for key in _OF_EACH if key in network}
            report = {**shared, **own, "method": f"{name} (baseline)", "baseline": True}
            if (training := _training(report)) not in seen:
                yield replace(run, folder=run.folder / folder_name(name), report=report)
            seen.add(training)


def _training(report: Mapping[str, Any]) -> str:
    """The same of two that are one training, repeated to the same numbers."""
    known = {key: value for key, value in report.items() if key in (*_OF_EACH, "method", "experiment", "seed")}
    settings = sorted(each for each in report["overrides"] if tables.is_setting(each.lstrip("+").partition("=")[0]))
    return json.dumps({**known, "seconds": None, "overrides": settings}, sort_keys=True)


def _without(report: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The report as if these settings had not been made."""
    overrides = [each for each in report["overrides"] if each.lstrip("+").partition("=")[0] not in keys]
    return {**report, "overrides": overrides, "config": {**report["config"], **dict.fromkeys(keys)}}
