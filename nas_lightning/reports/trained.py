"""Each network that evaluations have trained or looked up as a run: what a search found, and the baselines beside it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nas_lightning.records.folder import folder_name
from nas_lightning.records.overrides import key_of
from nas_lightning.reports import tables
from nas_lightning.reports.runs import Run, is_network

_SAID = ("space", "method", "seed")  # of the search, apart from its overrides
# A report's own numbers are those of the found network: a baseline has what is named here, and nothing of the found one's.
_OF_THE_EVALUATION = (
    "schema", "kind", "experiment", "space", "dataset", "recipe", "choices", "seed", "selection", "overrides", "config",
    "classwise",
)  # fmt: skip
_OF_EACH = (
    "architecture", "params", "auxiliary_params", "macs", "scores", "seconds", "processor_seconds", "epochs", "best_epoch",
    "test_accuracy", "train_accuracy", "validation_accuracy", "balanced_accuracy",
)  # fmt: skip
_TIMES = ("seconds", "processor_seconds")


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
    made = [f"search.{each.lstrip('+')}" for each in report["search"]["overrides"] if key_of(each) not in _SAID]
    without = _without(report, "run")
    return {**without, "overrides": [*without["overrides"], f"search.seed={report['search']['seed']}", *made]}


def _baselines(evaluations: Sequence[Run]) -> Iterator[Run]:
    seen = set()
    for run in evaluations:
        if run.report is None:
            continue
        shared = _without({key: run.report[key] for key in _OF_THE_EVALUATION if key in run.report}, "run", "genotype")
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
    kept = {*_OF_EACH, "method", "experiment", "seed"} - {*_TIMES}
    settings = sorted(each for each in report["overrides"] if tables.is_setting(key_of(each)))
    return json.dumps({**{key: report[key] for key in kept & report.keys()}, "overrides": settings}, sort_keys=True)


def _without(report: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The report as if these settings had not been made."""
    overrides = [each for each in report["overrides"] if key_of(each) not in keys]
    return {**report, "overrides": overrides, "config": {**report["config"], **dict.fromkeys(keys)}}
