"""The page's part on trainings: their networks side by side, and of each what its test accuracy leaves out."""

from collections.abc import Mapping, Sequence
from typing import Any

from nas_lightning import escapes
from nas_lightning.errors import is_number
from nas_lightning.reports.page_html import left_out, number_cell, short, sortable_table
from nas_lightning.reports.runs import Run
from nas_lightning.reports.statistic import finite

MOST_TRAININGS, MOST_NETWORKS, MOST_CLASSES = 200, 20, 20
_HEADINGS = (
    "training",
    "network",
    "found by",
    "test (%)",
    "always one class (%)",
    "parameters",
    "multiply-adds",
    "MB",
    "ms",
)


def networks_section(evaluations: Sequence[Run]) -> str:
    """ "" where nothing was trained. The reports may be anybody's: what is none of ours is left out."""
    trainings = [run for run in evaluations if finite((run.report or {}).get("test_accuracy")) is not None]
    if not trainings:
        return ""
    shown = trainings[:MOST_TRAININGS]
    rows = [row for run in shown for row in _rows(run)]
    note = (
        '<p class="note">Test accuracies of networks trained from scratch, one run each, beside the share of the most frequent '
        "class among the test images, which always answering it would give.</p>"
    )
    return (
        f"<h2>Trained networks</h2>{left_out('trainings', MOST_TRAININGS, len(trainings), 'are shown.')}{note}"
        f"{sortable_table(_HEADINGS, rows, 3)}{''.join(map(_by_class, shown))}"
    )


def _rows(run: Run) -> list[str]:
    assert run.report is not None
    networks, majority = run.report.get("networks"), _mapping(_mapping(run.report.get("classwise")).get("majority"))
    share = finite(majority.get("share"))
    rows = []
    for name, network in list(_mapping(networks).items())[:MOST_NETWORKS]:
        accuracy, size = (finite(_mapping(network).get(key)) for key in ("test_accuracy", "file_bytes"))
        numbers = [
            number_cell(None if accuracy is None else 100 * accuracy, 2),
            number_cell(None if share is None else 100 * share, 2),
            *(number_cell(finite(_mapping(network).get(key)), 0) for key in ("params", "macs")),
            number_cell(None if size is None else size / 1e6, 2),
            number_cell(finite(_mapping(network).get("latency_ms")), 2),
        ]
        rows.append(
            f'<tr><th scope="row">{short(str(run.folder))}</th><td>{short(str(name))}</td>'
            f"<td>{short(_finder(run.report) if name == 'found' else '')}</td>{''.join(numbers)}</tr>"
        )
    return rows


def _finder(report: Mapping[str, Any]) -> str:
    search = report.get("search")
    return f"{report.get('method')}, seed {search['seed']}" if search else ""


def _by_class(run: Run) -> str:
    """Recall of each class and, of few classes, the confusion matrix of the found network."""
    assert run.report is not None
    tested = _mapping(run.report.get("classwise"))
    recalls, images = _numbers(tested.get("recall")), _numbers(tested.get("images"))
    given = run.report.get("classes")
    names = [str(name) for name in given] if isinstance(given, list) else [f"class {i}" for i in range(len(recalls))]
    if not 0 < len(names) == len(recalls) == len(images) <= MOST_CLASSES:
        return ""
    lines = tested.get("confusion")
    confusion = [_numbers(line) for line in lines] if isinstance(lines, list) else []
    is_matrix = [len(line) for line in confusion] == [len(names)] * len(names)
    headings = ("true class", "images", "recall (%)", *(f"answered {name}" for name in names if is_matrix))
    rows = []
    for index, name in enumerate(names):
        recall = finite(recalls[index])
        cells = [number_cell(finite(images[index]), 0), number_cell(None if recall is None else 100 * recall, 1)]
        cells += [number_cell(finite(count), 0) for count in confusion[index]] if is_matrix else []
        rows.append(f'<tr><th scope="row">{short(name)}</th>{"".join(cells)}</tr>')
    summary = f"Test images by class, {escapes.html(escapes.shortened(str(run.folder), 200))}"
    return f"<details><summary>{summary}</summary>{sortable_table(headings, rows, 1)}</details>"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _numbers(values: Any) -> list[Any]:
    """`values` if it is a list of numbers and nulls, else none."""
    fits = isinstance(values, list) and all(value is None or is_number(value) for value in values)
    return values if fits else []
