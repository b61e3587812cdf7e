"""`python -m nas_lightning.reports COMMAND`: tables, figures and pages from the files of runs."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from nas_lightning import escapes
from nas_lightning.errors import UserError, exit_status
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.files import write_text_atomically
from nas_lightning.records.folder import folder_name
from nas_lightning.reports import grid, paper_tables, tables
from nas_lightning.reports.architecture import plot_trajectories
from nas_lightning.reports.cells import draw_cell
from nas_lightning.reports.columns import named_columns
from nas_lightning.reports.comparison import Metric, choose_metric, clock_of
from nas_lightning.reports.comparison_tables import Table, anytime_csv, comparison_tables
from nas_lightning.reports.curves import COMPARISONS
from nas_lightning.reports.figures import plot_anytime, plot_comparison, plot_cost
from nas_lightning.reports.grid import Grid
from nas_lightning.reports.groups import Comparison, check_over, comparisons, find_groups, keys_asked
from nas_lightning.reports.page import write_page
from nas_lightning.reports.replacements import replacement_tables
from nas_lightning.reports.runs import Kind, Run, find_evaluations, find_runs, read_metrics
from nas_lightning.reports.statistic import count
from nas_lightning.reports.tables import Measure
from nas_lightning.reports.trained import trained_networks

_PAPER_ONLY = ("fig2a", "fig2b", "fig3")  # computed, no run needed
_FORMATS = ("table", "markdown", "latex", "csv")
_RUNS = "folders, or patterns of them in quotes; runs are found at any depth"


def main(arguments: Sequence[str] | None = None, program: str = "python -m nas_lightning.reports") -> int:
    """Run one command; 1 and one sentence on stderr for bad input."""
    options = _parser(program).parse_args(arguments)
    return exit_status(lambda: options.command(options))


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description="Tables, figures and pages from the files of runs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], None], help: str) -> argparse.ArgumentParser:
        each = commands.add_parser(name, help=help, description=help)
        each.set_defaults(command=command)
        each.add_argument(
            "runs",
            type=Path,
            nargs="+",
            metavar="RUNS",
            help=_RUNS,
        )
        return each

    _add_summary(
        add("summary", _summary, "searches and evaluations: mean ± standard deviation over seeds of whatever differs")
    )
    paper = commands.add_parser("table", help="a table of the paper with our runs beside it")
    paper.set_defaults(command=_table)
    paper.add_argument(
        "name", choices=("all", *paper_tables.table_names()), metavar="NAME", help="table1 ... table7c, all"
    )
    paper.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUNS",
        help=_RUNS,
    )
    paper.add_argument("--format", choices=_FORMATS, default="table")
    paper.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="also write each as Markdown, LaTeX and CSV")
    figure = commands.add_parser("figure", help="a figure of the paper or of searches, as SVG and PNG")
    figure.set_defaults(command=_figure)
    figure.add_argument("name", choices=(*_PAPER_ONLY, *COMPARISONS, "cost", "alpha", "beta", "cells"))
    figure.add_argument("runs", type=Path, nargs="*", metavar="RUNS", help=f"{_RUNS}; fig2a, fig2b and fig3 need none")
    figure.add_argument(
        "-o", "--output", type=Path, required=True, metavar="PATH",
        help="PATH.svg and PATH.png; of alpha, beta and cells a folder with a drawing of every run",
    )  # fmt: skip
    _add_compare(commands.add_parser("compare", help="groups of runs against each other: tests, intervals, curves"))
    _add_replaced(
        add("replaced", _replaced, "what the edges choose from epoch to epoch, what replaces what, what pulls at alpha")
    )
    page = add("html", _html, "one self-contained HTML page: table, curves, cells and configs of a few runs")
    page.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    return parser


def _add_summary(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=_FORMATS, default="table")
    parser.add_argument(
        "--columns", nargs="+", default=[], metavar="NAME",
        help="instead of the usual: what compare takes as --metric, best/NAME of it over the epochs, the paper's as "
        "table1/cifar10_test",
    )  # fmt: skip


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Groups of runs against each other: intervals, paired and unpaired tests, probability of improvement, regret, best "
        "epoch against last, rank correlation, anytime curves. Runs of different protocols are not compared."
    )
    parser.set_defaults(command=_compare)
    parser.add_argument(
        "groups",
        nargs="*",
        metavar="GROUP",
        help="a folder, a pattern of folders, or conditions on --runs: KEY=VALUE,...",
    )
    parser.add_argument(
        "--runs", type=Path, nargs="+", default=[], metavar="FOLDER", help=f"what conditions select from: {_RUNS}"
    )
    parser.add_argument("--by", metavar="KEY", help="a group for each value of KEY: method, sched.lam, space, ...")
    parser.add_argument(
        "--metric", metavar="NAME", help="table/cifar10_test_200, discrete_accuracy, entropy, seconds, ..."
    )
    parser.add_argument(
        "--predictor", metavar="NAME", help="what is correlated with it; discrete_accuracy unless named"
    )
    parser.add_argument(
        "--over",
        nargs="+",
        default=[],
        metavar="KEY",
        help="of the protocol, what the comparison is over and may differ",
    )
    parser.add_argument("--format", choices=_FORMATS, default="table")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="also every table as Markdown, LaTeX and CSV, and the curves",
    )


def _add_replaced(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", metavar="KEY", help="apart for each value of KEY: method, sched.lam, ...")
    parser.add_argument("--metric", metavar="NAME", help="beside the shares: table/cifar10_test_200 unless named")
    parser.add_argument("--format", choices=_FORMATS, default="table")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="also every table as CSV, all epochs")


def _replaced(options: argparse.Namespace) -> None:
    groups, left_out = find_groups([str(path) for path in options.runs], [], options.by, "search", least=1)
    metric = choose_metric(options.metric, groups)
    for number, group in enumerate(groups):
        for place, table in enumerate(replacement_tables(group, metric)):
            if options.output:
                folder = options.output / folder_name(group.name) if len(groups) > 1 else options.output
                write_text_atomically(folder / f"{table.name}.csv", table.csv)
            if (place or number) and options.format in ("csv", "table"):
                print()
            if options.format != "csv":
                print(_title(f"{group.name}: {table.title}" if len(groups) > 1 else table.title, options.format))
            _print(table.grid, table.csv, table.notes, options.format)
    _print(None, "", left_out, options.format)


def _compare(options: argparse.Namespace) -> None:
    kind: Kind = "evaluation" if options.metric in ("test_accuracy", "params", "macs") else "search"
    check_over(options.over)
    groups, left_out = find_groups(options.groups, options.runs, options.by, kind)
    found, notes = comparisons(groups, {*options.over, *keys_asked(options.groups, options.by)})
    made = []
    for number, each in enumerate(found, start=1):
        metric = choose_metric(options.metric, each.groups)
        predictor = Metric("discrete_accuracy")
        if options.predictor:
            predictor = choose_metric(options.predictor, each.groups, "--predictor")
        made.append(comparison_tables(each, metric, predictor))
        if options.output:
            _write_comparison(
                each, made[-1], metric, options.output / str(number) if len(found) > 1 else options.output
            )
    for number, (each, shown) in enumerate(zip(found, made, strict=True)):
        if each.protocol and options.format != "csv":
            print(_title(each.protocol, options.format))
        for place, table in enumerate(shown):
            if (place or number) and options.format in ("csv", "table"):
                print()
            if options.format != "csv":
                print(_title(table.title, options.format))
            _print(table.grid, table.csv, table.notes, options.format)
    _print(None, "", [*left_out, *notes], options.format)


def _write_comparison(comparison: Comparison, made: Sequence[Table], metric: Metric, folder: Path) -> None:
    for table in made:
        listed = "".join(f"- {escapes.markdown(note)}\n" for note in table.notes)
        title = f"{table.title}: {comparison.protocol}" if comparison.protocol else table.title
        text = f"{escapes.markdown(title)}\n\n{grid.markdown(table.grid)}\n{listed}"
        write_text_atomically(folder / f"{table.name}.md", text)
        write_text_atomically(folder / f"{table.name}.tex", f"{_title(title, 'latex')}{grid.latex(table.grid)}")
        write_text_atomically(folder / f"{table.name}.csv", table.csv)
    runs = [run for group in comparison.groups for run in group.runs]
    if not any("final" in (run.report or {}) and metric.curve(run) for run in runs):
        return
    clock = clock_of(runs)
    write_text_atomically(folder / "anytime.csv", anytime_csv(comparison, metric, clock))
    plot_anytime({group.name: group.runs for group in comparison.groups}, folder / "anytime", metric, clock)


def _summary(options: argparse.Namespace) -> None:
    evaluations = trained_networks(find_evaluations(*options.runs))
    searches = find_runs(*options.runs) if evaluations else _runs(options.runs)
    if not options.columns:
        return print_summary(searches, evaluations, options.format)
    searches = [run.checked for run in searches]
    columns = named_columns(options.columns, [run for run in (*searches, *evaluations) if run.report is not None])
    return print_summary(searches, evaluations, options.format, columns)


def print_summary(
    searches: Sequence[Run], evaluations: Sequence[Run], chosen: str = "table", columns: Sequence[Measure] = ()
) -> None:
    """A table for every experiment of the searches, then of the evaluations' networks; CSV has one for each of the two kinds.

    columns: instead of the usual ones.
    """
    for kind, runs in (("search", searches), ("network", evaluations)):
        finished = [run for run in runs if run.report is not None]
        if not runs or (columns and not any(column.statistic(finished).n for column in columns)):
            continue
        whole = tables.summary(runs, columns)
        apart = tables.by_experiment(runs) if chosen != "csv" else {}
        if len(apart) < 2:
            _print(tables.grid(whole) if whole.rows else None, tables.as_csv(whole), tables.notes(whole), chosen)
            continue
        for experiment, members in apart.items():
            table = tables.summary(members, columns)
            print(_title(f"{experiment} ({count(len(members), kind)})", chosen))
            _print(tables.grid(table), "", tables.notes(table), chosen)
        _print(None, "", tables.notes(tables.summary([run for run in runs if run.report is None])), chosen)


def _title(text: str, chosen: str) -> str:
    marked = {"markdown": escapes.markdown, "latex": lambda text: f"% {escapes.latex(text)}"}
    return f"{marked.get(chosen, escapes.visible)(text)}\n"


def _table(options: argparse.Namespace) -> None:
    runs = _runs(options.runs)
    evaluations = find_evaluations(*options.runs)
    shown = []
    names = paper_tables.table_names() if options.name == "all" else (options.name,)
    for name in names:
        table = paper_tables.paper_table(name)
        lines = paper_tables.compare(table, runs, evaluations)
        if options.name == "all" and not any(line.runs for line in lines):
            continue
        form, text = paper_tables.paper_grid(table, lines), paper_tables.paper_csv(table, lines)
        notes = paper_tables.paper_notes(table, lines, runs)
        shown.append((table.title, form, text, notes))
        if options.output:
            listed = "".join(f"- {escapes.markdown(note)}\n" for note in notes)
            write_text_atomically(options.output / f"{name}.md", f"{table.title}\n\n{grid.markdown(form)}\n{listed}")
            write_text_atomically(options.output / f"{name}.tex", grid.latex(form))
            write_text_atomically(options.output / f"{name}.csv", text)
    if not shown:
        raise UserError("none of these runs stands in a table of the paper; give the name of one to see it.")
    for title, form, text, notes in shown:
        if options.format != "csv":
            print(_title(title, options.format))
        _print(form, text, notes, options.format)


def _figure(options: argparse.Namespace) -> None:
    output = Path(_without_suffix(str(options.output)))
    if options.name in _PAPER_ONLY:
        return _paper_figure(options.name, output)
    if not options.runs:
        raise UserError(f"figure {options.name} needs RUNS; give the folder of a run or of a sweep.")
    runs = [run.checked for run in _runs(options.runs)]
    if options.name in ("alpha", "beta", "cells"):
        return _draw_each(options.name, [run for run in runs if run.report], output)
    table = tables.summary(runs)
    groups = tables.group_names(table)
    if options.name == "cost":
        plot_cost(groups, output)
    else:
        plot_comparison(groups, output, name=options.name)
    _to_stderr(tables.notes(table))
    return None


def _html(options: argparse.Namespace) -> None:
    runs = [run.checked for run in _runs(options.runs)]
    write_page(runs, options.output, find_evaluations(*options.runs))


def _paper_figure(name: str, output: Path) -> None:
    from nas_lightning.relaxations import curves  # loads torch
    from nas_lightning.reports import paper_figures
    from nas_lightning.schedules.base import E_A

    if name == "fig2a":
        paper_figures.plot_gradient_norms(curves.gradient_norms(), output)
    elif name == "fig2b":
        paper_figures.plot_schedule_entropies(curves.schedule_entropies(), output)
    else:
        paper_figures.plot_schedule_example(curves.schedule_example(), E_A, output)


def _draw_each(name: str, runs: Sequence[Run], output: Path) -> None:
    if not runs:
        raise UserError("none of these runs is finished; let one end first.")
    if name != "cells":
        without = [run for run in runs if not (run.folder / "architecture.csv").exists()]
        if len(without) == len(runs):
            raise UserError(f"none of these runs has an architecture.csv to draw {name} from; search anew to get one.")
        if without:
            count = f"{without[0].folder} and {len(without) - 1} more" if len(without) > 1 else without[0].folder
            _to_stderr([f"without architecture.csv, so not drawn: {count}"])
        runs = [run for run in runs if run not in without]
    taken: Counter[str] = Counter()
    for run in runs:
        assert run.report is not None
        # One component of plain characters, whatever the report and the folder are called.
        drawn = folder_name(f"{run.report['experiment']}-{run.folder.resolve().name}")
        taken[drawn] += 1
        path = output / (drawn if taken[drawn] == 1 else f"{drawn}-{taken[drawn]}")
        if name == "cells":
            draw_cell(run.genotype, path)
        else:
            columns = read_metrics(run.folder / "architecture.csv")
            plot_trajectories(columns, run.known_genotype or Genotype("", {}), name, path, run.folder.name)


def _without_suffix(path: str) -> str:
    return path[:-4] if path.lower().endswith((".svg", ".png")) else path


def _runs(folders: Sequence[Path]) -> list[Run]:
    runs = find_runs(*folders)
    if not runs:
        places = " ".join(map(str, folders))
        raise UserError(
            f"{places} holds no run (no report.json, no config.yaml with metrics.csv); give the folder of a run or of a sweep."
        )
    return runs


def _print(form: Grid | None, csv_text: str, notes: Sequence[str], chosen: str) -> None:
    """Notes go below the table; below CSV and LaTeX, which programs read, to stderr."""
    if chosen == "table":
        console = grid.console()
        if form and form.rows:
            grid.show(form, console, "a wider terminal or --format csv shows them")
        grid.say(notes, console)
        return
    if chosen == "markdown":
        listed = "".join(f"- {escapes.markdown(note)}\n" for note in notes)
        print(grid.markdown(form) if form else "", end=f"\n{listed}\n" if listed else "\n")
        return
    print(csv_text if chosen == "csv" else grid.latex(form) if form else "", end="")
    _to_stderr(notes)


def _to_stderr(lines: Sequence[str]) -> None:
    print("".join(f"{escapes.visible(line)}\n" for line in lines), end="", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
