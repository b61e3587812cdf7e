"""What an evaluation prints when it ends: its networks side by side, and what the numbers are to be held against."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.text import Text

from nas_lightning.costs import budget_sentence, in_units
from nas_lightning.escapes import visible
from nas_lightning.reports import grid
from nas_lightning.reports.grid import Grid
from nas_lightning.reports.runs import SCORE_NAMES, images_of, is_tabulated

_MOST_RECALLS = 5
_NOT_THESE = "% of the table: if trained on the images of that name, not on these"


def print_evaluation(report: Mapping[str, Any], place: Path, mac_limit: float | None) -> None:
    """`report` has the keys of an evaluation's report.json, `place` is its file. mac_limit: of multiply-adds, or None."""
    console = grid.console()

    def say(sentence: str) -> None:
        console.print(Text(visible(sentence)), soft_wrap=True)

    for name, network in report["networks"].items():
        say(f"{name}: {network['architecture']}")
    for title, table, caution in _tables(report):
        say(title)
        grid.show(table, console)
        if caution:
            say(caution)
    if "test_accuracy" in report:
        for sentence in _held_against(report):
            say(sentence)
    if "budget" in report:
        for sentence in budgeted(report):
            say(sentence)
    if mac_limit is not None:
        macs = report["macs"]
        verdict = "within" if macs <= mac_limit else "WARNING: beyond"
        say(f"{macs:,} multiply-adds: {verdict} the limit of {mac_limit:,}.")
    say(f"Written to {place}")


def budgeted(report: Mapping[str, Any]) -> list[str]:
    """How the found network keeps its budget, and which others do not."""
    limits = report["budget"]["limits"]
    others = [
        f"{name} is beyond the budget: {in_units(kind, other[kind])}."
        for name, other in report["networks"].items()
        for kind, limit in limits.items()
        if name != "found" and other.get(kind, 0) > limit
    ]
    return [f"Budget: {budget_sentence(report['budget'])}.", *others]


def class_name(report: Mapping[str, Any], index: int) -> str:
    """Of an evaluation's report; "class 3", counted from 0, where it holds no names."""
    names = report.get("classes")
    return f"class {index}" if names is None else str(names[index])


def _tables(report: Mapping[str, Any]) -> list[tuple[str, Grid, str]]:
    """(title, table, caution): what networks cost and how they do here, and apart from it, as it is of another training, in a
    benchmark's table."""
    scores = report["scores"]
    headings = {key: f"{name} %" for key, name in SCORE_NAMES.items() if key in scores} or {key: key for key in scores}
    costs = {"parameters": lambda each: f"{each['params']:,}", "multiply-adds": lambda each: f"{each['macs']:,}"}
    looked_up = {name: partial(_score, key) for key, name in headings.items()}
    title = f"{report['space']}, {images_of(report)}"
    caution = "" if is_tabulated(report["dataset"]) or not scores else _NOT_THESE
    if "test_accuracy" not in report:
        return [(title, _table(report, costs | looked_up), caution)]
    majority = report["classwise"]["majority"]
    always = (f"always {class_name(report, majority['class'])}", "", "", "", "", f"{100 * majority['share']:.2f}")
    trained = _table(report, costs | {
        "MB": lambda each: f"{each['file_bytes'] / 1e6:.2f}",
        "ms": lambda each: f"{each['latency_ms']:.2f}",
        "test %": lambda each: f"{100 * each['test_accuracy']:.2f}",
    }, always)  # fmt: skip
    in_table = ("in the benchmark's table", _table(report, looked_up), caution)
    return [(title, trained, ""), in_table] if looked_up else [(title, trained, "")]


def _score(key: str, network: Mapping[str, Any]) -> str:
    return f"{network['scores'][key]:.2f}" if key in network["scores"] else ""


def _table(report: Mapping[str, Any], columns: Mapping[str, Callable[[Any], str]], *more: tuple[str, ...]) -> Grid:
    rows = [(name, *(shown(each) for shown in columns.values())) for name, each in report["networks"].items()]
    return Grid(("network", *columns), (*(row for row in rows if any(row[1:])), *more), labels=1)


def _held_against(report: Mapping[str, Any]) -> list[str]:
    """What stands beside the accuracies in words."""
    majority, recalls = report["classwise"]["majority"], report["classwise"]["recall"]
    sentences = better(report)
    best = {name: network["best_epoch"] + 1 for name, network in report["networks"].items() if "best_epoch" in network}
    if best:
        epochs = ", ".join(f"{name} {epoch}" for name, epoch in best.items())
        sentences.append(f"Tested once, with the weights of the epoch that is best on the validation images: {epochs}.")
    sentences += [
        f"{100 * majority['share']:.2f} % of the test images are of the class {class_name(report, majority['class'])}: what "
        "always answering it would give."
    ]
    if recalls is not None:
        known = sorted((recall, index) for index, recall in enumerate(recalls) if recall is not None)
        worst = ", ".join(
            f"{class_name(report, index)} {100 * recall:.1f} %" for recall, index in known[:_MOST_RECALLS]
        )
        more = " (all, and what is taken for what: MODEL_CARD.md)" if len(known) > _MOST_RECALLS else ""
        sentences.append(f"Recall of the found network by class, lowest first: {worst}{more}.")
    return [*sentences, f"MB: of the saved weights. ms: {report['latency']}."]


def better(report: Mapping[str, Any]) -> list[str]:
    """A sentence for each network with a higher test accuracy than the found one."""
    found, images = report["networks"]["found"], report["split"]["test_images"]
    sentences = []
    for name, other in report["networks"].items():
        more = other["test_accuracy"] - found["test_accuracy"]
        if more > 0:
            accuracies = (f"{100 * each['test_accuracy']:.2f} %" for each in (other, found))
            sentences.append(
                f"{name} is better than the found network: {' against '.join(accuracies)}, some {more * images:.0f} of "
                f"{images:,} test images more, by one run of each; it has {other['params'] / found['params']:.2g} times the "
                f"parameters and {other['macs'] / found['macs']:.2g} times the multiply-adds."
            )
    return sentences
