"""What the documents say of committed results is what the committed reports say."""

import re
import shlex

import pytest

from nas_lightning.reports.__main__ import main
from nas_lightning.reports.grid import markdown
from nas_lightning.reports.runs import find_runs
from nas_lightning.reports.tables import grid, summary
from tests.conftest import ROOT

RESULTS = sorted(path.parent for path in (ROOT / "results").glob("*/README.md"))


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def commanded(folder):
    """The summaries with chosen columns that the folder's README names."""
    text = " ".join((folder / "README.md").read_text(encoding="utf-8").split())
    return re.findall(r"python -m nas_lightning\.reports (summary [^`]*? --columns [^`]*)`", text)


@pytest.mark.parametrize("folder", RESULTS, ids=lambda folder: folder.name)
def test_tables_of_the_results_are_queries(folder, monkeypatch, capsys):
    document = [cells(line) for line in (folder / "README.md").read_text().splitlines() if line.startswith("|")]
    if commands := commanded(folder):
        monkeypatch.chdir(ROOT)
        for command in commands:
            assert main([*shlex.split(command), "--format", "markdown"]) == 0
            for line in capsys.readouterr().out.splitlines():
                assert not line.startswith("|") or cells(line) in document, f"{folder.name}/README.md lacks {line}"
        return
    rendered = [
        cells(line) for line in markdown(grid(summary(find_runs(folder)))).splitlines()[2:] if line.startswith("|")
    ]
    assert rendered
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
def test_every_committed_run_has_ended_and_came_from_a_clean_checkout(folder):
    """A search that has diverged is a result too; its folder says so."""
    runs = [run for run in find_runs(folder) if not (run.failed and "has diverged" in run.cause)]
    assert runs
    assert all(run.report is not None and run.report["commit"] and not run.report["dirty"] for run in runs)


FINDINGS = re.findall(
    r"^(\d+)\. `([^`]+)`:\s+(.*)$", (ROOT / "docs" / "findings.md").read_text(encoding="utf-8"), flags=re.MULTILINE
)


def test_the_findings_name_only_commands_that_they_list():
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    named = {int(number) for group in re.findall(r"\[(\d+(?:, \d+)*)\]", text) for number in group.split(", ")}
    assert named == {int(number) for number, _, _ in FINDINGS} == set(range(1, len(FINDINGS) + 1))


@pytest.mark.parametrize(
    ("command", "numbers"), [found[1:] for found in FINDINGS], ids=[found[0] for found in FINDINGS]
)
def test_the_numbers_of_the_findings_are_printed_by_their_commands(command, numbers, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    arguments = [str(tmp_path) if argument == "readings" else argument for argument in shlex.split(command)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out + "".join(path.read_text() for path in tmp_path.glob("*.csv"))
    assert [number for number in numbers.split("; ") if number not in printed] == []
