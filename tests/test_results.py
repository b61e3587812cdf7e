"""What the documents say of committed results is what the committed reports say."""

import pytest

from nas_lightning.reports.grid import markdown
from nas_lightning.reports.runs import find_runs
from nas_lightning.reports.tables import grid, summary
from tests.conftest import ROOT

RESULTS = sorted(path.parent for path in (ROOT / "results").glob("*/README.md"))


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


@pytest.mark.parametrize("folder", RESULTS, ids=lambda folder: folder.name)
def test_tables_of_the_results_are_queries(folder):
    rendered = [
        cells(line) for line in markdown(grid(summary(find_runs(folder)))).splitlines()[2:] if line.startswith("|")
    ]
    assert rendered
    document = [cells(line) for line in (folder / "README.md").read_text().splitlines() if line.startswith("|")]
    for row in rendered:
        assert row[:-1] in document, f"{folder.name}/README.md lacks {row[:-1]}"  # the last column is the seconds


def test_the_readmes_table_is_that_of_the_reduced_figure_4():
    rendered = [
        cells(line) for line in markdown(grid(summary(find_runs(ROOT / "results" / "fig4_reduced")))).splitlines()[2:]
    ]
    document = [cells(line) for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("|")]
    for method, _, entropy, discretised, cifar10, *_ in (row for row in rendered if len(row) > 5):
        assert [f"`method={method}`", entropy, discretised, cifar10] in document


@pytest.mark.parametrize("folder", RESULTS, ids=lambda folder: folder.name)
def test_every_committed_run_is_finished_and_came_from_a_clean_checkout(folder):
    runs = find_runs(folder)
    assert all(run.report is not None and run.report["commit"] and not run.report["dirty"] for run in runs)
