"""The columns of a summary that are asked for by name."""

from collections.abc import Sequence

from nas_lightning.errors import UserError
from nas_lightning.reports import paper_tables
from nas_lightning.reports.comparison import best_and_last, choose_metric
from nas_lightning.reports.groups import Group
from nas_lightning.reports.runs import Run
from nas_lightning.reports.statistic import Statistic
from nas_lightning.reports.tables import Measure

_OPTION = "--columns"


def named_columns(names: Sequence[str], runs: Sequence[Run]) -> list[Measure]:
    """`table1/cifar10_test`: a column of a table of the paper, for the runs that stand in one row of it; `best/<metric>`: its
    largest value over the epochs of each run; else a metric as comparisons have them (`comparison.Metric`).

    UserError for a column that the paper's table lacks or no run has.
    """
    return [_column(name, runs) for name in names]


def _column(name: str, runs: Sequence[Run]) -> Measure:
    first, _, rest = name.partition("/")
    if first in paper_tables.table_names():
        return _of_the_paper(name, first, rest, runs)
    group = Group("these", tuple(runs))
    if first != "best" or not rest:
        metric = choose_metric(name, [group], _OPTION)
        return Measure(metric.heading, name, metric.decimals, lambda members: Statistic.of(map(metric.result, members)))
    metric = choose_metric(rest, [group], _OPTION)
    if best_and_last(name, runs, metric) is None:
        raise UserError(f"no run has {rest} over its epochs; leave {name} out of {_OPTION}.")

    def best(members: Sequence[Run]) -> Statistic:
        found = best_and_last(name, members, metric)
        return found.best if found else Statistic.of([])

    return Measure(f"best epoch: {metric.heading}", name, metric.decimals, best)


def _of_the_paper(name: str, of: str, column: str, runs: Sequence[Run]) -> Measure:
    table = paper_tables.paper_table(of)
    measures = {measure.name: (index, measure) for index, measure in enumerate(table.measures)}
    if column not in measures:
        known = ", ".join(f"{of}/{each}" for each in measures)
        raise UserError(f"{name} is no column of the paper's; give {_OPTION} one of {known}.")
    index, measure = measures[column]
    lines = paper_tables.compare(table, runs)

    def printed(members: Sequence[Run]) -> Statistic:
        folders = {run.folder for run in members}
        rows = {line.labels: line.paper[index] for line in lines if any(run.folder in folders for run in line.runs)}
        return next(iter(rows.values())) if len(rows) == 1 else Statistic.of([])

    title, _, _ = table.title.partition(":")
    return Measure(
        f"paper, {title[:1].lower()}{title[1:]}: {measure.heading}",
        name,
        measure.decimals,
        printed,
        printed=True,
    )
