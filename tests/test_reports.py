"""Reports: reading runs, drawings, figures, the summary table, the panel, and atomic files."""

import csv
import io
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from xml.etree import ElementTree

import pytest
from PIL import Image
from rich.console import Console

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.genotypes.nb201 import NB201_EDGES, NB201_OPERATIONS, nb201_genotype, parse_nb201
from nas_lightning.records.files import replace_atomically, write_text_atomically
from nas_lightning.reports import (
    dot_text,
    draw_cell,
    find_runs,
    plot_comparison,
    plot_search,
    print_found,
    read_metrics,
    summary,
)
from nas_lightning.reports.__main__ import main
from nas_lightning.reports.architecture import plot_beta, plot_trajectories
from nas_lightning.reports.cell_layout import arc, layout
from nas_lightning.reports.figures import LOOKS, plot_cost
from nas_lightning.reports.grid import Grid, fitted, listed, markdown, say, terminal
from nas_lightning.reports.groups import find_groups
from nas_lightning.reports.runs import find_evaluations, images_of
from nas_lightning.reports.tables import as_csv, grid, group_names, notes
from nas_lightning.reports.trained import trained_networks

ARCHITECTURE = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
ALL_FIVE = parse_nb201(ARCHITECTURE)


def metrics_rows(epochs=6, table=True, offset=0.0):
    for epoch in range(epochs):
        row = {
            "epoch": epoch,
            "valid_accuracy": 0.2 + 0.05 * epoch,
            "discrete_accuracy": 0.1 + 0.08 * epoch + offset,
            "entropy": 1.609 * 0.7**epoch + offset,
            "temperature": 0.5**epoch,
            "skip_connects": epoch // 2,
            **{f"entropy/cell/{edge}": 1.609 * 0.7**epoch for edge in range(6)},
        }
        if table:
            row["table/cifar10_test_200"] = 90 + 0.3 * epoch + offset
        yield row | {"architecture": ARCHITECTURE}


def write_metrics(folder, **settings):
    rows = list(metrics_rows(**settings))
    with open(folder / "metrics.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return rows


def write_run(folder, seed=0, method="edd", overrides=(), config=None, finished=True, **changes):
    """A run folder as the search leaves it; `changes` replace entries of its report."""
    folder.mkdir(parents=True)
    rows = write_metrics(folder, offset=0.01 * seed)
    (folder / "config.yaml").write_text("seed: 0\n")
    report = {
        "schema": 1,
        "experiment": "quickstart",
        "method": method,
        "space": "nb201",
        "dataset": "digits",
        "seed": seed,
        "overrides": [*overrides, f"seed={seed}"],
        "config": config or {"seed": seed, "sched": {"lam": 0.12}},
        "architecture": ARCHITECTURE,
        "final": {key: value for key, value in rows[-1].items() if key != "architecture"},
        "scores": {"cifar10_test_200": 91.0 + seed, "cifar10_valid_12": 80.0},
        "epochs": len(rows),
        "seconds": 100.0 + seed,
        "device": "cpu",
    }
    if finished:
        (folder / "report.json").write_text(json.dumps(report | changes))
    return folder


def svg_texts(path):
    return [element.text for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


# --- atomic files


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path):
    path = tmp_path / "report.json"
    write_text_atomically(path, "old")

    def stopped_half_way():
        with replace_atomically(path) as temporary:
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with replace_atomically(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".json"
        temporary.write_text("new")
        reader = open(path)  # noqa: SIM115
    with reader:
        assert reader.read() == "old"  # replaced as a whole, not written over
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_parent_folders_are_made(tmp_path):
    write_text_atomically(tmp_path / "a" / "b" / "x.txt", "é")
    assert (tmp_path / "a" / "b" / "x.txt").read_bytes() == "é".encode()


def test_an_unwritable_place_is_one_sentence_naming_the_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/x\.txt: .*; give a writable folder\.$"):
        write_text_atomically(tmp_path / "file" / "x.txt", "text")


# --- trained networks


def write_training(folder, seed=0, search=None, overrides=(), networks=None, accuracy=0.5, **changes):
    """An evaluation of what `search` (method, seed, overrides) found, beside `networks`: {name: test accuracy}."""
    method, of, made = search or (None, None, None)
    each = {"architecture": ARCHITECTURE, "params": 1000, "macs": 2000, "scores": {}, "seconds": 9.0}
    found = each | {"test_accuracy": accuracy}
    others = {name: each | {"test_accuracy": value} for name, value in (networks or {}).items()}
    folder.mkdir(parents=True)
    report = {
        "schema": 1, "kind": "evaluation", "experiment": "trained", "space": "nb201", "dataset": "digits", "recipe": "nb201",
        "seed": seed, "overrides": [f"run={folder}-search", "train=true", *overrides],
        "config": {"run": f"{folder}-search", "seed": seed}, "genotype": json.loads(ALL_FIVE.to_json()), **found,
        "networks": {"found": found, **others}, **changes,
    }  # fmt: skip
    if search:
        report |= {"method": method, "search": {"seed": of, "overrides": list(made), "commit": None}}
    (folder / "report.json").write_text(json.dumps(report))


def trained_table(folder):
    table = summary(trained_networks(find_evaluations(folder)))
    return table, [tuple(row.settings) for row in table.rows], [row.statistics[0] for row in table.rows]


def test_trained_networks_are_grouped_by_what_found_them_beside_their_baselines(tmp_path):
    for seed in (0, 1):
        made = ["space=nb201", "method=edd", f"seed={seed}", "name=searches"]
        beside = {"random": 0.3 + 0.1 * seed, "all_skip": 0.2}
        write_training(
            tmp_path / f"edd{seed}", seed, ("edd", seed, made), ["baselines=true"], beside, accuracy=0.5 + 0.2 * seed
        )
        write_training(tmp_path / f"darts{seed}", seed, ("darts", seed, made), networks=beside, accuracy=0.4)
        write_training(tmp_path / f"random{seed}", seed, ("random", seed, made), accuracy=0.1)
    table, names, accuracies = trained_table(tmp_path)
    assert table.settings == ("method",)
    assert names == [("all_skip (baseline)",), ("darts",), ("edd",), ("random",), ("random (baseline)",)]
    assert [each.mean for each in accuracies] == pytest.approx([20, 40, 60, 10, 35])
    assert [each.n for each in accuracies] == [2, 2, 2, 2, 2]  # a training repeated to the same numbers counts once
    assert accuracies[2].std == pytest.approx(statistics.stdev([50, 70]))
    assert notes(table) == []


def test_a_baseline_has_no_number_of_the_found_network(tmp_path):
    write_training(
        tmp_path / "a", networks={"random": 0.3}, processor_seconds=5.0, balanced_accuracy=0.5, best_epoch=1, new=1
    )
    _, baseline = trained_networks(find_evaluations(tmp_path))
    assert baseline.report["test_accuracy"] == 0.3
    assert {"processor_seconds", "balanced_accuracy", "best_epoch", "new", "genotype"} & baseline.report.keys() == set()


def test_settings_of_the_search_tell_trained_networks_apart(tmp_path):
    for lam in ("0.06", "0.12"):
        write_training(tmp_path / lam, 0, ("edd", 0, [f"sched.lam={lam}", "+x=1"]), networks={"random": 0.3})
    write_training(tmp_path / "decay", 0, ("edd + penalty=beta_decay", 0, ["penalty=beta_decay", "+x=1"]))
    table, names, _ = trained_table(tmp_path)
    assert table.settings == ("method", "search.sched.lam")
    assert names == [("edd", "0.06"), ("edd", "0.12"), ("edd + penalty=beta_decay", ""), ("random (baseline)", "")]
    assert [len(row.runs) for row in table.rows] == [1, 1, 1, 1]


def test_a_baseline_trained_twice_to_other_numbers_is_said_to_repeat_its_seed(tmp_path):
    for number, accuracy in enumerate((0.3, 0.31)):
        write_training(tmp_path / str(number), 0, ("edd", number, []), networks={"random": accuracy})
    table, _, _ = trained_table(tmp_path)
    assert notes(table) == ["repeated: random (baseline): 2 runs have seed 0, and n counts each of them"]


def test_two_searches_trained_with_one_seed_do_not_repeat_each_other(tmp_path, capsys):
    for method, shift in (("edd", 0.1), ("darts", 0.0)):
        for seed in (0, 1):
            write_training(
                tmp_path / f"{method}{seed}", 0, (method, seed, [f"seed={seed}"]), accuracy=0.5 + shift + 0.01 * seed
            )
    table, names, _ = trained_table(tmp_path)
    assert (names, notes(table)) == ([("darts",), ("edd",)], [])
    assert main(["compare", str(tmp_path), "--by", "method", "--metric", "test_accuracy"]) == 0
    assert "0 of 2" in capsys.readouterr().out  # pairs that darts won
    conditions = ["method=darts,seed=0", "method=edd,search.seed=1", "--runs", str(tmp_path)]
    assert main(["compare", *conditions, "--metric", "test_accuracy", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out.split("\n\n")[0])))
    assert [(row["n"], float(row["mean"])) for row in rows] == [("2", pytest.approx(50.5)), ("1", pytest.approx(61))]


def test_what_was_trained_beside_is_compared_where_methods_are(tmp_path, capsys):
    for seed in (0, 1):
        write_training(tmp_path / f"edd{seed}", seed, ("edd", seed, []), networks={"random": 0.3}, accuracy=0.5)
        write_training(tmp_path / f"darts{seed}", seed, ("darts", seed, []), accuracy=0.4)

    def means(*arguments):
        assert main(["compare", *arguments, "--metric", "test_accuracy", "--format", "csv"]) == 0
        rows = csv.DictReader(io.StringIO(capsys.readouterr().out.split("\n\n")[0]))
        return {row["group"]: float(row["mean"]) for row in rows}

    asked = [f"{tmp_path}/edd*", f"{tmp_path}/darts*"]
    assert means(*asked) == pytest.approx({"edd*": 50, "darts*": 40})
    assert means(*asked, "--by", "method") == pytest.approx({"darts": 40, "edd": 50, "random (baseline)": 30})
    conditions = ["method=edd", "method=random (baseline)", "--runs", str(tmp_path)]
    assert means(*conditions) == pytest.approx({"method=edd": 50, "method=random (baseline)": 30})
    with_a_folder = [f"{tmp_path}/edd0", "method=random (baseline)", "--runs", str(tmp_path)]
    assert list(means(*with_a_folder).values()) == pytest.approx([50, 30])


def test_what_searches_behind_trainings_were_told_differently_is_said(tmp_path, capsys):
    for method, epochs in (("edd", 50), ("darts", 2)):
        write_training(tmp_path / method, 0, (method, 0, [f"trainer.max_epochs={epochs}"]))
    write_training(tmp_path / "old")
    assert main(["compare", str(tmp_path), "--by", "method", "--metric", "test_accuracy"]) == 0
    out = capsys.readouterr().out
    assert "the searches differ in trainer.max_epochs: 2, 50" in out
    assert "left out: 1 training of architectures of which no search is known" in out


def test_a_training_of_no_known_search_is_named_by_its_folder(tmp_path):
    for name in "ab":
        write_training(tmp_path / name, networks={"resnet18": 0.7})
    table, names, _ = trained_table(tmp_path)
    assert table.settings == ("method", "run")
    assert names == [
        ("found", f"{tmp_path / 'a'}-search"),
        ("found", f"{tmp_path / 'b'}-search"),
        ("resnet18 (baseline)", ""),
    ]


@pytest.mark.parametrize(
    ("name", "change", "shown"),
    [
        ("r", {"scores": None}, []), ("r", {"params": "9"}, []), ("r", {"test_accuracy": "x"}, []),
        ("r", {"overrides": 5, "experiment": [5], "final": 5, "method": "m"}, [("r (baseline)", 70.0)]),
        ("r", {"test_accuracy": None}, [("r (baseline)", None)]), ("../\0\ud800", {}, [("../\0\ud800 (baseline)", 70.0)]),
        ("", {}, [(" (baseline)", 70.0)]),
    ],
)  # fmt: skip
def test_foreign_networks_are_left_out_or_read_as_far_as_they_are_ours(name, change, shown, tmp_path, capsys):
    write_training(tmp_path / "a", networks={name: 0.7})
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    report["networks"][name] |= change
    (tmp_path / "a" / "report.json").write_text(json.dumps(report))
    table, _, accuracies = trained_table(tmp_path)
    found = [(row.runs[0].report.get("method"), each.mean) for row, each in zip(table.rows, accuracies, strict=True)]
    assert [pair for pair in found if pair[0]] == [(method, mean and pytest.approx(mean)) for method, mean in shown]
    assert main(["summary", str(tmp_path)]) == 0


def test_chosen_columns_are_those_of_the_finished_runs(tmp_path, capsys):
    write_training(tmp_path / "a")
    write_run(tmp_path / "b", finished=False)
    write_run(tmp_path / "c")
    assert main(["summary", str(tmp_path), "--columns", "seconds"]) == 0
    assert "100.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    "search",
    [
        [], {}, {"seed": "0", "overrides": []}, {"seed": True, "overrides": []}, {"seed": 0, "overrides": [1]},
        {"seed": 0, "overrides": [], "commit": math.nan},
    ],
)  # fmt: skip
def test_a_training_whose_search_is_none_is_broken(search, tmp_path):
    write_training(tmp_path / "a", search=None, **{"method": "edd"})
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    (tmp_path / "a" / "report.json").write_text(json.dumps(report | {"search": search}))
    (run,) = trained_networks(find_evaluations(tmp_path))
    assert (run.report, run.cause) == (None, "report.json has no valid `search`")


# --- reading runs


def test_every_kind_of_run_is_found_and_nothing_else(tmp_path):
    write_run(tmp_path / "a" / "sched.lam=0.06")
    write_run(tmp_path / "a" / "sched.lam=0.06" / "below", finished=False)
    write_run(tmp_path / "b").joinpath("report.json").write_text('{"schema": 1, ')
    write_run(tmp_path / ".hidden")
    write_run(tmp_path / "evaluate", kind="evaluation")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text("")
    finished, unfinished, broken = find_runs(tmp_path)
    assert finished.report["seed"] == 0
    assert (finished.epochs, finished.cause) == (6, "")
    assert (unfinished.report, unfinished.epochs, unfinished.cause) == (None, 6, "")
    assert broken.report is None
    assert broken.cause.startswith("report.json cannot be read: ")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"schema": 2}, "report.json has schema 2, this version reads 1"),
        ({"final": None}, "report.json has no valid `final`"),
        ({"overrides": [1]}, "report.json has no valid `overrides`"),
        ({"scores": []}, "report.json has no valid `scores`"),
    ],
)
def test_a_report_that_is_not_ours_is_broken_with_its_cause(tmp_path, change, cause):
    write_run(tmp_path / "run", **change)
    assert [run.cause for run in find_runs(tmp_path)] == [cause]


def test_a_failed_job_is_listed_with_its_cause_and_a_run_stopped_in_its_first_epoch_as_unfinished(tmp_path):
    (tmp_path / "failed").mkdir()
    (tmp_path / "failed" / "failed.txt").write_text("sched.lam must be a positive number, got -1.\n")
    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped" / "config.yaml").write_text("name: x\nrun_dir: runs/x\n")
    assert notes(summary(find_runs(tmp_path))) == [
        f"unfinished: {tmp_path / 'stopped'}: 0 epochs done",
        f"failed: {tmp_path / 'failed'}: sched.lam must be a positive number, got -1.",
    ]


def test_a_run_below_two_given_folders_counts_once(tmp_path):
    write_run(tmp_path / "sweep" / "a")
    assert len(find_runs(tmp_path, tmp_path / "sweep", tmp_path / "sweep" / "a")) == 1


@pytest.mark.parametrize("content", [b"[]", b"\xff\xfe", b"", b"[" * 100_000])
def test_no_content_of_a_report_is_a_crash(tmp_path, content):
    (tmp_path / "report.json").write_bytes(content)
    (run,) = find_runs(tmp_path)
    assert run.cause.startswith("report.json ")


def test_metrics_come_back_by_column_with_blanks_as_nan(tmp_path):
    (tmp_path / "metrics.csv").write_text(f"epoch,entropy,architecture\n0,1.5,{ARCHITECTURE}\n1,,\n")
    metrics = read_metrics(tmp_path / "metrics.csv")
    assert set(metrics) == {"epoch", "entropy"}
    assert metrics["epoch"] == [0, 1]
    assert metrics["entropy"][0] == 1.5
    assert math.isnan(metrics["entropy"][1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no `epoch` column"),
        ("entropy\n1\n", "no `epoch` column"),
        ("epoch,entropy\n0,1.6\n1\n", r"line 3 .* has 1 cells where its first line has 2"),
        ("epoch,entropy\n0,high\n", r"'high' in column entropy, line 2 "),
    ],
)
def test_broken_metrics_name_the_place_and_list_the_run_as_broken(tmp_path, text, message):
    write_run(tmp_path / "run", finished=False).joinpath("metrics.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_metrics(tmp_path / "run" / "metrics.csv")
    (run,) = find_runs(tmp_path)
    assert re.search(message, run.cause)
    assert run.epochs is None


def test_reading_a_report_takes_under_half_a_millisecond(tmp_path):
    text = (write_run(tmp_path / "first") / "report.json").read_text()
    for number in range(300):
        (tmp_path / f"r{number}").mkdir()
        (tmp_path / f"r{number}" / "report.json").write_text(text)
    start = time.process_time()
    assert len(find_runs(tmp_path)) == 301
    assert time.process_time() - start < 0.15


# --- the summary table


def test_means_and_sample_deviations_equal_the_statistics_of_the_runs(tmp_path):
    for seed in range(3):
        write_run(tmp_path / f"edd{seed}", seed, overrides=["method=edd"])
    write_run(tmp_path / "darts", 0, "darts", overrides=["method=darts"])
    table = summary(find_runs(tmp_path))
    assert table.settings == ("method",)
    darts, edd = table.rows
    assert (darts.settings, edd.settings) == (("darts",), ("edd",))
    rows = [list(metrics_rows(offset=0.01 * seed))[-1] for seed in range(3)]
    expected = [
        [row["entropy"] for row in rows],
        [100 * row["discrete_accuracy"] for row in rows],
        [91.0, 92.0, 93.0],
        [100.0, 101.0, 102.0],
    ]
    assert [measure.csv_name for measure in table.measures] == [
        "entropy_nats",
        "discrete_accuracy_percent",
        "cifar10_test_200_percent",
        "seconds",
    ]
    for found, values in zip(edd.statistics, expected, strict=True):
        assert found.n == 3
        assert found.mean == pytest.approx(statistics.fmean(values))
        assert found.std == pytest.approx(statistics.stdev(values))
    assert [each.std for each in darts.statistics] == [None] * 4


def test_a_default_and_the_same_value_written_out_are_one_setting(tmp_path):
    for seed, (overrides, lam) in enumerate([([], 0.12), (["sched.lam=0.120"], 0.12), (["+sched.lam=0.5"], 0.5)]):
        write_run(tmp_path / str(seed), seed, overrides=overrides, config={"sched": {"lam": lam}})
    table = summary(find_runs(tmp_path))
    assert table.settings == ("sched.lam",)
    assert [(row.settings, len(row.runs)) for row in table.rows] == [(("0.12",), 2), (("0.5",), 1)]


def test_runs_may_be_named_by_patterns(tmp_path, capsys):
    for name, seed in (("a,seed=0", 0), ("a,seed=1", 1), ("b,seed=0", 2), ("[b]", 3)):
        write_run(tmp_path / name, seed)
    names = [run.folder.name for run in find_runs(tmp_path / "a,*", tmp_path / "*seed=0")]
    assert names == ["a,seed=0", "a,seed=1", "b,seed=0"]
    assert [run.folder.name for run in find_runs(tmp_path.parent / "**" / "a,seed=?")] == ["a,seed=0", "a,seed=1"]
    assert [run.folder.name for run in find_runs(tmp_path / "[b]")] == ["[b]"]  # a folder of that name comes first
    assert main(["summary", str(tmp_path / "*seed=0"), "--format", "csv"]) == 0
    by_pattern = capsys.readouterr().out
    assert main(["summary", str(tmp_path / "a,seed=0"), str(tmp_path / "b,seed=0"), "--format", "csv"]) == 0
    assert by_pattern == capsys.readouterr().out


def test_a_mapping_is_one_setting_with_spaces_and_without(tmp_path):
    for seed, text in enumerate(("{start: 1, end: 1}", "{start:1,end:1}", "{ start: 1, end: 0 }")):
        end = 0 if "0" in text else 1
        config = {"space": {"auxiliary_skip": {"start": 1, "end": end}}}
        write_run(tmp_path / str(seed), seed, overrides=[f"space.auxiliary_skip={text}"], config=config)
    table = summary(find_runs(tmp_path))
    assert [(row.settings, len(row.runs)) for row in table.rows] == [
        (("{start:1,end:0}",), 1),
        (("{start:1,end:1}",), 2),
    ]
    groups, _ = find_groups(
        ["space.auxiliary_skip={start: 1, end: 1}", "seed=2,space.auxiliary_skip={start: 1,end:0}"],
        [tmp_path],
        None,
        "search",
    )
    assert [len(group.runs) for group in groups] == [2, 1]


def test_what_is_in_quotes_within_a_mapping_stays(tmp_path):
    for seed, text in enumerate(("{p: 'a, b'}", "{p: 'a,b'}", '["x : y"]', "plain : text")):
        write_run(tmp_path / str(seed), seed, overrides=[f"+data.x={text}"])
    settings = sorted(row.settings[0] for row in summary(find_runs(tmp_path)).rows)
    assert settings == sorted(["{p:'a, b'}", "{p:'a,b'}", '["x : y"]', "plain : text"])


def test_a_flag_that_a_reports_version_did_not_have_counts_as_off(tmp_path):
    write_run(tmp_path / "before", seed=0, config={"space": {"C": 8}})
    write_run(tmp_path / "off", seed=1, config={"space": {"C": 8, "auxiliary_mean": False}})
    write_run(
        tmp_path / "on", 2, overrides=["space.auxiliary_mean=true"], config={"space": {"C": 8, "auxiliary_mean": True}}
    )
    table = summary(find_runs(tmp_path))
    index = table.settings.index("space.auxiliary_mean")
    assert [(row.settings[index], len(row.runs)) for row in table.rows] == [("False", 2), ("True", 1)]


def test_settings_that_are_groups_show_the_choice_and_stay_blank_where_not_chosen(tmp_path):
    config = {"relaxation": {"_target_": "x"}}
    write_run(tmp_path / "a", overrides=["relaxation=softmax", "hydra.job.name=x"], config=config)
    write_run(tmp_path / "b", config=config)
    table = summary(find_runs(tmp_path))
    assert table.settings == ("relaxation",)
    assert {row.settings for row in table.rows} == {("softmax",), ("",)}


def test_what_the_methods_name_tells_has_no_column(tmp_path):
    for seed, (method, decay) in enumerate([("edd", None), ("edd + penalty=beta_decay", "beta_decay")]):
        overrides = [f"penalty={decay}"] if decay else []
        write_run(tmp_path / f"{seed}", seed, method, overrides, {"penalty": {"_target_": "x"} if decay else None})
    assert summary(find_runs(tmp_path)).settings == ("method",)
    write_run(tmp_path / "other", 2, "edd + penalty=l2", ["penalty=l2"], {"penalty": {"_target_": "x"}})
    assert summary(find_runs(tmp_path)).settings == ("method",)
    write_run(tmp_path / "hidden", 3, "edd", ["penalty=l2"], {"penalty": {"_target_": "x"}})
    assert summary(find_runs(tmp_path)).settings == ("method", "penalty")


def test_long_numbers_are_shown_with_six_digits_where_those_tell_them_apart(tmp_path):
    def shown():
        return [row[0] for row in grid(summary(find_runs(tmp_path))).rows]

    for scale in (0.0003989422804014327, 0.000399, 12345678901):
        write_run(tmp_path / f"{scale}", overrides=[f"sched.e={scale}"], config={"sched": {"e": scale}})
    assert shown() == ["0.000398942", "0.000399", "12345678901"]
    write_run(tmp_path / "near", overrides=["sched.e=0.00039894229"], config={"sched": {"e": 0.00039894229}})
    assert shown() == ["0.0003989422804014327", "0.00039894229", "0.000399", "12345678901"]


def test_notes_are_broken_between_words_in_a_terminal_alone():
    for is_terminal, lines in (
        (True, ["p of single", "correlations, not", "corrected"]),
        (False, ["p of single correlations, not corrected"]),
    ):
        console = Console(width=18, file=io.StringIO(), force_terminal=is_terminal)
        say(["p of single correlations, not corrected"], console)
        assert [line.rstrip() for line in console.file.getvalue().splitlines()] == lines


def test_numbers_sort_by_size(tmp_path):
    for lam in ("0.5", "10", "2"):
        write_run(tmp_path / lam, overrides=[f"sched.lam={lam}"], config={"sched": {"lam": float(lam)}})
    assert [row.settings[0] for row in summary(find_runs(tmp_path)).rows] == ["0.5", "2.0", "10.0"]


def test_missing_values_stay_blank_and_a_smaller_n_is_said(tmp_path):
    write_run(tmp_path / "a", 0, scores={}, final={"entropy": math.nan}, overrides=["method=a"], method="a")
    write_run(tmp_path / "b", 0, overrides=["method=b"], method="b")
    write_run(tmp_path / "c", 1, scores={}, overrides=["method=b"], method="b")
    table = summary(find_runs(tmp_path))
    a, b = markdown(grid(table)).splitlines()[2:4]
    assert a == "| a | 1 |  |  |  | 100 |"
    assert b.endswith("| 91.00 (n=1) | 100 ± 1 |")
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert (rows[0]["entropy_nats_mean"], rows[0]["entropy_nats_std"], rows[0]["entropy_nats_n"]) == ("", "", "0")
    assert (rows[1]["cifar10_test_200_percent_mean"], rows[1]["cifar10_test_200_percent_n"]) == ("91.0", "1")


def test_other_scores_are_shown_only_without_those_of_200_epochs(tmp_path):
    write_run(tmp_path / "a", scores={"my_score": 12.345})
    assert "| my_score (%) |" in markdown(grid(summary(find_runs(tmp_path))))
    write_run(tmp_path / "b", seed=1)
    assert "my_score" not in markdown(grid(summary(find_runs(tmp_path))))


def test_unfinished_broken_and_repeated_runs_are_named_below_the_table(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b")
    write_run(tmp_path / "c", finished=False)
    write_run(tmp_path / "d", schema=7)
    assert notes(summary(find_runs(tmp_path))) == [
        "repeated: edd: 2 runs have seed 0, and n counts each of them",
        f"unfinished: {tmp_path / 'c'}: 6 epochs done",
        f"broken: {tmp_path / 'd'}: report.json has schema 7, this version reads 1",
    ]
    for seed in range(1, 9):
        for copy in ("x", "y", "z"):
            write_run(tmp_path / copy / str(seed), seed)
    first, *_ = notes(summary(find_runs(tmp_path)))
    assert first.startswith("repeated: edd: 2 runs have seed 0, 3 runs have seed 1, ")
    assert first.endswith("3 runs have seed 5, 3 other seeds likewise, and n counts each of them")


def test_scores_of_different_tables_are_named_below_the_table(tmp_path):
    own = ["the package's own table", "a.csv"]
    for number, table in enumerate((own, own, [])):
        write_run(tmp_path / str(number), number, table=table)
    assert notes(summary(find_runs(tmp_path))) == []
    write_run(tmp_path / "mine", 3, table=["mine.npz"])
    assert notes(summary(find_runs(tmp_path))) == [
        "scored by different tables: the package's own table, a.csv (2 runs); mine.npz (1 run)"
    ]


def test_a_narrow_terminal_keeps_the_result(tmp_path):
    scores = {"cifar10_test_200": 94.37, "cifar100_test_200": 73.51}
    for seed in (0, 1):
        write_run(tmp_path / str(seed), seed, scores=scores)
    form = grid(summary(find_runs(tmp_path)))
    shown = [fitted(form, width) for width in range(90, 20, -1)]
    kept = list(dict.fromkeys(part.headings for part, _ in shown))
    result = "if trained on CIFAR-10 (%)"
    assert [headings[1:] for headings in kept] == [
        ("entropy (nats)", "discretised (%)", result, "if trained on CIFAR-100 (%)", "seconds"),
        ("entropy (nats)", "discretised (%)", result, "if trained on CIFAR-100 (%)"),
        ("entropy (nats)", "discretised (%)", result),
        ("entropy (nats)", result),
        (result,),
    ]
    assert all({*part.headings, *hidden} == {*form.headings} for part, hidden in shown)


def test_labels_are_broken_after_punctuation_where_they_are_folded():
    name = "edd + space.auxiliary_skip={start:1,end:1}"
    console = Console(width=40, file=io.StringIO())
    console.print(terminal(Grid(("method", "accuracy (%)"), ((name, "92.33 ± 2.18"),), 1), 40))
    folded = [line[1:24].rstrip() for line in console.file.getvalue().splitlines()[3:]]
    assert [line for line in folded if line] == ["edd + space.auxiliary_", "skip={start:1,end:1}"]


def test_the_terminal_table_fits_100_columns_unabridged(tmp_path):
    scores = {"cifar10_test_200": 94.37, "cifar100_test_200": 73.51, "imagenet16_120_test_200": 46.34}
    for seed, lam in ((0, 0.06), (1, 0.06), (0, 0.12)):
        write_run(
            tmp_path / f"{lam},{seed}",
            seed,
            scores=scores,
            overrides=[f"sched.lam={lam}"],
            config={"sched": {"lam": lam}},
        )
    console = Console(width=100, file=io.StringIO())
    console.print(terminal(grid(summary(find_runs(tmp_path)))))
    text = console.file.getvalue()
    assert "94.37 ± 0.00" in text
    assert "ImageNet16-120" in text
    assert "…" not in text


def printed(form, width):
    console = Console(width=width, file=io.StringIO())
    console.print(terminal(form, width))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 100, 160])
def test_no_number_is_broken_and_no_line_too_long_at_any_width(width):
    headings = ("sched.lam", "relaxation", "n", "entropy (nats)", "ImageNet16-120 test (%)", "multiply-adds (M)")
    rows = (
        ("0.06", "edd with relaxation=softmax and more", "3", "0.120 ± 0.121", "31.93 ± 12.12 (n=2)", "1946.3 ± 0.1"),
        ("0.12", "sn_st1", "3", "0.031 ± 0.012", "35.38 ± 4.62", ""),
    )
    form = Grid(headings, rows, labels=2)
    shown, hidden = fitted(form, width)
    assert (*shown.headings, *hidden) == headings
    if len(shown.headings) == shown.labels:  # not even the first measure fits
        text, shown = listed(form, width), form
        assert width <= 30
        assert all(len(line) <= width or line in headings or line[:2] == "  " for line in text.splitlines())
    else:
        text = printed(shown, width)
        assert all(len(line) <= width for line in text.splitlines())
    for row in shown.rows:
        assert all(any(cell in line for line in text.splitlines()) for cell in row[2:])
    assert (hidden == ()) == (width >= 80)


def test_the_narrower_terminal_shows_the_first_columns_of_the_wider():
    form = Grid(("method", "n", *(f"m{i} (%)" for i in range(9))), (("edd", "3", *["93.21 ± 0.12"] * 9),), labels=1)
    shown = [len(fitted(form, width)[0].headings) for width in range(20, 200)]
    assert shown == sorted(shown)
    assert (shown[0], shown[-1]) == (1, 11)
    assert (
        len(fitted(form, 80)[0].headings) == 2 + 4
    )  # 1 + (6 + 2) + (1 + 2) + 4 * (12 + 2) = 68; a fifth would need 82


def test_every_experiment_has_a_table_with_the_settings_that_differ_in_it_alone(tmp_path, capsys):
    for seed, lam in enumerate((0.06, 0.12)):
        config = {"sched": {"lam": lam}, "space": {"C": 8}}
        write_run(tmp_path / f"a{lam}", seed, overrides=[f"sched.lam={lam}"], config=config, experiment="lams")
        other = {"sched": {"lam": 0.5}, "space": {"C": 16 + seed}}
        write_run(tmp_path / f"b{seed}", 0, overrides=[f"space.C={16 + seed}"], config=other, experiment="sizes")
    write_run(tmp_path / "c", finished=False)
    assert main(["summary", str(tmp_path), "--format", "markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if line.startswith("| s")]
    assert [head.split(" | ")[:2] for head in heads] == [["| sched.lam", "n"], ["| space.C", "n"]]
    assert [line for line in lines if "searches" in line] == ["lams (2 searches)", "sizes (2 searches)"]
    assert [line for line in lines if line.startswith("- unfinished")] == [
        f"- unfinished: {tmp_path / 'c'}: 6 epochs done"
    ]
    assert main(["summary", str(tmp_path), "--format", "csv"]) == 0  # programs read one table
    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == 4


def test_measures_that_no_run_has_take_no_column(tmp_path):
    write_run(tmp_path / "a", scores={}, final={"entropy": 0.1})
    assert grid(summary(find_runs(tmp_path))).headings == ("n", "entropy (nats)", "seconds")


def test_named_columns_are_metrics_their_best_epochs_and_the_papers_numbers(tmp_path, capsys):
    """Against means and deviations by hand: epochs' table scores are 90 + 0.3 epoch + 0.01 seed for epochs 0 to 5."""
    for method, sched in (("edd", {"lam": 0.06}), ("darts", {})):
        for seed in range(2):
            config = {"space": {"none": True}, "sched": sched}
            write_run(
                tmp_path / method / str(seed),
                seed,
                method,
                config=config,
                relaxation="sn_st1",
                sched="edd" if sched else "none",
            )
    columns = ["best/table/cifar10_test_200", "cifar10_test_200", "skip_connects", "seconds", "table1/cifar10_test"]
    assert main(["summary", str(tmp_path), "--format", "markdown", "--columns", *columns]) == 0
    head, _, darts, edd = capsys.readouterr().out.splitlines()[:4]
    assert [cell.strip() for cell in head.split("|")[2:-1]] == [
        "n", "best epoch: if trained on CIFAR-10 (%)", "if trained on CIFAR-10 (%)", "skip_connects", "seconds",
        "paper, table 1: CIFAR-10 test (%)",
    ]  # fmt: skip
    ours = ["2", "91.50 ± 0.01", "91.50 ± 0.71", "2.0 ± 0.0", "100.5 ± 0.7"]
    assert [cell.strip() for cell in edd.split("|")[2:-1]] == [*ours, "93.80 ± 0.33"]
    assert [cell.strip() for cell in darts.split("|")[2:-1]] == [
        *ours,
        "",
    ]  # the paper's DARTS has a constant temperature
    assert main(["summary", str(tmp_path), "--format", "csv", "--columns", *columns]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["table1/cifar10_test_mean"] for row in rows] == ["", "93.8"]
    assert float(rows[1]["best/table/cifar10_test_200_mean"]) == pytest.approx(91.505)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("loss", "no run of these has loss; give --columns one of "),
        ("best/", "no run of these has best/; give --columns one of "),
        ("best/loss", "no run of these has loss; give --columns one of "),
        ("best/seconds", "no run has seconds over its epochs; leave best/seconds out of --columns."),
        (
            "table1",
            "table1 is no column of the paper's; give --columns one of table1/search_seconds, table1/cifar10_valid, ",
        ),
        ("table1/seconds", "table1/seconds is no column of the paper's; give --columns one of table1/search_seconds, "),
    ],
)
def test_a_column_that_is_none_is_refused(name, said, tmp_path, capsys):
    write_run(tmp_path / "a")
    assert main(["summary", str(tmp_path), "--columns", "entropy", name]) == 1
    assert said in capsys.readouterr().err


def test_more_than_five_failures_of_one_cause_share_a_line(tmp_path):
    for number, cause in enumerate(["dataset.root is missing."] * 6 + ["sched.lam must be positive."] * 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "failed.txt").write_text(cause)
    assert notes(summary(find_runs(tmp_path))) == [
        f"failed: {tmp_path / '0'} and 5 more: dataset.root is missing.",
        *(f"failed: {tmp_path / number}: sched.lam must be positive." for number in "67"),
    ]


# --- the command


def test_the_command_prints_each_format(tmp_path, capsys):
    for seed in range(2):
        write_run(tmp_path / f"seed={seed}", seed)
    write_run(tmp_path / "stopped", finished=False)
    for form in ("table", "markdown", "latex", "csv"):
        assert main(["summary", str(tmp_path), "--format", form]) == 0
        output, errors = capsys.readouterr()
        assert ("stopped: 6 epochs done" in errors) == (form in ("latex", "csv"))
        assert ("stopped: 6 epochs done" in output) == (form in ("table", "markdown"))
    assert float(next(csv.DictReader(io.StringIO(output)))["cifar10_test_200_percent_mean"]) == 91.5


@pytest.mark.parametrize("suffix", ["", ".svg", ".png"])
def test_the_command_draws_svg_and_png_beside_each_other(tmp_path, suffix, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "nas_lightning.reports.__main__.plot_comparison", lambda groups, path, name: drawn.append(str(path))
    )
    write_run(tmp_path / "run")
    assert main(["figure", "fig4", str(tmp_path), "-o", f"lam=0.5{suffix}"]) == 0
    assert drawn == ["lam=0.5"]


def test_a_finished_run_without_its_metrics_is_named_and_left_out_of_the_figure(tmp_path, capsys):
    for seed in range(2):
        write_run(tmp_path / "runs" / str(seed), seed)
    (tmp_path / "runs" / "1" / "metrics.csv").unlink()
    assert main(["figure", "fig4", str(tmp_path / "runs"), "-o", str(tmp_path / "figure")]) == 0
    assert f"broken: {tmp_path / 'runs' / '1'}: " in capsys.readouterr().err
    assert any("(n=1)" in text for text in svg_texts(tmp_path / "figure.svg"))


def test_a_figure_of_runs_without_runs_is_one_sentence(tmp_path, capsys):
    assert main(["figure", "fig4", "-o", str(tmp_path / "f")]) == 1
    assert capsys.readouterr().err == "figure fig4 needs RUNS; give the folder of a run or of a sweep.\n"


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv"])
def test_a_reader_that_leaves_ends_the_command_without_a_traceback(form, tmp_path):
    write_run(tmp_path / "run", method="edd")
    command = [sys.executable, "-m", "nas_lightning.reports", "table", "table2", str(tmp_path), "--format", form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before a line is written: what `| head -0` does
        errors = process.stderr.read().decode()
    assert process.returncode == 1
    assert "Error" not in errors
    assert "Traceback" not in errors


def test_a_refusal_is_one_sentence_where_the_reader_of_what_was_said_has_left():
    program = """
from nas_lightning.errors import UserError, exit_status
def refused():
    input()
    print("said before")
    raise UserError("it is refused.")
raise SystemExit(exit_status(refused))
"""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", program], env=environment, **pipes) as process:
        process.stdout.close()
        process.stdin.write(b"go\n")
        process.stdin.close()
        errors = process.stderr.read().decode()
    assert (errors, process.returncode) == ("it is refused.\n", 1)


def test_a_folder_without_runs_is_one_sentence_and_status_1(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("nowhere", "is not a folder"),
        ("no*where", "nor a pattern of some"),
        ("empty", "holds no run"),
    ):
        assert main(["summary", str(tmp_path / name)]) == 1
        output, errors = capsys.readouterr()
        assert output == ""
        assert message in errors
        assert errors.count("\n") == 1


def test_a_folder_that_cannot_be_listed_is_no_folder_without_runs(tmp_path, capsys, monkeypatch):
    def denied(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr("os.scandir", denied)
    assert main(["summary", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path} cannot be listed (Permission denied); make it readable")


def test_reports_load_no_torch_lightning_hydra_or_matplotlib():
    forbidden = "{'torch', 'pytorch_lightning', 'hydra', 'wandb', 'matplotlib', 'numpy'}"
    code = f"import sys, nas_lightning.reports.__main__; print({forbidden} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


# --- drawings of cells


def test_every_edge_is_labelled_with_its_operation_in_svg_and_png(tmp_path):
    draw_cell(ALL_FIVE, tmp_path / "sched.lam=0.06")
    texts = svg_texts(tmp_path / "sched.lam=0.06.svg")
    operations = [choice.operation for choice in ALL_FIVE.cells["cell"]]
    assert sorted(text for text in texts if text in NB201_OPERATIONS) == sorted(operations)
    assert {"0", "1", "2", "3", "input", "output"} <= set(texts)
    assert (tmp_path / "sched.lam=0.06.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 2


def test_operations_differ_in_line_style_and_not_only_in_colour(tmp_path):
    looks = set()
    for operation in NB201_OPERATIONS:
        draw_cell(nb201_genotype((operation,) * 6), tmp_path / operation)
        svg = (tmp_path / f"{operation}.svg").read_text()
        looks.add(re.search(r'style="fill: none;((?: stroke-(?:dash|width)[^;"]*;?| stroke: [^;]*;)*)', svg)[1])
    without_colour = {re.sub(r"stroke: [^;]*;", "", look) for look in looks}
    assert len(without_colour) == len(NB201_OPERATIONS)


def test_equal_input_gives_equal_svg_files(tmp_path):
    for name in ("a", "b"):
        draw_cell(ALL_FIVE, tmp_path / name / "cell")
        plot_search({"epoch": [0, 1], "entropy": [1.6, 1.0], "temperature": [1, 0.1]}, tmp_path / name / "plot", "t")
    for file in ("cell.svg", "plot.svg"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_no_two_arrows_of_the_nb201_cell_cross_or_touch():
    curves = []
    for arrow in layout(ALL_FIVE.cells["cell"]):
        start, end = ((2.15 * node, 0.0) for node in (arrow.choice.source, arrow.choice.target))
        controls = arc(start, end, arrow.level)
        points = []
        for t in (step / 60 for step in range(3, 58)):  # arrows of one node start close to each other
            weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            points.append([sum(w * p[axis] for w, p in zip(weights, controls, strict=True)) for axis in (0, 1)])
        curves.append(points)
    nearest = min(math.dist(p, q) for i, one in enumerate(curves) for other in curves[:i] for p in one for q in other)
    assert len(curves) == len(NB201_EDGES)
    assert nearest > 0.1


def test_a_genotype_of_several_cell_types_and_unknown_operations_is_drawn(tmp_path):
    normal = (Choice("sep_conv_3x3", 0, 2), Choice("my_own_op", 1, 2), Choice("skip_connect", 0, 3))
    draw_cell(Genotype("darts", {"normal": normal, "reduce": (*normal, Choice("none", 0, 3))}), tmp_path / "cell")
    texts = svg_texts(tmp_path / "cell.svg")
    assert {"darts · normal", "darts · reduce"} <= set(texts)
    assert texts.count("my_own_op") == 2
    with pytest.raises(UserError, match="has no cell to draw"):
        draw_cell(Genotype("darts", {}), tmp_path / "none")
    draw_cell(Genotype("darts", {"normal": (), "reduce": normal}), tmp_path / "none")
    assert "darts · normal: nothing is kept" in svg_texts(tmp_path / "none.svg")
    draw_cell(Genotype("darts", {"normal": (), "reduce": ()}), tmp_path / "none")


def test_dot_text_holds_every_edge_once():
    edges = re.findall(r'"cell/(\d)" -> "cell/(\d)" \[label="(\w+)"', dot_text(ALL_FIVE))
    assert sorted(edges) == sorted((str(c.source), str(c.target), c.operation) for c in ALL_FIVE.cells["cell"])
    assert r'[label="a\"b"' in dot_text(Genotype("x", {"cell": (Choice('a"b', 0, 1),)}))


# --- figures


def test_a_search_is_plotted_with_and_without_a_table(tmp_path):
    for table in (True, False):
        write_metrics(tmp_path, table=table)
        plot_search(read_metrics(tmp_path / "metrics.csv"), tmp_path / "entropy", "edd, seed 0")
        texts = svg_texts(tmp_path / "entropy.svg")
        assert {"edd, seed 0", "entropy (nats)", "temperature", "accuracy (%)"} <= set(texts)
        assert ("CIFAR-10 test, in the table" in texts) == table


def test_a_search_of_one_epoch_is_a_visible_point_and_of_none_a_sentence(tmp_path):
    plot_search({"epoch": [0], "entropy": [1.6], "temperature": [1.0]}, tmp_path / "one", "one")
    assert re.search(r"<use [^>]*fill: #0072b2", (tmp_path / "one.svg").read_text())
    with pytest.raises(UserError, match="no epoch to draw"):
        plot_search({"epoch": [], "entropy": []}, tmp_path / "none", "none")
    assert not (tmp_path / "none.svg").exists()


def test_the_longest_architecture_fits_into_a_title(tmp_path):
    longest = str(nb201_genotype(("nor_conv_3x3",) * 6))
    plot_search({"epoch": [0], "entropy": [1.6], "temperature": [1.0]}, tmp_path / "plot", f"edd, seed 0: {longest}")
    with Image.open(tmp_path / "plot.png") as image:
        pixels = image.convert("L")
    height = pixels.height // 12
    for left in (0, pixels.width - 6):
        assert min(pixels.crop((left, 0, left + 6, height)).getdata()) == 255  # the title keeps off both edges


def test_the_comparison_says_n_and_leaves_out_the_table_panel_where_there_is_none(tmp_path):
    for seed in range(2):
        write_run(tmp_path / "edd" / str(seed), seed)
    write_metrics(write_run(tmp_path / "darts", 0, "darts"), table=False)
    groups = group_names(summary(find_runs(tmp_path)))
    assert list(groups) == ["darts", "edd"]
    plot_comparison(groups, tmp_path / "both")
    texts = svg_texts(tmp_path / "both.svg")
    assert {"darts (n=1)", "edd (n=2)", "A  mean entropy (nats)", "D  skip connections"} <= set(texts)
    assert "C  CIFAR-10 test accuracy in the table (%); darts: n=0" in " ".join(texts)
    plot_comparison({"darts": groups["darts"]}, tmp_path / "darts")
    assert not any("CIFAR" in text for text in svg_texts(tmp_path / "darts.svg"))
    with pytest.raises(UserError, match="has an epoch to draw"):
        plot_comparison({}, tmp_path / "none")


def test_the_tables_best_is_a_line_and_the_axis_gives_most_room_to_88_and_more(tmp_path, monkeypatch):
    from nas_lightning.reports import figures

    drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path, title: drawn.append(figure))
    for offset in (0.0, -40.0):  # from 90 to 91.5, and from 50
        folder = write_run(tmp_path / f"{offset}")
        write_metrics(folder, offset=offset)
        plot_comparison({"g": find_runs(folder)}, tmp_path / "figure")
        axes = drawn[-1].axes[2]
        assert axes.get_title(loc="left") == "C  CIFAR-10 test accuracy in the table (%)"
        assert 94.37 in [line.get_ydata()[0] for line in axes.lines if len({*line.get_ydata()}) == 1]
        bottom, floor, best, top = axes.transData.transform(
            [(0, y) for y in (*axes.get_ylim()[:1], 88, 94.37, axes.get_ylim()[1])]
        )[:, 1]
        assert (best - floor) / (top - bottom) > 0.7
        assert axes.get_ylim()[0] <= min(88, 90 + offset)
        assert 94.37 < axes.get_ylim()[1] < 96


def test_bands_lie_below_every_line_and_more_than_four_settings_have_none(tmp_path, monkeypatch):
    from nas_lightning.reports import figures

    drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path, title: drawn.append(figure))
    for seed in range(2):
        write_run(tmp_path / f"{seed}", seed)
    runs = find_runs(tmp_path)
    for settings in (4, 5):
        plot_comparison({f"g{number}": runs for number in range(settings)}, tmp_path / "figure", name="fig4b")
        (axes,) = drawn[-1].axes
        assert len(axes.collections) == (4 if settings == 4 else 0)
        assert all(band.get_zorder() < line.get_zorder() for band in axes.collections for line in axes.lines)
        assert len([line for line in axes.lines if line.get_linewidth() > 2 and line.get_label()[0] == "g"]) == settings


LONG = [f"relaxation=sn_s100, lam={number}, {'x' * 60}" for number in range(16)]


def pixels_at_the_edges(path):
    with Image.open(path) as image:
        pixels = image.convert("L")
    strips = [pixels.crop((left, 0, left + 4, pixels.height)) for left in (0, pixels.width - 4)]
    return min(min(strip.getdata()) for strip in strips)


@pytest.mark.parametrize("plot", [plot_comparison, plot_cost])
def test_a_legend_of_many_long_names_fits_and_no_two_lines_look_alike(plot, tmp_path):
    write_run(tmp_path / "run")
    runs = find_runs(tmp_path)
    plot(dict.fromkeys(LONG, runs), tmp_path / "figure")
    texts = svg_texts(tmp_path / "figure.svg")
    for name in LONG:
        assert any(f"{name} (n=1)".startswith(text) for text in texts)
    assert pixels_at_the_edges(tmp_path / "figure.png") == 255
    assert len({(look.dashes, look.marker) for look in LOOKS}) == len(LOOKS) >= len(LONG)
    assert len({(look.marker, look.fill) for look in LOOKS[:14]}) == 14


def test_a_legend_leaves_out_what_tells_no_two_rows_apart_and_shortens_keys(tmp_path):
    for number, (method, lam, width) in enumerate([("darts", 0.06, 8), ("edd", 0.06, 16), ("edd", 0.12, 16)]):
        overrides = [f"method={method}", f"sched.lam={lam}", f"space.C={width}"]
        config = {"sched": {"lam": lam}, "space": {"C": width}}
        write_run(tmp_path / str(number), method=method, overrides=overrides, config=config)
    table = summary(find_runs(tmp_path))
    assert table.settings == ("method", "sched.lam", "space.C")
    assert list(group_names(table)) == ["darts, lam=0.06", "edd, lam=0.06", "edd, lam=0.12"]
    one, other = (
        write_run(tmp_path / "more" / name, overrides=o) for name, o in (("a", ["relaxation=softmax"]), ("b", []))
    )
    assert set(group_names(summary(find_runs(one, other)))) == {"relaxation=softmax", "default"}
    assert list(group_names(summary(find_runs(one)))) == ["edd"]
    for space, method in (("darts", "darts"), ("darts", "edd"), ("nb201", "darts")):
        write_run(tmp_path / "spaces" / space / method, method=method, space=space)
    names = list(group_names(summary(find_runs(tmp_path / "spaces"))))
    assert names == ["darts, space=darts", "darts, nb201", "edd, darts"]


def test_a_line_at_the_top_of_the_entropies_is_seen_in_full(tmp_path):
    plot_search({"epoch": [0, 1], "entropy": [1.6, 1.6], "temperature": [1, 1]}, tmp_path / "plot", "t")
    svg = (tmp_path / "plot.svg").read_text()
    line = re.search(r'<path d="M [\d.]+ ([\d.]+) \nL [^"]*" clip-path[^>]*stroke: #0072b2; stroke-width: 2.2', svg)
    top = re.search(r'<clipPath id="\w+">\s*<rect x="[\d.]+" y="([\d.]+)"', svg)
    assert float(line[1]) - float(top[1]) > 1.1  # half the line's width


def test_a_group_whose_runs_differ_in_length_is_averaged_where_all_have_an_epoch(tmp_path, monkeypatch):
    for seed, epochs in enumerate((4, 6)):
        write_metrics(write_run(tmp_path / str(seed), seed, epochs=epochs), epochs=epochs, offset=float(seed))
    drawn = {}
    from matplotlib.axes import Axes

    original = Axes.plot

    def recording(axes, x, y, *rest, **named):
        if named.get("label") == "g (n=2)" and not drawn:
            drawn.update(zip(x, y, strict=True))
        return original(axes, x, y, *rest, **named)

    monkeypatch.setattr(Axes, "plot", recording)
    plot_comparison({"g": find_runs(tmp_path)}, tmp_path / "figure")
    assert drawn == pytest.approx({epoch: 1.609 * 0.7**epoch + 0.5 for epoch in range(4)})


def write_architecture(folder, epochs=6, operations=NB201_OPERATIONS, edges=6):
    """alpha grows for the operation whose index is the edge's; beta is its softmax."""
    rows = []
    for epoch in range(epochs):
        alphas = [[epoch * (o == e % len(operations)) for o in range(len(operations))] for e in range(edges)]
        row = {"epoch": epoch}
        for kind in ("alpha", "beta"):
            for e, alpha in enumerate(alphas):
                total = sum(map(math.exp, alpha))
                values = alpha if kind == "alpha" else [math.exp(a) / total for a in alpha]
                row |= {f"{kind}/cell/{e}/{o}": v for o, v in zip(operations, values, strict=True)}
        rows.append(row | {"architecture": ALL_FIVE.to_json()})
    with open(folder / "architecture.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("name", ["fig4a", "fig4b", "temperature", "skips", "cost"])
def test_each_comparison_is_drawn_by_its_name(name, tmp_path):
    for seed, method in ((0, "edd"), (1, "edd"), (0, "darts")):
        write_run(tmp_path / "runs" / f"{method}{seed}", seed, method)
    assert main(["figure", name, str(tmp_path / "runs"), "-o", str(tmp_path / name)]) == 0
    texts = svg_texts(tmp_path / f"{name}.svg")
    assert {"darts (n=1)", "edd (n=2)"} <= set(texts)
    axis = {
        "fig4a": "mean entropy (nats)", "fig4b": "discretised validation accuracy (%)", "temperature": "temperature t",
        "skips": "skip connections", "cost": "CIFAR-10 test accuracy in the table (%)",
    }  # fmt: skip
    assert axis[name] in texts


def test_trajectories_have_a_panel_for_every_edge_and_a_look_without_colour_for_every_operation(tmp_path):
    write_architecture(tmp_path)
    plot_trajectories(read_metrics(tmp_path / "architecture.csv"), ALL_FIVE, "beta", tmp_path / "beta")
    texts = svg_texts(tmp_path / "beta.svg")
    assert [text for text in texts if text.startswith("cell ")] == [f"cell {a}->{b}" for a, b in NB201_EDGES]
    assert set(NB201_OPERATIONS) <= set(texts)
    svg = (tmp_path / "beta.svg").read_text()
    dashes = list(re.findall(r"stroke-dasharray: ([^;\"]+)", svg))
    assert len({tuple(dash.split()) for dash in dashes}) >= 3  # and solid
    with pytest.raises(UserError, match="no gamma to draw"):
        plot_trajectories(read_metrics(tmp_path / "architecture.csv"), ALL_FIVE, "gamma", tmp_path / "none")


def test_the_heat_map_shows_betas_of_the_epoch(tmp_path):
    write_architecture(tmp_path, operations=NB201_OPERATIONS[1:])
    columns = read_metrics(tmp_path / "architecture.csv")
    plot_beta(columns, ALL_FIVE, 5, tmp_path / "map")
    high, low = math.exp(5) / (math.exp(5) + 3), 1 / (math.exp(5) + 3)
    texts = svg_texts(tmp_path / "map.svg")
    assert texts.count(f"{high:.2f}") == 6
    assert {f"cell {a}->{b}" for a, b in NB201_EDGES} <= set(texts)
    assert texts.count(f"{low:.2f}") == 18
    with pytest.raises(UserError, match="no epoch 6"):
        plot_beta(columns, ALL_FIVE, 6, tmp_path / "map")


def test_runs_without_an_architecture_csv_are_named_and_the_others_drawn(tmp_path, capsys):
    for name in "abc":
        write_run(tmp_path / "runs" / name)
    assert main(["figure", "beta", str(tmp_path / "runs"), "-o", str(tmp_path / "beta")]) == 1
    assert "none of these runs has an architecture.csv" in capsys.readouterr().err
    write_architecture(tmp_path / "runs" / "b")
    assert main(["figure", "beta", str(tmp_path / "runs"), "-o", str(tmp_path / "beta")]) == 0
    assert f"not drawn: {tmp_path / 'runs' / 'a'} and 1 more" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "beta").iterdir()) == ["quickstart-b.png", "quickstart-b.svg"]


def test_the_command_draws_every_runs_trajectories_and_cell(tmp_path):
    genotype = json.loads(ALL_FIVE.to_json())
    write_architecture(write_run(tmp_path / "runs" / "a", genotype=genotype))
    for name in ("alpha", "cells"):
        assert main(["figure", name, str(tmp_path / "runs"), "-o", str(tmp_path / name)]) == 0
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["quickstart-a.png", "quickstart-a.svg"]


@pytest.mark.parametrize(
    ("report", "name"),
    [
        ({"dataset": "folder", "config": {"dataset": {"root": "a/Meine Fotos.zip"}}}, "Meine Fotos"),
        ({"dataset": "cifar10", "config": {"dataset": {"root": "a/cifar10-train.zip"}}}, "cifar10"),
        ({"dataset": "folder", "config": {"dataset": {"root": "."}}}, "folder"),
        ({"dataset": "folder", "config": {"dataset": 3}}, "folder"),
        ({"dataset": "folder", "config": None}, "folder"),
        ({}, "?"),
    ],
)
def test_images_are_called_by_their_folders_name(report, name):
    assert images_of(report) == name


# --- the panel


def shown(report, folder, width=100):
    console = Console(width=width, file=io.StringIO())
    print_found(report, folder, console)
    lines = console.file.getvalue().splitlines()
    assert width < 100 or all(len(line) <= width for line in lines)
    return "\n".join(lines)


def test_the_panel_shows_the_longest_architecture_on_one_line_and_every_result(tmp_path):
    report = json.loads((write_run(tmp_path / "run") / "report.json").read_text())
    longest = str(nb201_genotype(("nor_conv_3x3",) * 6))
    text = shown(report | {"architecture": longest, "seconds": 3725.0}, tmp_path / "run")
    entropy, accuracy = report["final"]["entropy"], 100 * report["final"]["discrete_accuracy"]
    for part in (longest, f"{entropy:.3f} nats", f"{accuracy:.2f} %", "0.0312", "CIFAR-10 91.00 %", "1 h 2 min", "edd"):
        assert part in text
    assert "metrics.csv" in text
    assert "cell.svg" not in text  # it was not written


def test_the_panel_says_how_another_discretised_accuracy_was_measured(tmp_path):
    config = {"seed": 0, "sched": {"lam": 0.12}, "model": {"discretise": "cold"}}
    report = json.loads((write_run(tmp_path / "run", config=config) / "report.json").read_text())
    assert "measured with model.discretise=cold" in " ".join(shown(report, tmp_path / "run").split())


@pytest.mark.parametrize("width", [80, 60, 59, 20, 1])
def test_what_was_found_is_whole_on_a_narrow_terminal(width, tmp_path):
    report = json.loads((write_run(tmp_path / "run") / "report.json").read_text())
    report |= {"dataset": "folder", "config": {"dataset": {"root": f"photos/{'long ' * 12}(2026).zip"}}}
    text = shown(report, tmp_path / "run", width)
    assert "…" not in text
    assert f"Architecture {report['architecture']}\n" in text
    words = " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())
    assert f"on nb201, {'long ' * 12}(2026), seed" in words
    assert "nats, mean over edges" in words
    assert "if trained on CIFAR-10 91.00 %" in words


def test_the_panel_says_that_there_is_no_table(tmp_path):
    report = json.loads((write_run(tmp_path / "run", scores={}) / "report.json").read_text())
    assert "no benchmark table in this run" in shown(report, tmp_path / "run")
