"""What an evaluation prints when it ends: its networks side by side, and what the numbers are to be held against."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nas_lightning.escapes import visible
from nas_lightning.reports.runs import SCORE_NAMES

_MOST_RECALLS = 5


def print_evaluation(report: Mapping[str, Any], place: Path, mac_limit: float | None) -> None:
    """`report` has the keys of an evaluation's report.json, `place` is its file. mac_limit: of multiply-adds, or None."""
    console = Console()

    def say(sentence: str) -> None:
        console.print(Text(visible(sentence)), soft_wrap=True)

    for name, network in report["networks"].items():
        say(f"{name}: {network['architecture']}")
    console.print(_table(report))
    if "test_accuracy" in report:
        for sentence in _held_against(report):
            say(sentence)
    if mac_limit is not None:
        macs = report["macs"]
        verdict = "within" if macs <= mac_limit else "WARNING: beyond"
        say(f"{macs:,} multiply-adds: {verdict} the limit of {mac_limit:,}.")
    say(f"Written to {place}")


def class_name(report: Mapping[str, Any], index: int) -> str:
    """Of an evaluation's report; "class 3", counted from 0, where it holds no names."""
    names = report.get("classes")
    return f"class {index}" if names is None else str(names[index])


def _table(report: Mapping[str, Any]) -> Table:
    scores = report["scores"]
    headings = {key: f"{name} %" for key, name in SCORE_NAMES.items() if key in scores} or {key: key for key in scores}
    trained = "test_accuracy" in report
    table = Table(title=Text(visible(f"{report['space']}, {report['dataset']}")), title_justify="left")
    table.add_column("network")
    accuracies = ["trained here, test %"] if trained else []
    measured = ["MB", "ms"] if trained else []
    for heading in ("parameters", "multiply-adds", *measured, *accuracies, *headings.values()):
        table.add_column(Text(visible(heading)), justify="right")
    for name, network in report["networks"].items():
        accuracy = [f"{100 * network['test_accuracy']:.2f}"] if trained else []
        looked_up = [f"{network['scores'][key]:.2f}" if key in network["scores"] else "" for key in headings]
        table.add_row(
            Text(visible(name)),
            f"{network['params']:,}",
            f"{network['macs']:,}",
            *([f"{network['file_bytes'] / 1e6:.2f}", f"{network['latency_ms']:.2f}"] if trained else []),
            *accuracy,
            *looked_up,
        )
    if trained:
        majority = report["classwise"]["majority"]
        always = Text(visible(f"always {class_name(report, majority['class'])}"), overflow="ellipsis")
        table.add_row(always, "", "", "", "", f"{100 * majority['share']:.2f}")
    return table


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
