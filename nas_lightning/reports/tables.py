"""The summary table: finished searches, or evaluations, grouped over seeds by whatever else differs among them."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas_lightning.errors import UserError
from nas_lightning.escapes import csv_cell
from nas_lightning.reports.grid import Grid
from nas_lightning.reports.runs import SCORE_NAMES, Run, are_tabulated, config_value, score_heading
from nas_lightning.reports.statistic import Statistic, count, finite

_MOST_SETTINGS = 500
_LONG = 10  # characters of a number
_SAID = 6  # seeds of a setting
_RESULTS = (*SCORE_NAMES, "test_accuracy")  # what a search or training is for, by the beginning of their columns' names
_FIELDS = ("experiment", "method", "space", "dataset", "recipe")


@dataclass(frozen=True)
class Measure:
    """A column of numbers: heading, its name in CSV (with the unit), decimals shown, and its statistic over runs.

    printed: of a publication, which does not say over how many runs; its n is 1.
    """

    heading: str
    csv_name: str
    decimals: int
    statistic: Callable[[Sequence[Run]], Statistic]
    printed: bool = False


@dataclass(frozen=True)
class Row:
    """One group of seeds: its settings (same order as `Summary.settings`), its runs, a statistic for every measure."""

    settings: tuple[str, ...]
    runs: tuple[Run, ...]
    statistics: tuple[Statistic, ...]


@dataclass(frozen=True)
class Summary:
    """`settings` names what differs among the finished runs; `unfinished`, `failed` and `broken` runs are in no row."""

    settings: tuple[str, ...]
    measures: tuple[Measure, ...]
    rows: tuple[Row, ...]
    unfinished: tuple[Run, ...]
    failed: tuple[Run, ...]
    broken: tuple[Run, ...]


def summary(runs: Sequence[Run], measures: Sequence[Measure] = ()) -> Summary:
    """Group the finished runs by every setting that differs among them, the seed excepted; without `measures` the usual ones.

    Settings are the experiment, method, space, data set and recipe, and the overrides of the command line (of networks, as
    `trained_networks` has them, also those of the search); a run that does not override a setting shows the value of its
    resolved config, or a blank when that is not a single value and for a search's. UserError where they differ in more than a
    table can show.
    """
    finished = [run for run in runs if run.report is not None]
    reports = [run.report for run in finished if run.report is not None]
    keys = {key: None for report in reports for key in _overrides(report)}
    candidates = [*_FIELDS, *(key for key in keys if key not in _FIELDS and is_setting(key))]
    if len(candidates) > _MOST_SETTINGS:
        raise UserError(
            f"these runs set {len(candidates):,} keys of their configs, of which {_MOST_SETTINGS} fit in a table; give fewer "
            "folders."
        )
    values = {key: _column(reports, key) for key in candidates}
    settings = tuple(
        key
        for key, column in values.items()
        if _differs(key, column, reports) and not _is_named(key, column, values["method"])
    )
    measures = tuple(measures) or _measures(reports)
    groups: dict[tuple[str, ...], list[Run]] = {}
    for index, run in enumerate(finished):
        groups.setdefault(tuple(values[key][index] for key in settings), []).append(run)
    rows = [
        Row(group, tuple(members), tuple(measure.statistic(members) for measure in measures))
        for group, members in groups.items()
    ]
    return Summary(
        settings=settings,
        measures=measures,
        rows=tuple(sorted(rows, key=lambda row: [natural(value) for value in row.settings])),
        unfinished=tuple(run for run in runs if run.report is None and not run.cause),
        failed=tuple(run for run in runs if run.failed),
        broken=tuple(run for run in runs if run.cause and not run.failed),
    )


def _column(reports: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """The setting in each report; off where it is a flag that a report's version did not have yet.

    A network that was trained is "found" where its report does not say by which method.
    """
    column = [setting(report, key) for report in reports]
    if key == "method":
        is_trained = (report.get("kind") == "evaluation" for report in reports)
        return [value or "found" * trained for value, trained in zip(column, is_trained, strict=True)]
    of_search = key.startswith("search.")  # of which there are the overrides alone
    lacks_flag = {*column} == {"", "True", "False"} and not of_search
    return [value or "False" for value in column] if lacks_flag else column


def _differs(key: str, column: Sequence[str], reports: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the setting has two values; baselines were found by no search, and tell nothing of it."""
    of_the_found = key in ("run", "genotype") or key.startswith("search.")
    told = [value for value, report in zip(column, reports, strict=True) if not (of_the_found and "baseline" in report)]
    return len(set(told)) > 1


def _is_named(key: str, column: Sequence[str], methods: Sequence[str]) -> bool:
    """Whether the methods' names tell the setting wherever it is made: edd + penalty=beta_decay tells penalty."""
    made = f" + {key.removeprefix('search.')}="
    return all((f"{made}{value}" in method) == bool(value) for value, method in zip(column, methods, strict=True))


def by_experiment(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The finished runs of each experiment, in the order of their names."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.report is not None:
            groups.setdefault(run.report["experiment"], []).append(run)
    return dict(sorted(groups.items()))


def group_names(table: Summary) -> dict[str, tuple[Run, ...]]:
    """A short name for every row, for a figure's legend: `edd, lam=0.06` (method, space, ... without their key).

    An override without which no two rows are alike is left out; the summary table has it. A single row goes by its method.
    """
    kept = list(range(len(table.settings)))
    for index in reversed([index for index, key in enumerate(table.settings) if key not in _FIELDS]):
        without = [other for other in kept if other != index]
        if len({tuple(row.settings[i] for i in without) for row in table.rows}) == len(table.rows):
            kept = without
    keys = _short_keys(table.settings)
    names: dict[str, tuple[Run, ...]] = {}
    for row in table.rows:
        parts: list[str] = []
        for index in kept:
            if value := row.settings[index]:
                key = f"{table.settings[index]}=" if value in parts else keys[index]  # the method and the space darts
                parts.append(key + value)
        name = ", ".join(parts) or ("default" if kept else _whole(row))
        if name in names:  # they differ in which key has the value
            name = ", ".join(f"{key}={value}" for key, value in zip(table.settings, row.settings, strict=True))
        names[name] = row.runs
    return names


def _whole(row: Row) -> str:
    """What a table's only row is called."""
    return next((str(run.report["method"]) for run in row.runs if run.report and run.report.get("method")), "all runs")


def _short_keys(settings: Sequence[str]) -> list[str]:
    """`lam=` for sched.lam where no other setting ends so, nothing for method, space, ..."""
    last = Counter(key.rpartition(".")[2] for key in settings)
    short = (key.rpartition(".")[2] if last[key.rpartition(".")[2]] == 1 else key for key in settings)
    return ["" if key in _FIELDS else f"{name}=" for key, name in zip(settings, short, strict=True)]


def grid(table: Summary) -> Grid:
    """Settings, n, and `mean ± std` of every measure that any run has."""
    known = [index for index in range(len(table.measures)) if any(row.statistics[index].n for row in table.rows)]
    headings = (*table.settings, "n", *(table.measures[index].heading for index in known))
    shown = [_shorter([row.settings[index] for row in table.rows]) for index in range(len(table.settings))]
    rows = tuple(
        (
            *(column[row.settings[index]] for index, column in enumerate(shown)),
            str(len(row.runs)),
            *(_cell(row, table, index) for index in known),
        )
        for row in table.rows
    )
    labels = len(table.settings)
    scores = [labels + 1 + at for at, index in enumerate(known) if table.measures[index].csv_name.startswith(_RESULTS)]
    return Grid(headings, rows, labels, main=scores[0] if scores else None)


def _shorter(values: Sequence[str]) -> dict[str, str]:
    """Each value -> what a cell shows of it: long numbers with six digits, where those tell all values apart."""
    shown = {value: _six_digits(value) for value in values}
    return shown if len(set(shown.values())) == len(shown) else {value: value for value in values}


def _six_digits(value: str) -> str:
    try:
        return value if len(value) <= _LONG or value.isdigit() else f"{float(value):.6g}"
    except ValueError:
        return value


def as_csv(table: Summary) -> str:
    """Full precision: settings, n (runs), then mean, std and n (values) of every measure; blank where there is none."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = [f"{measure.csv_name}_{part}" for measure in table.measures for part in ("mean", "std", "n")]
    writer.writerow([*map(csv_cell, table.settings), "n", *map(csv_cell, columns)])
    for row in table.rows:
        numbers = [value for each in row.statistics for value in (each.mean, each.std, each.n)]
        writer.writerow([*map(csv_cell, row.settings), len(row.runs), *numbers])
    return file.getvalue()


def notes(table: Summary) -> list[str]:
    """A line for every setting of which seeds count twice, for scores of several tables, for every unfinished run (with its
    epochs), failed and broken run (with the cause).

    More than five of one cause share a line.
    """
    lines = []
    for name, runs in group_names(table).items():
        seeds = Counter(seed_of(run.report) for run in runs if run.report and "seed" in run.report)
        repeated = sorted((seed for seed, times in seeds.items() if times > 1), key=natural)
        told = [f"{seeds[seed]} runs have seed {seed}" for seed in repeated[:_SAID]]
        if len(repeated) > _SAID:
            told.append(f"{count(len(repeated) - _SAID, 'other seed')} likewise")
        if told:
            lines.append(f"repeated: {name}: {', '.join(told)}, and n counts each of them")
    scored = [run.report for row in table.rows for run in row.runs if run.report and run.report["scores"]]
    sources = Counter(", ".join(report["table"]) for report in scored if report.get("table"))
    if len(sources) > 1:
        listed = "; ".join(f"{name} ({count(times, 'run')})" for name, times in sources.most_common())
        lines.append(f"scored by different tables: {listed}")
    for run in table.unfinished:
        lines.append(f"unfinished: {run.folder}: {run.epochs} epoch{'' if run.epochs == 1 else 's'} done")
    return [*lines, *_causes("failed", table.failed), *_causes("broken", table.broken)]


def _causes(state: str, runs: Sequence[Run]) -> Iterator[str]:
    by_cause: dict[str, list[Run]] = {}
    for run in runs:
        by_cause.setdefault(run.cause, []).append(run)
    for cause, alike in by_cause.items():
        if len(alike) > 5:
            yield f"{state}: {alike[0].folder} and {len(alike) - 1} more: {cause}"
        else:
            yield from (f"{state}: {run.folder}: {cause}" for run in alike)


def _overrides(report: Mapping[str, Any]) -> dict[str, str]:
    """Hydra's overrides by key, without the `+` and `++` of added keys; mappings and lists as Hydra writes them in a sweep."""
    pairs = (override.lstrip("+").partition("=") for override in report["overrides"])
    return {key: compact(value) for key, _, value in pairs}


def compact(value: str) -> str:
    """A mapping or list without the spaces around brackets, colons and commas, as Hydra writes it in a sweep: one text however
    it was typed. Other values, and what is in quotes, stay."""
    if value[:1] not in ("{", "["):
        return value
    return re.sub(r"""('[^']*'|"[^"]*")|\s*([{}\[\]:,])\s*""", lambda found: found[1] or found[2], value)


def is_setting(key: str) -> bool:
    """Whether an override of `key` changes what is computed of a search or a network, the seed apart."""
    apart = ("seed", "name", "logger", "run_dir", "baselines", "mac_limit", "export")
    of = key.removeprefix("search.")
    return of not in apart and not of.startswith(("hydra.", "hydra/", "logger.", "export."))


def seed_of(report: Mapping[str, Any]) -> str:
    """The seed, of a found network's training with that of the search where it is another: "0, search 1"."""
    seed, search = report.get("seed", ""), report.get("search")
    return str(seed) if search is None or search["seed"] == seed else f"{seed}, search {search['seed']}"


def setting(report: Mapping[str, Any], key: str) -> str:
    """The config's value where it is a single one, so that 0.060 and an untouched default of 0.06 are the same.

    Of the search that found a network (`search.<key>`) there are the overrides alone.
    """
    if key in _FIELDS:
        return str(report.get(key) or "")
    value = config_value(report, key)
    if isinstance(value, str | int | float):
        return str(value)
    return _overrides(report).get(key, "")


def _score_keys(reports: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The three test columns of 200 epochs where any run has one, else every score there is."""
    present = {key: None for report in reports for key in report["scores"]}
    return tuple(key for key in SCORE_NAMES if key in present) or tuple(present)


def _measures(reports: Sequence[Mapping[str, Any]]) -> tuple[Measure, ...]:
    are_these = are_tabulated(reports)
    scores = tuple(
        _reported(score_heading(key, are_these), f"{key}_percent", 2, _under("scores", key))
        for key in _score_keys(reports)
    )
    seconds = _reported("seconds", "seconds", 0, lambda report: report.get("seconds"))
    if any(report.get("kind") == "evaluation" for report in reports):
        return (
            _reported("test (%)", "test_accuracy_percent", 2, lambda report: _percent(report.get("test_accuracy"))),
            _reported("majority (%)", "majority_percent", 2, lambda report: _percent(_majority_share(report))),
            *scores,
            _reported("parameters (M)", "params_millions", 3, lambda report: report["params"] / 1e6),
            _reported("multiply-adds (M)", "macs_millions", 1, lambda report: report["macs"] / 1e6),
            seconds,
        )
    discrete = _under("final", "discrete_accuracy")
    return (
        _reported("entropy (nats)", "entropy_nats", 3, _under("final", "entropy")),
        _reported("discretised (%)", "discrete_accuracy_percent", 2, lambda report: _percent(discrete(report))),
        *scores,
        seconds,
    )


def _reported(heading: str, csv_name: str, decimals: int, value: Callable[[Mapping[str, Any]], Any]) -> Measure:
    def statistic(runs: Sequence[Run]) -> Statistic:
        return Statistic.of(finite(value(run.report)) for run in runs if run.report is not None)

    return Measure(heading, csv_name, decimals, statistic)


def _majority_share(report: Mapping[str, Any]) -> Any:
    """What always answering the most frequent class of the test images would give; the report may be anybody's."""
    by_class = report.get("classwise")
    majority = by_class.get("majority") if isinstance(by_class, dict) else None
    return majority.get("share") if isinstance(majority, dict) else None


def _under(part: str, key: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda report: report[part].get(key)


def _percent(fraction: Any) -> float | None:
    number = finite(fraction)
    return None if number is None else 100 * number


def _cell(row: Row, table: Summary, index: int) -> str:
    measure, statistic = table.measures[index], row.statistics[index]
    return statistic.shown(measure.decimals, statistic.n if measure.printed else len(row.runs))


def natural(value: str) -> tuple[int, float, str]:
    """Sorts numbers by size and before words."""
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value
