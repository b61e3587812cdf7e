"""One self-contained HTML file for a few searches: table, curves, cells, configs. It needs no server and no network."""

import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from nas_lightning import escapes
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.files import write_text_atomically
from nas_lightning.reports import tables
from nas_lightning.reports.architecture import plot_beta, plot_trajectories
from nas_lightning.reports.cells import draw_cell
from nas_lightning.reports.figures import plot_comparison, plot_search
from nas_lightning.reports.grid import Grid
from nas_lightning.reports.runs import Run, read_metrics

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; border-top: 1px solid #ddd; padding-top: 1rem; overflow-wrap: anywhere }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto }
th, td { text-align: right; padding: .25rem .7rem; border-bottom: 1px solid #e6e6e6; vertical-align: top }
th { vertical-align: bottom }
th:not(.n), td:not(.n) { text-align: left } td.n { white-space: nowrap }
svg { max-width: 100%; height: auto; display: block; margin: .5rem 0 }
pre { overflow-x: auto; background: #f6f6f6; padding: 1rem }
summary { cursor: pointer; font-weight: 600; margin-top: .5rem } .note { color: #555; overflow-wrap: anywhere }
"""
# A second fence behind the escapes: no script, and nothing from elsewhere.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_FACTS = (
    "method",
    "architecture",
    "seed",
    "selection",
    "epochs",
    "seconds",
    "processor_seconds",
    "device",
    "threads",
    "peak_memory_mb",
    "source",
    "commit",
    "dirty",
)


def write_page(runs: Sequence[Run], path: Path) -> None:
    """Write `path`: the summary table, the curves of all settings, and a section for every finished run of `runs`.

    UserError when no run is finished or a finished run's `metrics.csv` cannot be read.
    """
    table = tables.summary(runs)
    if not table.rows:
        raise UserError(f"no run for {path} is finished; let a search end first.")
    with tempfile.TemporaryDirectory() as folder:
        draw = _Drawer(Path(folder))
        groups = tables.group_names(table)
        title = ", ".join(sorted({str(run.report["experiment"]) for run in runs if run.report}))
        parts = [
            f"<h1>{escapes.html(title)}</h1>",
            _html_table(tables.grid(table)),
            "".join(f'<p class="note">{escapes.html(note)}</p>' for note in tables.notes(table)),
            draw(lambda place: plot_comparison(groups, place)),
            draw(lambda place: plot_comparison(groups, place, name="temperature")),
            *(_section(run, draw) for row in table.rows for run in row.runs),
        ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><title>{escapes.html(title)}</title>'
    )
    body = "\n".join(parts)
    write_text_atomically(
        path,
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n',
    )


class _Drawer:
    """Calls a drawing function with a place in `folder` and gives its SVG as text for a page with many of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def __call__(self, draw: Callable[[Path], None]) -> str:
        self.count += 1
        place = self.folder / f"drawing{self.count}"
        draw(place)
        svg = place.with_suffix(".svg").read_text(encoding="utf-8")
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)  # names of schemas, which are addresses
        # Every drawing numbers its parts from the start; one page needs them apart.
        return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>d{self.count}-", svg)


def _section(run: Run, draw: _Drawer) -> str:
    report = run.report
    assert report is not None
    genotype = Genotype.from_json(json.dumps(report.get("genotype")), str(run.folder))
    facts = {key: report[key] for key in _FACTS if key in report}
    facts |= {f"score {key} (%)": value for key, value in report["scores"].items()}
    if caution := report.get("split", {}).get("caution"):
        facts["caution"] = caution
    if report["scores"] and report.get("table"):
        facts["table"] = ", ".join(report["table"])
    parts = [
        f"<h2>{escapes.html(str(run.folder.name))}</h2>",
        _html_table(Grid(("", ""), tuple((name, str(value)) for name, value in facts.items()), labels=2)),
        draw(lambda place: draw_cell(genotype, place)),
        draw(lambda place: plot_search(run.metrics, place, "")),
    ]
    architecture = run.folder / "architecture.csv"
    if architecture.exists():  # runs of before it was kept have none
        columns = read_metrics(architecture)
        last = int(max(columns["epoch"], default=0))
        parts += [
            draw(lambda place: plot_beta(columns, last, place)),
            draw(lambda place: plot_trajectories(columns, "alpha", place)),
            draw(lambda place: plot_trajectories(columns, "beta", place)),
        ]
    parts += [_details("config", report["config"]), _details("final values", report["final"])]
    return "\n".join(parts)


def _details(name: str, values: Mapping[str, Any]) -> str:
    text = yaml.safe_dump(dict(values), sort_keys=False)
    lines = "\n".join(map(escapes.html, text.split("\n")))
    return f"<details><summary>{escapes.html(name)}</summary><pre>{lines}</pre></details>"


def _html_table(grid: Grid) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        marks = ["" if index < grid.labels else ' class="n"' for index in range(len(cells))]
        return f"<tr>{''.join(f'<{tag}{m}>{escapes.html(c)}</{tag}>' for c, m in zip(cells, marks, strict=True))}</tr>"

    head = line(grid.headings, "th") if any(grid.headings) else ""
    return f"<table>{head}{''.join(line(row, 'td') for row in grid.rows)}</table>"
