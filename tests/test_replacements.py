"""`reports replaced`: what the edges choose, against counts made by hand; what is refused."""

import csv
import json
import statistics

import pytest

from nas_lightning.errors import UserError
from nas_lightning.genotypes.nb201 import NB201_OPERATIONS, nb201_genotype, nb201_string
from nas_lightning.reports.__main__ import main
from nas_lightning.reports.comparison import Metric
from nas_lightning.reports.groups import Group
from nas_lightning.reports.replacements import LEFT_OUT, chosen, replacement_tables, replacements
from nas_lightning.reports.runs import find_runs
from tests.conftest import ROOT
from tests.test_reports import write_run

NONE, SKIP, CONV1, CONV3, POOL = NB201_OPERATIONS
PATHS = {
    0: [(CONV3,) * 6, (CONV3, SKIP, *[CONV3] * 4), (SKIP, SKIP, *[CONV3] * 4), (SKIP, NONE, *[CONV3] * 4)],
    1: [(POOL,) * 6, (POOL,) * 6, (CONV1, *[POOL] * 5), (SKIP, *[POOL] * 5)],
}
TEMPERATURES = [1.0, 1.0, 0.1, 0.02]


def searched(folder, seed, gradients=True):
    """A run whose architecture, temperature and gradients are known; the gradient of an entry is its number / 10 * epoch."""
    write_run(folder, seed, epochs=len(TEMPERATURES))
    rows = []
    for epoch, operations in enumerate(PATHS[seed]):
        row = {"epoch": epoch, "entropy": 1.5 - 0.1 * epoch, "temperature": TEMPERATURES[epoch], "skip_connects": 0}
        row |= {"discrete_accuracy": 0.1 * epoch + 0.01 * seed, "table/cifar10_test_200": 90.0 + epoch + seed}
        for number, operation in enumerate(NB201_OPERATIONS if gradients else ()):
            row[f"alpha_gradient/cell/0/{operation}"] = 0.1 * number * epoch
        rows.append(row | {"architecture": nb201_string(nb201_genotype(operations))})
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def group(tmp_path):
    for seed in PATHS:
        searched(tmp_path / f"seed={seed}", seed)
    return Group("all", tuple(find_runs(tmp_path)))


def table(group, name):
    (found,) = [each for each in replacement_tables(group, Metric("table/cifar10_test_200")) if each.name == name]
    return list(csv.DictReader(found.csv.splitlines())), found


def test_shares_are_those_of_the_edges_of_all_runs(group):
    rows, shown = table(group, "operations")
    for epoch, row in enumerate(rows):
        edges = [operation for path in PATHS.values() for operation in path[epoch]]
        for operation in NB201_OPERATIONS:
            assert float(row[f"{operation} (%)"]) == pytest.approx(100 * edges.count(operation) / 12)
        assert float(row["CIFAR-10 test (%)"]) == pytest.approx(90.5 + epoch)
        assert float(row["entropy (nats)"]) == pytest.approx(1.5 - 0.1 * epoch)
        assert (row["n"], float(row["t"])) == ("2", TEMPERATURES[epoch])
    assert [row[0] for row in shown.grid.rows] == ["0", "1", "2", "3"]


def test_replacements_are_told_apart_by_the_first_move_of_the_temperature(group):
    rows, shown = table(group, "replaced")
    found = {
        (row["replaced"], row["by"]): (row["before t moves"], row["after"], float(row["mean epoch"])) for row in rows
    }
    assert found == {
        (CONV3, SKIP): ("1", "1", 1.5),
        (SKIP, NONE): ("0", "1", 3.0),
        (POOL, CONV1): ("0", "1", 2.0),
        (CONV1, SKIP): ("0", "1", 3.0),
    }
    assert shown.notes == ("5 replacements, 2.5 a run",)
    assert rows[0]["replaced"] == CONV3


def test_gradients_around_each_move_of_the_temperature(group):
    rows, shown = table(group, "pulls")
    for number, operation in enumerate(NB201_OPERATIONS):
        (row,) = [row for row in rows if row["operation"] == operation]
        moves = [(epoch - 1, epoch) for epoch in (2, 3)]
        before = statistics.fmean(0.1 * number * first for first, _ in moves)
        after = statistics.fmean(0.1 * number * second for _, second in moves)
        assert (float(row["before"]), float(row["after"])) == pytest.approx((before, after))
        scaled = [statistics.fmean(0.1 * number * each[i] * TEMPERATURES[each[i]] for each in moves) for i in (0, 1)]
        assert [float(row["before, times t"]), float(row["after, times t"])] == pytest.approx(scaled)
    assert shown.notes == ("4 moves of the temperature; what is negative is pushed up",)


def test_without_gradients_there_are_two_tables(tmp_path, capsys):
    searched(tmp_path / "runs" / "seed=0", 0, gradients=False)
    assert main(["replaced", str(tmp_path / "runs"), "-o", str(tmp_path / "out")]) == 0
    assert "3 replacements, 3.0 a run" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["operations.csv", "replaced.csv"]


def test_an_edge_that_comes_and_goes_in_a_darts_cell():
    (run, *_) = find_runs(ROOT / "results" / "darts_reduced")
    epochs = chosen(run)
    assert all(len(edges) == 16 for edges in epochs)
    changes = [each for each in replacements(run, epochs) if LEFT_OUT in (each.before, each.after)]
    gone, come = (sum(getattr(each, side) == LEFT_OUT for each in changes) for side in ("after", "before"))
    assert gone == come > 0
    assert epochs[-1] == {
        (cell, each.source, each.target): each.operation
        for cell, choices in run.genotype.cells.items()
        for each in choices
    }


def test_groups_are_apart_and_what_cannot_be_read_is_one_sentence(tmp_path, capsys):
    for seed in PATHS:
        searched(tmp_path / f"seed={seed}", seed)
    assert main(["replaced", str(tmp_path), "--by", "seed", "--format", "markdown"]) == 0
    out = capsys.readouterr().out
    assert out.index("seed=0: operations of the edges, 1 run") < out.index("seed=1: operations of the edges, 1 run")
    metrics = tmp_path / "seed=1" / "metrics.csv"
    metrics.write_text(metrics.read_text().replace("|avg_pool_3x3~0|", "|avg_pol~0|"))
    assert main(["replaced", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    metrics.write_text("epoch\n0\n1\n2\n3\n")
    with pytest.raises(UserError, match=r"metrics.csv has no column `architecture`"):
        chosen(find_runs(tmp_path)[1])
    (tmp_path / "seed=1" / "report.json").write_text(json.dumps({}))
    assert main(["replaced", str(tmp_path), "--metric", "nothing"]) == 1
    assert "no run of" in capsys.readouterr().err
