"""Which runs a comparison is of: groups named by folders, patterns or conditions, split where their protocols differ."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_lightning.errors import UserError
from nas_lightning.records.folder import flat
from nas_lightning.records.overrides import written
from nas_lightning.reports import tables
from nas_lightning.reports.runs import (
    Kind,
    Run,
    config_value,
    find_evaluations,
    find_runs,
    images_of,
    matching_folders,
)
from nas_lightning.reports.statistic import count
from nas_lightning.reports.trained import trained_networks

PROTOCOL = (
    "space", "dataset", "recipe", "images", "num_classes", "space.C", "space.N", "space.num_cells", "space.none",
    "space.stem", "dataset.image_size", "data.train_images", "data.valid_images", "data.train_fraction",
    "data.alpha_images", "data.batch_size", "data.cutout", "trainer.max_epochs", "protocol.adam.lr",
    "protocol.adam.weight_decay", "protocol.order", "model.weight_optimizer.lr", "model.weight_scheduler",
)  # fmt: skip
"""What runs must share to be compared, unless the comparison is over it: of the report, `images` what they are called, then of
configs.

A method's own choices (relaxation, schedule, partial channels, ...) are none of it.
"""
_KINDS = ("space", "dataset", "recipe")  # every report has them; a key of one space's configs may be none of another's

_FIELDS = ("experiment", "method", "space", "dataset", "recipe", "relaxation", "sched", "seed", "selection")
_NO_SETTINGS = ("experiment", "run", "genotype", "baselines", "train", "dataset.root", "dataset.test_root")


@dataclass(frozen=True)
class Group:
    """Finished runs that are compared as one, by the name they were asked for by."""

    name: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Comparison:
    """Two or more groups of one protocol. `protocol` says what of it differs from the other comparisons, or is empty."""

    protocol: str
    groups: tuple[Group, ...]


def find_groups(
    texts: Sequence[str], folders: Sequence[Path], by: str | None, kind: Kind, least: int = 2
) -> tuple[list[Group], list[str]]:
    """The groups of the command line, and a note for every run that is left out: unfinished, failed or broken.

    Broken is a finished search too whose metrics.csv cannot be had or lacks epochs.

    Each of `texts` is a folder, a pattern of folders, or conditions `KEY=VALUE,KEY=VALUE` on the runs in `folders`; none stands
    for all these runs. Folders are named without what all are in. With `by` the runs of all texts are one group a value of
    that key. UserError for fewer groups than `least`, an empty one, and a run in two of them.
    """
    selected = (
        [_selected(text, folders, kind, by) for text in texts]
        if texts
        else [Group("all", tuple(_found(folders, kind, by == "method")))]
    )
    if kind == "search":
        selected = [Group(group.name, tuple(run.checked for run in group.runs)) for group in selected]
    notes = [
        note for group in selected for note in tables.notes(tables.summary([r for r in group.runs if not r.report]))
    ]
    for group in selected:
        if not any(run.report for run in group.runs):
            raise UserError(
                f"{group.name} holds no finished {kind}; give a folder or pattern of finished ones"
                f"{', or --metric test_accuracy for evaluations' if kind == 'search' else ''}."
            )
    names = _short_names([group.name for group in selected])
    groups = [Group(n, tuple(run for run in g.runs if run.report)) for n, g in zip(names, selected, strict=True)]
    if by == "method":
        groups, unknown = _of_known_methods(groups)
        notes += unknown
    if by:
        groups = _split(groups, by)
    if len(groups) < least:
        raise UserError(
            f"{groups[0].name} is one group ({count(len(groups[0].runs), 'run')}), a comparison needs two; name another, or "
            "split it with --by KEY, such as --by method."
        )
    _check_apart(groups)
    return groups, list(dict.fromkeys(notes))


def _of_known_methods(groups: Sequence[Group]) -> tuple[list[Group], list[str]]:
    """The groups without trainings of architectures that no known search has found, unless there are no others; a note."""
    unknown = [run for group in groups for run in group.runs if not value_of(run, "method")]
    if not unknown or len(unknown) == sum(len(group.runs) for group in groups):
        return [*groups], []
    known = [Group(g.name, tuple(run for run in g.runs if value_of(run, "method"))) for g in groups]
    trainings = count(len(unknown), "training")
    return known, [f"left out: {trainings} of architectures of which no search is known: {unknown[0].folder} ..."]


def keys_asked(texts: Sequence[str], by: str | None) -> set[str]:
    """Those that a comparison of these groups is over: of --by and of conditions with several values."""
    conditions = [pair for text in texts if not matching_folders(text) for pair in _conditions(text)]
    values: dict[str, set[str]] = {}
    for key, value in conditions:
        values.setdefault(key, set()).add(value)
    return {key for key, found in values.items() if len(found) > 1} | ({by} if by else set())


def check_over(keys: Sequence[str]) -> None:
    """UserError for a key that is none of the protocol's, nor the beginning of one's."""
    for key in keys:
        if not any(_covers(key, each) for each in PROTOCOL):
            raise UserError(f"--over {key} is no key of the protocol; give one of {', '.join(PROTOCOL)}.")


def comparisons(groups: Sequence[Group], over: set[str]) -> tuple[list[Comparison], list[str]]:
    """The groups apart by protocol, and a note where there are several or some stand alone.

    over: keys that may differ, since the comparison is over them; a key of PROTOCOL or what is before its dot. UserError where
    no two groups share a protocol.
    """
    keys = [key for key in PROTOCOL if not any(_covers(each, key) for each in over)]
    protocols, unchecked = _protocols([run for group in groups for run in group.runs], keys)
    distinct = list(dict.fromkeys(protocols.values()))
    differing = [index for index in range(len(keys)) if len({protocol[index] for protocol in distinct} - {""}) > 1]
    found, alone = [], []
    for protocol in distinct:
        words = ", ".join(f"{keys[index]}={protocol[index]}" for index in differing if protocol[index])
        apart = [Group(g.name, tuple(run for run in g.runs if protocols[run.folder] == protocol)) for g in groups]
        present = tuple(group for group in apart if group.runs)
        if len(present) > 1:
            found.append(Comparison(words, present))
        else:
            alone.append(f"{present[0].name}: {count(len(present[0].runs), 'run')} with {words}")
    if not found:
        differ = " ".join(keys[index] for index in differing)
        raise UserError(
            f"no two groups share a protocol ({'; '.join(alone)}); compare runs that do, or say --over {differ} where the "
            "difference is what you compare."
        )
    notes = [f"split: {len(found)} comparisons, of runs of one protocol each"] if len(found) > 1 else []
    if unchecked:
        notes.append(f"taken for the same, since reports of other versions do not tell: {', '.join(unchecked)}")
    notes += _searches_differ([run for group in groups for run in group.runs])
    return found, [*notes, *(f"left out, no other group has its protocol: {each}" for each in alone)]


def _protocols(runs: Sequence[Run], keys: Sequence[str]) -> tuple[dict[Path, tuple[str, ...]], list[str]]:
    """The values of `keys` of each run, by its folder, and the keys that some run lacks, whose others agree on a value.

    Reports of other versions may lack a key, and what they did by default is not known. Beside runs of the same kind that
    agree, theirs is taken for the same; where these differ, it is "not given", a value of its own. What none of a kind has is
    empty.
    """
    told = {run.folder: _told(run) for run in runs}
    alike: dict[tuple[str, ...], list[Path]] = {}
    for folder, values in told.items():
        alike.setdefault(tuple(values[key] for key in _KINDS if key in keys), []).append(folder)
    protocols: dict[Path, list[str]] = {folder: [] for folder in told}
    unchecked = []
    for key in keys:
        for folders in alike.values():
            present = {told[folder][key] for folder in folders if key in told[folder]}
            lacking = any(key not in told[folder] for folder in folders)
            if lacking and len(present) == 1:
                unchecked.append(key)
            default = "not given" if len(present) > 1 else "".join(present)
            for folder in folders:
                protocols[folder].append(told[folder].get(key, default))
    return {folder: tuple(values) for folder, values in protocols.items()}, list(dict.fromkeys(unchecked))


def _told(run: Run) -> dict[str, str]:
    """What of PROTOCOL the report of `run` says."""
    assert run.report is not None
    fields = {key: run.report.get(key) for key in _KINDS} | {"images": images_of(run.report)}
    if run.report.get("num_classes") is not None:
        fields["num_classes"] = run.report["num_classes"]
    config = {key: value for key, value in flat(run.report["config"]).items() if key in PROTOCOL}
    if isinstance(scheduler := config_value(run.report, "model.weight_scheduler"), Mapping):
        config["model.weight_scheduler"] = written(scheduler)
    return {key: str(value) for key, value in {**config, **fields}.items()}


def _searches_differ(runs: Sequence[Run]) -> list[str]:
    """A note for what of the protocol the searches behind trained networks were told differently."""
    found = [run for run in runs if run.report and run.report.get("kind") == "evaluation" and "search" in run.report]
    told = {key: sorted({value_of(run, f"search.{key}") or "not given" for run in found}) for key in PROTOCOL}
    return [f"the searches differ in {key}: {', '.join(values)}" for key, values in told.items() if len(values) > 1]


def _covers(asked: str, key: str) -> bool:
    """Whether `asked` names the dotted key, or a section that it is in."""
    return key == asked or key.startswith(f"{asked}.")


def varying(runs: Sequence[Run]) -> tuple[str, ...]:
    """The settings, the seed apart, that differ among the runs."""
    return tuple(key for key in tables.summary(runs).settings if key.removeprefix("search.") not in _NO_SETTINGS)


def value_of(run: Run, key: str) -> str:
    """A field of the report, the choice of a config group, the config's value, or the override; blank where there is none."""
    assert run.report is not None
    if key in _FIELDS and run.report.get(key) is not None:
        return str(run.report[key])
    if key in ("images", "num_classes", "model.weight_scheduler"):
        return _told(run).get(key, "")
    choices: Any = run.report.get("choices")
    if isinstance(choices, Mapping) and choices.get(key) is not None:
        return str(choices[key])
    return tables.setting(run.report, key)


def _selected(text: str, folders: Sequence[Path], kind: Kind, by: str | None) -> Group:
    if places := matching_folders(text):
        return Group(text, tuple(_found(places, kind, by == "method")))
    if any(character in text for character in "*?") or os.sep in text.partition("=")[0]:
        raise UserError(f"{text} matches no folder; correct the pattern.")
    if not _is_conditions(text):
        raise UserError(
            f"{text} is no folder, no pattern of one and no condition such as method=edd; correct the group."
        )
    conditions = _conditions(text)
    found = _found(folders, kind, "method" in {by, *(key for key, _ in conditions)}, text)
    runs = [run for run in found if run.report]
    for key, wanted in conditions:
        present = {value_of(run, key) for run in runs}
        if not any(present):
            raise UserError(f"{text}: no run in {_named(folders)} has a setting {key}; give one that they have.")
        runs = [run for run in runs if _same(value_of(run, key), wanted)]
        if not runs:
            raise UserError(
                f"{text}: no run in {_named(folders)} has {key}={wanted}; they have {', '.join(sorted(filter(None, present)))}."
            )
    return Group(text, (*runs, *(run for run in found if not run.report)))


def _is_conditions(text: str) -> bool:
    return all(key and equals for key, equals, _ in (pair.partition("=") for pair in _pairs(text)))


def _conditions(text: str) -> list[tuple[str, str]]:
    return [(key, tables.compact(value)) for key, _, value in (pair.partition("=") for pair in _pairs(text))]


def _pairs(text: str) -> list[str]:
    """At the commas that stand in no brackets."""
    return re.split(r",(?![^{\[]*[}\]])", text)


def _named(folders: Sequence[Path]) -> str:
    return " ".join(map(str, folders))


def _found(folders: Sequence[Path], kind: Kind, baselines: bool, text: str = "no group") -> list[Run]:
    """The searches, or the networks of evaluations: a folder stands for what was found, baselines are asked for by method."""
    if not folders:
        raise UserError(f"{text}: of which runs? Give a folder as a group, or --runs FOLDER.")
    return find_runs(*folders) if kind == "search" else trained_networks(find_evaluations(*folders), baselines)


def _short_names(names: Sequence[str]) -> list[str]:
    try:
        shared = os.path.commonpath(names) if len(names) > 1 else ""
    except ValueError:  # absolute and relative ones
        shared = ""
    return [name.removeprefix(shared).strip("/") or name for name in names]


def _split(groups: Sequence[Group], by: str) -> list[Group]:
    runs = list({run.folder.resolve(): run for group in groups for run in group.runs}.values())
    values: dict[str, list[Run]] = {}
    for run in runs:
        values.setdefault(value_of(run, by), []).append(run)
    if set(values) == {""}:
        raise UserError(f"none of these runs has a setting {by}; give --by one that they have.")
    ordered = sorted(values.items(), key=lambda pair: tables.natural(pair[0]))
    key = "" if by in _FIELDS and by != "seed" else f"{by.rpartition('.')[2]}="
    return [Group(f"{key}{value}" if value else f"without {by}", tuple(members)) for value, members in ordered]


def _check_apart(groups: Sequence[Group]) -> None:
    owner: dict[Path, str] = {}
    for group in groups:
        for run in group.runs:
            place = run.folder.resolve()
            if owner.setdefault(place, group.name) != group.name:
                raise UserError(f"{run.folder} is in {owner[place]} and in {group.name}; make the groups disjoint.")
        if sum(each.name == group.name for each in groups) > 1:
            raise UserError(f"{group.name} is named twice; give another group.")


def _same(value: str, wanted: str) -> bool:
    try:
        return float(value) == float(wanted)
    except ValueError:
        return value.lower() == wanted.lower()
