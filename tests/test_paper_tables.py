"""The paper's tables beside our runs: what is printed, which runs stand where, and the arithmetic."""

import csv
import io
import itertools
import json
import math
import random
import statistics
from collections import defaultdict

import pytest
from omegaconf import OmegaConf

from nas_lightning.app.configs import CONFIGS
from nas_lightning.app.naming import method_name
from nas_lightning.reports.__main__ import main
from nas_lightning.reports.grid import latex, markdown
from nas_lightning.reports.paper_tables import compare, paper_csv, paper_grid, paper_notes, paper_table, table_names
from nas_lightning.reports.runs import Run, find_evaluations, find_runs
from tests.conftest import ROOT, composed_with_choices


def report(config, choices, scores=None, **changes):
    return {
        "schema": 1, "experiment": "toy", "space": "nb201", "dataset": "cifar10", "seed": 0, "overrides": [], "final": {},
        "scores": scores or {}, "seconds": 10.0, "architecture": "a", "config": config, **(choices | changes),
    }  # fmt: skip


def edd(scores, lam=0.06, relaxation="sn_st1", **changes):
    choices = {"method": "edd", "relaxation": relaxation, "sched": "edd"}
    return report({"sched": {"lam": lam}, "space": {"none": True}}, choices, scores, **changes)


def runs_of(tmp_path, *reports):
    for number, each in enumerate(reports):
        (tmp_path / str(number)).mkdir(parents=True)
        (tmp_path / str(number) / "report.json").write_text(json.dumps(each))
    return find_runs(tmp_path)


def test_the_copies_hold_every_mean_with_a_spread_of_the_paper_and_agree_with_each_other():
    tables = {name: paper_table(name) for name in table_names()}
    printed = [
        value
        for table in tables.values()
        for line in compare(table, [])
        for value in line.paper
        if value.std is not None
    ]
    assert len(printed) == 173
    assert [len(table.rows) for table in tables.values()] == [13, 80, 12, 9, 9, 9, 4, 2, 24]
    lines = {name: {line.labels: line.paper for line in compare(table, [])} for name, table in tables.items()}
    best = lines["table5"]["sn_softmax", "st=1", "0.06"]
    assert [value.mean for value in best] == [90.95, 93.80, 71.44, 71.42, 45.14, 45.12]
    assert best == lines["table7a"]["C10", "EDD"] == lines["table1"]["EDD-DARTS",][1:]
    for (dataset, space, method, variant), value in lines["table2"].items():
        if method == "EDD-DARTS":
            assert value == lines["table7c"][space, dataset, "EDD"], variant
    assert lines["table3"]["EDD-DARTS",][0] == lines["table6"]["sn_softmax", "s=100", "0.06"][0]


@pytest.mark.parametrize("name", table_names())
def test_every_file_names_its_source(name):
    first = (ROOT / "nas_lightning" / "reports" / "paper" / f"{name}.csv").read_text().splitlines()[0]
    assert first.startswith("# Table ")
    assert "arXiv 2306.06855" in first


@pytest.mark.parametrize(
    ("experiment", "table", "count"),
    [
        ("table1", "table1", 3),
        ("table5_reduced", "table5", 9),
        ("table7", "table7a", 2),
        ("table3", "table3", 2),
        ("table7_ds", "table7b", 2),
    ],
)
def test_every_job_of_a_study_stands_in_one_row_of_its_table(experiment, table, count):
    study = OmegaConf.load(ROOT / "conf" / "experiment" / f"{experiment}.yaml")
    params = {key: str(value).split(",") for key, value in study.hydra.sweeper.params.items() if key != "seed"}
    taken = []
    for values in itertools.product(*params.values()):
        overrides = [f"{key}={value}" for key, value in zip(params, values, strict=True)]
        composition, choices = composed_with_choices(f"experiment={experiment}", *overrides, "run_dir=x")
        config = OmegaConf.to_container(composition, resolve=True)
        shown = {group: choices[group] for group in ("relaxation", "sched", "dataset", "space")}
        run = Run(ROOT, report(config, {"method": method_name(choices, config, (CONFIGS,)), **shown}))
        rows = [line.labels for line in compare(paper_table(table), [run]) if line.runs]
        assert len(rows) == 1, (overrides, rows)
        taken += rows
    assert len(set(taken)) == len(taken) == count


def test_a_changed_method_stands_on_a_line_of_its_own_that_names_the_change(tmp_path):
    scores, penalty = {"cifar10_test_200": 90.0}, {"overrides": ["method=edd", "penalty=beta_decay"]}
    runs = runs_of(
        tmp_path,
        edd(scores),
        edd(scores, method="edd + penalty=beta_decay", **penalty),
        edd(scores, relaxation="softmax", method="edd with relaxation=softmax", overrides=["relaxation=softmax"]),
        edd(scores, method="darts", overrides=["method=edd", "relaxation=softmax", "sched=constant"]),
    )
    found = [(line.labels, line.protocol, len(line.runs)) for line in compare(paper_table("table5"), runs) if line.runs]
    best, normal = ("sn_softmax", "st=1", "0.06"), ("normal", "", "0.06")
    assert sorted(found) == [
        (normal, "experiment toy on cifar10", 1),
        (best, "experiment toy on cifar10", 1),
        (best, "experiment toy on cifar10 penalty=beta_decay", 1),
    ]


def test_mean_spread_n_and_difference_are_those_of_the_runs(tmp_path):
    values = [93.1, 92.4, 94.0]
    reports = [edd({"cifar10_test_200": value}, seed=seed) for seed, value in enumerate(values)]
    runs = runs_of(tmp_path, *reports, edd({"cifar10_test_200": 50.0}, lam=0.24), edd({}, lam=0.5))
    table = paper_table("table5")
    rows = list(csv.DictReader(io.StringIO(paper_csv(table, compare(table, runs)))))
    row = next(row for row in rows if (row["s_setting"], row["lambda"]) == ("st=1", "0.06"))
    assert (row["n"], row["cifar10_test_n"]) == ("3", "3")
    assert float(row["cifar10_test_mean"]) == pytest.approx(statistics.fmean(values))
    assert float(row["cifar10_test_std"]) == pytest.approx(statistics.stdev(values))
    assert float(row["cifar10_test_paper_mean"]) == 93.80
    assert float(row["cifar10_test_difference"]) == pytest.approx(statistics.fmean(values) - 93.80)
    assert row["cifar100_test_mean"] == row["cifar100_test_difference"] == ""
    single = next(row for row in rows if (row["s_setting"], row["lambda"]) == ("st=1", "0.24"))
    assert (single["n"], single["cifar10_test_std"]) == ("1", "")
    assert "not in table5: 1 finished run" in paper_notes(table, compare(table, runs), runs)


def test_missing_cells_are_blank_and_rows_without_runs_show_the_paper_alone(tmp_path):
    runs = runs_of(tmp_path, edd({"cifar10_test_200": 93.0}))
    table = paper_table("table5")
    grid = paper_grid(table, compare(table, runs))
    text = [line.split(" | ") for line in markdown(grid).splitlines()]
    ours = next(line for line in text if "ours, n=1" in line)
    assert ours[4:7] == ["", "93.00", ""]
    assert sum("paper" in line for line in text) == 9
    assert sum("difference" in line for line in text) == 1
    assert r"93.80 $\pm$ 0.33" in latex(grid)
    assert r"sn\_softmax" in latex(grid)


def test_runs_of_different_protocols_are_not_averaged(tmp_path):
    chosen = ["experiment=toy", "sched.lam=0.06", "relaxation=sn_st1", "dataset.root=x"]
    whole = [edd({"cifar10_test_200": 90.0 + s}, seed=s, overrides=[*chosen, f"seed={s}"]) for s in range(2)]
    short = edd({"cifar10_test_200": 50.0}, overrides=[*chosen, "trainer.max_epochs=2"])
    runs = runs_of(tmp_path, *whole, short, edd({}, experiment="other", dataset="digits"), {"schema": 0})
    table = paper_table("table5")
    lines = compare(table, runs)
    found = {line.protocol: (line.ours[1].mean, line.ours[1].n, len(line.runs)) for line in lines if line.runs}
    assert found == {
        "experiment other on digits": (None, 0, 1),
        "experiment toy on cifar10": (90.5, 2, 2),
        "experiment toy on cifar10 trainer.max_epochs=2": (50.0, 1, 1),
    }
    assert paper_notes(table, lines, runs) == [
        "ours (1): experiment other on digits: 1 run",
        "ours (2): experiment toy on cifar10: 2 runs",
        "ours (3): experiment toy on cifar10 trainer.max_epochs=2: 1 run",
        "left out: 1 run unfinished, failed or broken; the command summary says which",
    ]
    assert "| ours (2), n=2 |  | 90.50 ± 0.71 |" in markdown(paper_grid(table, lines))


def test_the_order_of_the_rows_is_compared_with_the_papers(tmp_path):
    """Of six pairs of rows five are alike on CIFAR-10: (5 - 1) / 6; three rows are the least, here on CIFAR-100 all alike."""
    rows = [
        ("sn_st1", 0.06, {"cifar10_test_200": 90.0, "cifar100_test_200": 70.0}),  # the paper: 93.80; 71.42
        ("softmax", 0.12, {"cifar10_test_200": 91.0, "cifar100_test_200": 69.0}),  # 93.60; 70.45
        ("sn_s100", 0.06, {"cifar10_test_200": 89.0}),  # 93.44
        ("softmax", 0.24, {"cifar10_test_200": 88.0, "cifar100_test_200": 68.0}),  # 92.82; 69.60
    ]
    runs = runs_of(tmp_path, *(edd(scores, lam, relaxation) for relaxation, lam, scores in rows))
    table = paper_table("table5")
    notes = paper_notes(table, compare(table, runs), runs)
    assert notes[1:] == [
        "order of ours and the paper's, CIFAR-10 test (%): Kendall's tau +0.67 over 4 rows, p = 0.333",
        "order of ours and the paper's, CIFAR-100 test (%): Kendall's tau +1.00 over 3 rows, p = 0.333",
    ]


def tau_b(points):
    """Over all pairs of points: +1 where both orders agree, -1 where they do not, 0 where either has none."""
    signs = [((a > c) - (a < c), (b > d) - (b < d)) for (a, b), (c, d) in itertools.combinations(points, 2)]
    return sum(x * y for x, y in signs) / math.sqrt(sum(x * x for x, _ in signs) * sum(y * y for _, y in signs))


def test_methods_that_share_a_row_are_lines_of_their_own_and_points_of_their_own_in_the_order(tmp_path):
    """What one loop over the runs says of each line, and all pairs of lines of their order."""
    rows = {"GDAS": ["gdas"], "DrNAS": ["drnas", "drnas_l2"], "SurgeNAS": ["surgenas_lhd", "surgenas_ods"]}
    draw = random.Random(0)
    whole = [
        (row, method, draw.uniform(10, 94), []) for row, methods in rows.items() for method in methods for _ in "123"
    ]
    short = [("DrNAS", "drnas_l2", 50.0, ["trainer.max_epochs=2"])]
    runs = runs_of(
        tmp_path,
        *(
            report({"space": {"none": True}}, {"method": m}, {"cifar10_test_200": v}, overrides=[f"method={m}", *more])
            for _, m, v, more in whole + short
        ),
    )
    expected = defaultdict(list)
    for row, method, value, changed in whole + short:
        protocol = " ".join(["experiment toy on cifar10", *changed])
        expected[row, protocol, method if len(rows[row]) > 1 else ""].append(value)
    table = paper_table("table1")
    lines = compare(table, runs)
    found = {(*line.labels, line.protocol, line.method): line.ours[2] for line in lines if line.runs}
    assert {key: value.n for key, value in found.items()} == {key: len(values) for key, values in expected.items()}
    assert {key: value.mean for key, value in found.items()} == pytest.approx(
        {key: statistics.fmean(values) for key, values in expected.items()}
    )
    paper = {"GDAS": 93.51, "DrNAS": 93.74, "SurgeNAS": 93.70}
    points = [
        (statistics.fmean(v), paper[row]) for (row, protocol, _), v in expected.items() if "trainer" not in protocol
    ]
    tau = f"{tau_b(points):+.2f}".replace("-", "−")
    (order,) = [note for note in paper_notes(table, lines, runs) if note.startswith("order")]
    assert order.partition(", p = ")[0] == (
        f"order of ours (1) and the paper's, CIFAR-10 test (%): Kendall's tau {tau} over 5 lines of 3 rows"
    )
    names = [row.split(" | ")[1] for row in markdown(paper_grid(table, lines)).splitlines() if "ours" in row]
    two = [f"ours (1): {method}, n=3" for method in ("surgenas_lhd", "surgenas_ods")]
    drnas = ["ours (1): drnas, n=3", "ours (1): drnas_l2, n=3", "ours (2): drnas_l2, n=1"]
    assert names == ["ours (1), n=3", *drnas, *two]
    written = csv.DictReader(io.StringIO(paper_csv(table, lines)))
    assert [row["our_method"] for row in written if row["method"] == "DrNAS"] == ["drnas", "drnas_l2", "drnas_l2"]


def test_a_row_of_several_data_sets_is_no_row_of_several_methods(tmp_path):
    search = {"method": "pcd", "sched": "cyclic"}
    runs = runs_of(tmp_path, *(report({}, search, dataset=dataset) for dataset in ("cifar10", "folder")))
    lines = [line for line in compare(paper_table("table7a"), runs) if line.runs]
    assert [(line.labels, line.protocol, line.method) for line in lines] == [
        (("C10", "PCD"), f"experiment toy on {dataset}", "") for dataset in ("cifar10", "folder")
    ]


def test_errors_are_those_of_the_evaluations_of_the_found_architecture(tmp_path):
    config = {"sched": {"lam": 0.06}}
    search = report(config, {"method": "edd", "relaxation": "sn_s100", "sched": "edd"}, space="darts")
    trained = report({}, {"kind": "evaluation", "recipe": "drnas", "params": 3_600_000, "macs": 1}, space="darts")
    others = [
        {**trained, "architecture": "b", "test_accuracy": 0.5},
        {**trained, "dataset": "svhn", "test_accuracy": 0.5},
    ]
    evaluations = [{**trained, "test_accuracy": accuracy} for accuracy in (0.97, 0.975)]
    runs = runs_of(tmp_path, search, *evaluations, *others)
    assert len(runs) == 1
    lines = compare(paper_table("table3"), runs, find_evaluations(tmp_path))
    (line,) = [line for line in lines if line.runs]
    assert line.labels == ("EDD-DARTS",)
    assert line.ours[0].mean == pytest.approx(2.75)
    assert line.ours[1].mean == pytest.approx(3.6)
    assert line.differences[0] == pytest.approx(2.75 - 2.52)


def test_the_command_prints_and_writes_each_form(tmp_path, capsys):
    runs_of(tmp_path / "runs", edd({"cifar10_test_200": 93.0}))
    for form in ("table", "markdown", "latex", "csv"):
        assert main(["table", "table5", str(tmp_path / "runs"), "--format", form]) == 0
        assert "93.80" in capsys.readouterr().out.replace("93.8,", "93.80,")
    assert main(["table", "all", str(tmp_path / "runs"), "-o", str(tmp_path / "out")]) == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {
        f"{name}.{suffix}" for name in ("table1", "table5", "table7a") for suffix in ("md", "tex", "csv")
    }
    assert main(["table", "all", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
