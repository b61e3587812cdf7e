"""The panel that a search prints when it ends."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from nas_lightning.costs import budget_sentence
from nas_lightning.escapes import visible
from nas_lightning.reports.runs import SCORE_NAMES, images_of, is_tabulated
from nas_lightning.reports.statistic import count

_PANEL_WIDTH = 100
_NARROWEST = 60
"""Columns below which a panel would cut its labels."""

_FILES = {
    "genotype.json": "the architecture",
    "cell.svg": "its drawing",
    "entropy.png": "the search, epoch by epoch",
    "metrics.csv": "the numbers of every epoch",
    "report.json": "everything about this run",
}


def titled(report: Mapping[str, Any]) -> str:
    """What was searched, by what, on what."""
    method, space, seed = (report.get(key, "?") for key in ("method", "space", "seed"))
    return f"{method} on {space}, {images_of(report)}, seed {seed}"


def print_found(report: Mapping[str, Any], folder: Path, console: Console) -> None:
    """What was found, how sure the search was, what the benchmark's table says, and where the files are.

    `report` has the keys of `report.json`; only files that are in `folder` are listed.
    """
    if console.width >= _NARROWEST:
        console.print(_panel(report, folder))
    else:
        lines = (Text(f"{label} ") + value for label, value in _results(report))
        console.print(Text(visible(titled(report))), *lines, sep="\n", soft_wrap=True)
    if console.width < _PANEL_WIDTH:  # a panel has broken both over several lines, where they cannot be copied
        for line in (f"Architecture {report['architecture']}", f"Files in {folder}"):
            console.print(Text(visible(line)), soft_wrap=True)


def _panel(report: Mapping[str, Any], folder: Path) -> Panel:
    results = Table.grid(padding=(0, 2))
    results.add_column(style="dim", no_wrap=True)
    results.add_column()
    for label, value in _results(report):
        results.add_row(label, value)
    files = Table.grid(padding=(0, 2))
    files.add_column(style="cyan", no_wrap=True)
    files.add_column(style="dim")
    for name, meaning in _FILES.items():
        if (folder / name).exists():
            files.add_row(f"  {name}", meaning)
    place = Text(visible(folder), style="bold", overflow="fold")
    # On a line of its own: the longest string of NAS-Bench-201 just fits.
    architecture = Text(visible(report["architecture"]), style="bold", overflow="fold")
    title = Text(visible(titled(report)), style="green", overflow="fold")
    found: list[RenderableType] = [title, Text(), architecture, Text(), results]
    return Panel(
        Group(*found, Text(), Text("Files in ", style="dim") + place, files),
        title=Text(" Search finished ", style="bold green"),
        border_style="green",
        padding=1,
        width=_PANEL_WIDTH,
    )


def _results(report: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    final = report["final"]
    yield "entropy", _number(final.get("entropy"), ".3f", " nats, mean over edges")
    yield "temperature", _number(final.get("temperature"), ".3g", "")
    accuracy = final.get("discrete_accuracy")
    split = report.get("split", {})
    measured_on = split.get("measured_on", "the validation half")
    way = report.get("config", {}).get("model", {}).get("discretise", "derived")
    how = "" if way == "derived" else f", measured with model.discretise={way}"
    yield "discretised accuracy", _number(accuracy and 100 * accuracy, ".2f", f" % on {measured_on}{how}")
    if split.get("caution"):
        yield "caution", Text(split["caution"], style="bold red")
    elsewhere = report["scores"] and not is_tabulated(report.get("dataset"))
    yield "table, if trained on" if elsewhere else "table, test accuracy", _scores(report["scores"])
    if "budget" in report:
        yield "budget", Text(f"as trained, {budget_sentence(report['budget'])}")
    yield (
        "wall time",
        Text(f"{_duration(report['seconds'])} for {count(report['epochs'], 'epoch')} on {report['device']}"),
    )


def _number(value: float | None, form: str, unit: str) -> Text:
    return Text("not measured", style="dim") if value is None else Text(f"{value:{form}}", style="bold") + Text(unit)


def _scores(scores: Mapping[str, float]) -> Text:
    if not scores:
        return Text("no benchmark table in this run", style="dim")
    names = {key: name for key, name in SCORE_NAMES.items() if key in scores} or {key: key for key in scores}
    parts = (Text(f"{name} ") + Text(f"{scores[key]:.2f} %", style="bold") for key, name in names.items())
    return Text("   ").join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
