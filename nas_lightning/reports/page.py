"""One self-contained HTML file of searches, to be sent: what, when and where, tables, curves, cells, each run.

Tables, cells and settings are there without a script. Curves are drawn by Plotly, which is in the file; a policy in its head
allows that script and `page.js` by their digests, and nothing from elsewhere.
"""

import base64
import hashlib
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_lightning import escapes
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.files import write_text_atomically
from nas_lightning.reports import tables
from nas_lightning.reports.architecture import edges, names_of
from nas_lightning.reports.cell_layout import nodes_of
from nas_lightning.reports.page_cells import cell_drawings
from nas_lightning.reports.page_curves import MOST_LINES, MOST_PANELS, as_json, comparison_figures, run_figures
from nas_lightning.reports.page_html import (
    LONGEST,
    facts_list,
    folded,
    left_out,
    number_cell,
    plain,
    short,
    sortable_table,
    table_row,
)  # fmt: skip
from nas_lightning.reports.page_networks import networks_section
from nas_lightning.reports.runs import SCORE_NAMES, Run, images_of, is_tabulated, read_metrics
from nas_lightning.reports.statistic import Statistic, count, finite
from nas_lightning.reports.tables import Measure, Summary

MOST_DETAILED, MOST_DRAWN = 60, 30
"""Runs with a section of their own, and architectures in the gallery: the best ones."""
_SAID = 6
_FACTS = (
    "method", "architecture", "seed", "selection", "epochs", "seconds", "processor_seconds", "device", "threads",
    "peak_memory_mb", "source", "commit", "dirty",
)  # fmt: skip


@dataclass(frozen=True)
class _Entry:
    """A finished run as the page calls it; `result` is what the best is chosen by, None without one."""

    run: Run
    report: Mapping[str, Any]
    name: str
    place: str
    result: float | None
    genotype: Genotype | None


def write_page(runs: Sequence[Run], path: Path, evaluations: Sequence[Run] = ()) -> None:
    """Write `path`, with what `evaluations` have trained.

    Of many runs the best `MOST_DETAILED` have a section, of many settings the first are drawn. UserError when no run is
    finished, or more settings differ than a table can show.
    """
    table = tables.summary(runs)
    if not table.rows:
        lost = next((f" ({count(len(runs), 'run')}: {run.cause.rstrip('.')})" for run in runs if run.cause), "")
        raise UserError(f"no run for {path} is finished{lost}; let a search end first.")
    entries = _entries(table)
    detailed = sorted(entries, key=lambda entry: -(entry.result or 0.0))[:MOST_DETAILED]
    best = _best(entries)
    title = ", ".join(
        sorted({escapes.shortened(str(entry.report["experiment"]), LONGEST) for entry in entries})[:_SAID]
    )
    parts = [
        f"<header><h1>{escapes.html(title)}</h1>{facts_list(_origin(entries, table))}{_winners(entries, best)}</header>",
        _settings_table(table),
        _runs_table(entries, table, best, {entry.place for entry in detailed}),
        _troubles(table),
        _curves(table),
        _gallery(entries, best, {entry.place for entry in detailed}),
        networks_section(evaluations),
        "<h2>Each run</h2>",
        left_out(
            "runs", len(detailed), len(entries), "have a section here; report.json in the others' folders has all."
        ),
        *(_section(entry, entry in best) for entry in entries if entry in detailed),
    ]
    write_text_atomically(path, _document(title, "\n".join(parts)))


def _document(title: str, body: str) -> str:
    from plotly.offline import get_plotlyjs

    scripts = [get_plotlyjs(), _asset("page.js")]
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escapes.html(title)}</title>'
    )
    last = "".join(f"<script>{script}</script>\n" for script in scripts)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{_asset("page.css")}</style></head>\n'
        f"<body><main>\n{body}\n</main>\n{last}</body></html>\n"
    )


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _entries(table: Summary) -> list[_Entry]:
    """In the order of the table; names are settings and seed, and the folder's where two runs have the same."""
    named = [
        (run, f"{name}, seed {run.report['seed']}" if run.report and "seed" in run.report else name)
        for name, group in tables.group_names(table).items()
        for run in sorted(group, key=lambda run: tables.natural(tables.seed_of(run.report or {})))
    ]
    times = Counter(name for _, name in named)
    entries = []
    for number, (run, name) in enumerate(named, start=1):
        assert run.report is not None
        shown = name if times[name] == 1 else f"{name} ({run.folder.name})"
        entries.append(_Entry(run, run.report, shown, f"run-{number}", _result(run.report), run.known_genotype))
    return entries


def _result(report: Mapping[str, Any]) -> float | None:
    """Percent: the first of the table's test accuracies, else that of the discretised supernet."""
    score = next((key for key in SCORE_NAMES if key in report["scores"]), None)
    if score:
        return finite(report["scores"][score])
    accuracy = finite(report["final"].get("discrete_accuracy"))
    return None if accuracy is None else 100 * accuracy


def _kind(report: Mapping[str, Any]) -> tuple[str, ...]:
    """What results must share to be comparable: what was measured, on which space and data set."""
    score = next((key for key in SCORE_NAMES if key in report["scores"]), None)
    measured = f"{SCORE_NAMES[score]} test accuracy in the table" if score else "discretised validation accuracy"
    return measured, report["space"], images_of(report)


def _best(entries: Sequence[_Entry]) -> list[_Entry]:
    """The best of each kind of result with two runs or more; all that are equally good."""
    kinds: dict[tuple[str, ...], list[_Entry]] = {}
    for entry in entries:
        if entry.result is not None:
            kinds.setdefault(_kind(entry.report), []).append(entry)
    return [
        e
        for alike in kinds.values()
        if len(alike) > 1
        for e in alike
        if e.result == max(o.result or 0.0 for o in alike)
    ]


def _winners(entries: Sequence[_Entry], best: Sequence[_Entry]) -> str:
    said = []
    for kind in dict.fromkeys(_kind(entry.report) for entry in best):
        alike = [entry for entry in best if _kind(entry.report) == kind]
        links = ", ".join(f'<a href="#{entry.place}">{short(entry.name)}</a>' for entry in alike[:_SAID])
        more = f" and {len(alike) - _SAID} more" if len(alike) > _SAID else ""
        where = f" ({short(kind[1])}, {short(kind[2])})" if len({_kind(entry.report) for entry in entries}) > 1 else ""
        said.append(f"<p><strong>Best: {alike[0].result:.2f} %</strong> {kind[0]}{where}: {links}{more}</p>")
    caution = (
        '<p class="note">The best of several runs, chosen after the fact: means over seeds tell what to expect.</p>'
    )
    return f'<div class="winner">{"".join(said[:_SAID])}{caution}</div>' if said else ""


def _origin(entries: Sequence[_Entry], table: Summary) -> dict[str, str]:
    reports = [entry.report for entry in entries]
    others = ((table.unfinished, "unfinished"), (table.failed, "failed"), (table.broken, "broken"))
    states = [f"{count(len(entries), 'search')} finished", *(f"{len(runs)} {state}" for runs, state in others if runs)]
    dates = sorted({_date(entry) for entry in entries} - {""})
    recorded = all(_finished(report) for report in reports)
    machines = [f"{r.get('device', 'unknown')}, {_threads(r)}" for r in reports]
    commits = [_commit(report) for report in reports]
    versions = [report["versions"] for report in reports if isinstance(report.get("versions"), dict)]
    return {
        "what": f"{_counted(r['method'] for r in reports)} on {_counted(r['space'] for r in reports)}, data set "
        f"{_counted(map(images_of, reports))}, {_counted(_epochs(r) for r in reports)}",
        "runs": ", ".join(states),
        "when": f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))} (UTC{'' if recorded else ', by the dates of files'})"
        if dates
        else "unknown",
        "machine": _counted(machines),
        "commit": _counted(commits),
        "software": ", ".join(
            f"{name} {_counted(str(each[name]) for each in versions if name in each)}"
            for name in ("nas-lightning", "torch", "python")
            if any(name in each for each in versions)
        ),
    }


def _counted(values: Iterable[str]) -> str:
    """`a`, or `a (2), b (1)`, the most frequent first."""
    times = Counter(escapes.shortened(str(value), LONGEST) for value in values)
    if len(times) == 1:
        return next(iter(times))
    listed = [f"{value} ({number})" for value, number in times.most_common(_SAID)]
    return ", ".join([*listed, *([f"and {len(times) - _SAID} more"] if len(times) > _SAID else [])])


def _date(entry: _Entry) -> str:
    """Its day, of reports that lack it that of the file."""
    try:
        written = time.gmtime((entry.run.folder / "report.json").stat().st_mtime)
        return _finished(entry.report) or time.strftime("%Y-%m-%d", written)
    except (OSError, ValueError, OverflowError):
        return ""


def _finished(report: Mapping[str, Any]) -> str:
    day = re.match(r"\d{4}-\d\d-\d\dT", str(report.get("finished", "")))
    return day[0][:-1] if day else ""


def _threads(report: Mapping[str, Any]) -> str:
    threads = report.get("threads")
    return count(threads, "thread") if isinstance(threads, int) else "threads unknown"


def _epochs(report: Mapping[str, Any]) -> str:
    return count(report["epochs"], "epoch") if "epochs" in report else "epochs unknown"


def _commit(report: Mapping[str, Any]) -> str:
    commit = report.get("commit")
    if not isinstance(commit, str):
        return f"none ({report['source']})" if isinstance(report.get("source"), str) else "unknown"
    return f"{commit[:7]} with uncommitted changes" if report.get("dirty") else commit[:7]


def _settings_table(table: Summary) -> str:
    """Means over seeds, where any setting has several."""
    if all(len(row.runs) == 1 for row in table.rows):
        return ""
    form = tables.grid(table)
    rows = [table_row(row, form.labels) for row in form.rows]
    note = '<p class="note">Mean ± sample standard deviation over n runs.</p>'
    return f"<h2>Settings</h2>{note}{sortable_table(form.headings, rows, form.labels)}"


def _runs_table(entries: Sequence[_Entry], table: Summary, best: Sequence[_Entry], linked: set[str]) -> str:
    measures = [measure for measure in table.measures if any(_value(measure, entry) is not None for entry in entries)]
    measures.sort(
        key=lambda measure: not measure.csv_name.startswith((*SCORE_NAMES, "discrete"))
    )  # beside the name on a phone
    rows = []
    for entry in entries:
        name = escapes.html(escapes.shortened(entry.name, LONGEST))
        link = f'<a href="#{entry.place}">{name}</a>' if entry.place in linked else name
        mark = ' <strong class="badge">best</strong>' if entry in best else ""
        numbers = (number_cell(_value(measure, entry), measure.decimals) for measure in measures)
        first = f'<th scope="row">{link}{mark}</th>'
        rows.append(f"<tr{' class=best' if entry in best else ''}>{first}{''.join(numbers)}</tr>")
    return f"<h2>Runs</h2>{sortable_table(('run', *(measure.heading for measure in measures)), rows, 1)}"


def _value(measure: Measure, entry: _Entry) -> float | None:
    return measure.statistic([entry.run]).mean


def _troubles(table: Summary) -> str:
    """What is in no row, with its cause, and seeds that count twice."""
    notes = tables.notes(table)
    if not notes:
        return ""
    kinds = "".join(f"<li>{escapes.html(escapes.shortened(note, 1_000))}</li>" for note in notes[:200])
    more = left_out("lines", 200, len(notes), "are shown.")
    return f'<h2>Failed, unfinished or repeated runs</h2><ul class="troubles">{kinds}</ul>{more}'


def _curves(table: Summary) -> str:
    groups = tables.group_names(table)
    left = ""
    if len(groups) > MOST_PANELS:
        groups = dict(sorted(groups.items(), key=lambda item: -_mean_result(item[1])))
        left = left_out("settings", MOST_PANELS, len(groups), "are drawn at most, those with the best means.")
    figures = comparison_figures(groups)
    if not figures:
        return ""
    note = "The line is the mean over a setting's runs, the band reaches from their minimum to their maximum."
    if len(groups) > MOST_LINES:
        note = f"A panel for each setting, all on one scale. {note}"
    return f'<h2>Curves</h2><p class="note">{note}</p>{left}{_figure(figures)}'


def _mean_result(runs: Sequence[Run]) -> float:
    return Statistic.of([_result(run.report) for run in runs if run.report]).mean or 0.0


def _figure(figures: Any) -> str:
    return (
        f'<div class="figure"><script type="application/json">{as_json(figures)}</script><noscript><p class="note">'
        "Curves need JavaScript, which this viewer has switched off; open the file in a browser.</p></noscript></div>"
    )


def _gallery(entries: Sequence[_Entry], best: Sequence[_Entry], linked: set[str]) -> str:
    """Each architecture once, the best first, with the runs that have found it."""
    found: dict[Genotype, list[_Entry]] = {}
    for entry in sorted(entries, key=lambda entry: -(entry.result or 0.0)):
        if entry.genotype:
            found.setdefault(entry.genotype, []).append(entry)
    cards = [_card(genotype, alike, best, linked) for genotype, alike in list(found.items())[:MOST_DRAWN]]
    broken = sum(entry.genotype is None for entry in entries)
    unread = f'<p class="note">{count(broken, "run")} without a readable genotype.</p>' if broken else ""
    return (
        f"<h2>Found cells</h2>{left_out('architectures', MOST_DRAWN, len(found), 'are drawn, the best first.')}"
        f'{unread}<div class="gallery">{"".join(cards)}</div>'
    )


def _card(genotype: Genotype, entries: Sequence[_Entry], best: Sequence[_Entry], linked: set[str]) -> str:
    first = entries[0]
    mark = ' <strong class="badge">best</strong>' if any(entry in best for entry in entries) else ""
    scores = _scores(first.report)
    if not scores:  # measured by each search for itself
        scores = [f"{entry.result:.2f} % discretised" for entry in entries[:_SAID] if entry.result is not None]
    title = escapes.html(scores[0]) if scores else "no score"
    others = f'<p class="note">{escapes.html(" · ".join(scores[1:]))}</p>' if scores[1:] else ""
    long = " long" if any(len(nodes_of(choices)) > 4 for choices in genotype.cells.values()) else ""
    names = [
        f'<a href="#{e.place}">{short(e.name)}</a>' if e.place in linked else short(e.name) for e in entries[:_SAID]
    ]
    more = f" and {len(entries) - _SAID} more" if len(entries) > _SAID else ""
    return (
        f'<article class="card{long}{" best" if mark else ""}"><h3>{title}{mark}</h3>{others}'
        f"<p>{'found by ' if len(entries) > 1 else ''}{'; '.join(names)}{more}</p>{cell_drawings(genotype)}</article>"
    )


def _scores(report: Mapping[str, Any]) -> list[str]:
    keys = [key for key in SCORE_NAMES if key in report["scores"]] or list(report["scores"])[:3]
    values = ((SCORE_NAMES.get(key, plain(key)), finite(report["scores"][key])) for key in keys)
    condition = "" if is_tabulated(report["dataset"]) else "if trained on "
    return [f"{value:.2f} % {condition}{name}" for name, value in values if value is not None]


def _section(entry: _Entry, is_best: bool) -> str:
    report, run = entry.report, entry.run
    facts = {"folder": str(run.folder)} | {key: str(report[key]) for key in _FACTS if key in report}
    facts |= {f"score {key} (%)": str(value) for key, value in report["scores"].items()}
    if caution := report.get("split", {}).get("caution"):
        facts["caution"] = str(caution)
    if report["scores"] and report.get("table"):
        facts["table"] = ", ".join(report["table"])
    mark = ' <strong class="badge">best</strong>' if is_best else ""
    result = "" if entry.result is None else f' <span class="note">{entry.result:.2f} %</span>'
    return (
        f'<details class="run" id="{entry.place}"><summary>{short(entry.name)}{result}{mark}</summary>{facts_list(facts)}'
        f"{''.join(_drawn(entry))}{folded('config', report['config'])}{folded('final values', report['final'])}</details>"
    )


def _drawn(entry: _Entry) -> Iterator[str]:
    genotype = entry.genotype or Genotype("", {})
    file = entry.run.folder / "architecture.csv"
    try:
        columns = read_metrics(file) if file.exists() else {}  # runs of before it was kept have none
        yield _figure(run_figures(entry.run, genotype, columns))
        yield _last_beta(columns, genotype)
    except UserError as error:
        yield f'<p class="note">{escapes.html(error)}</p>'


def _last_beta(columns: Mapping[str, Sequence[float]], genotype: Genotype) -> str:
    by_edge = edges(columns, "beta")
    if not by_edge or not columns["epoch"]:
        return ""
    operations = list(dict.fromkeys(operation for values in by_edge.values() for operation in values))
    rows = []
    for name, values in zip(names_of(by_edge, genotype), by_edge.values(), strict=True):
        cells = (number_cell(finite(values[o][-1]) if o in values else None, 2) for o in operations)
        rows.append(f'<tr><th scope="row">{escapes.html(name)}</th>{"".join(cells)}</tr>')
    table = sortable_table(("edge", *operations), rows, 1)
    return f"<details><summary>β after epoch {columns['epoch'][-1]:.0f}</summary>{table}</details>"
