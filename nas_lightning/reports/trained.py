"""Each network that evaluations have trained or looked up as a run: what a search found, and what stands beside it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nas_lightning.reports import tables
from nas_lightning.reports.runs import Run, is_network

_SAID = ("space", "method")  # of the search, by the evaluation's own columns
_MOST_NETWORKS = 20


def trained_networks(evaluations: Sequence[Run], beside: bool = True) -> list[Run]:
    """A run for each network of each evaluation, without `beside` the found ones alone; unfinished and broken ones as they are.

    `method` is for the found network that of its search, where run= named one, whose overrides are settings called
    `search.<key>` and stand for the folder; for the others it is what they are called: random, all_skip, resnet18. `seed` is
    the training's, or "0, search 1" where the search had another. What is no network (reports may be anybody's) is left out.
    """
    return [network for run in evaluations for network in _networks(run, beside)]


def _networks(run: Run, beside: bool) -> Iterator[Run]:
    if run.report is None:
        yield run
        return
    yield replace(run, report=_found(run.report))
    networks = run.report.get("networks", {}) if beside else {}
    for name, network in list(networks.items())[:_MOST_NETWORKS]:
        if name != "found" and is_network(network):
            yield replace(run, folder=run.folder / name, report=_beside(run.report, name, network))


def _found(report: Mapping[str, Any]) -> dict[str, Any]:
    search = report.get("search")
    if search is None:
        return dict(report)
    made = [override.lstrip("+") for override in search["overrides"]]
    kept = [f"search.{each}" for each in made if tables.is_setting(key := each.partition("=")[0]) and key not in _SAID]
    seed = report.get("seed")
    return {
        **_without(report, "run"),
        "overrides": [*_without(report, "run")["overrides"], *kept],
        "seed": seed if search["seed"] == seed else f"{seed}, search {search['seed']}",
    }


def _beside(report: Mapping[str, Any], name: str, network: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in report.items() if key not in ("genotype", "search")}
    return {**_without(kept, "run", "genotype"), **network, "method": name}


def _without(report: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The report as if these settings had not been made."""
    overrides = [each for each in report["overrides"] if each.lstrip("+").partition("=")[0] not in keys]
    return {**report, "overrides": overrides, "config": {**report["config"], **dict.fromkeys(keys)}}
