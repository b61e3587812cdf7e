"""What the benchmark measures is what it says, and its document says what was measured. No test looks at a time."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from nas_lightning.reports.__main__ import main
from nas_lightning.spaces.norms import SupernetNorm
from speed import gpu, gpu_searches, gpu_tables, measure, methods, record, scaling, tables
from speed.__main__ import documents
from speed.half_steps import ARCHITECTURE, SIDES, SPACES, WEIGHT_STEPS, MeasuredSteps, Size
from speed.loop import BareModule, build_search, fake_search, lightning_overhead
from speed.memory import profile_step, resident
from speed.plot import plot
from speed.statistics import exponent, interleaved, ratios, spread
from tests.axes import options

TINY = Size(4, 1, 4, 8)
METHODS = options("method")
CPU_RECORDS = sorted(path for path in record.RESULTS.glob("*-cores.json"))


@pytest.fixture(scope="module")
def steps():
    return MeasuredSteps("nb201", TINY, "float32")


@pytest.fixture(scope="module", params=SPACES)
def each(request):
    return MeasuredSteps(request.param, TINY if request.param == "nb201" else Size(8, 3, 4, 8), "float32")


def test_steps_take_turns_and_the_first_round_does_not_count():
    order = []
    times = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)
    assert "".join(order) == "ababab"
    assert [len(row) for clock in times for row in clock.values()] == [2, 2, 2, 2]


def test_spread_ratio_and_exponent_of_known_numbers():
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == {"median": 3.0, "q1": 2.0, "q3": 4.0}
    assert ratios([2.0, 9.0, 8.0], [1.0, 3.0, 2.0])["median"] == 3.0
    assert exponent([8, 16, 32], [3 * size**2 for size in (8, 16, 32)]) == pytest.approx(2)


@pytest.mark.parametrize("kind", WEIGHT_STEPS.values())
def test_both_sides_compute_the_same_loss(each, kind):
    betas = each._betas[kind]
    ours, theirs = each._ours(each._constant(betas)), each._reference(betas, each._edges())
    assert torch.allclose(ours, theirs, rtol=1e-4)


def test_the_row_in_between_leaves_out_half_of_the_operations(steps):
    for name, beta_EO in steps._betas["half"].items():
        assert (beta_EO > 0).sum() * 2 == beta_EO.numel() == steps._betas["dense"][name].count_nonzero()
        assert torch.allclose(beta_EO.sum(-1), torch.ones(len(beta_EO)))


def test_calls_of_the_reference_are_its_modules(steps):
    modules = list(steps._networks.reference.modules())
    convs = sum(isinstance(module, nn.Conv2d) for module in modules)
    norms = sum(isinstance(module, nn.BatchNorm2d | SupernetNorm) for module in modules)
    calls = profile_step(steps.run["reference"][ARCHITECTURE]).calls
    assert calls == {"conv": convs, "conv backward": convs, "BN": norms, "BN backward": norms}


def test_peak_is_what_is_held_at_once():
    def step():
        first = torch.ones(2**20)
        second = first + 1
        del first
        return second + 1  # again two of them

    assert profile_step(step).allocated_mb == pytest.approx(2 * 4 * 2**20 / 1e6, rel=1e-4)


def test_resident_memory_of_each_half_step_comes_from_a_process_of_its_own():
    rises = resident("nb201", TINY, "float32", "ours")
    assert list(rises) == [*WEIGHT_STEPS, ARCHITECTURE]


def test_the_bare_loop_trains_exactly_as_the_trainer(tmp_path):
    settings = (*fake_search(TINY, 2, 1), "trainer.accelerator=cpu")
    fitted = build_search(tmp_path / "fitted", *settings)
    fitted.fit()
    bare = build_search(tmp_path / "bare", *settings, "model._target_=speed.loop.BareModule")
    assert isinstance(bare.module, BareModule)
    bare.module.prepare()
    bare.module.epoch(bare.data)
    wanted = {name: value for name, value in fitted.module.state_dict().items() if "means" not in name}
    for name, value in wanted.items():
        assert torch.equal(bare.module.state_dict()[name], value), name


def test_overhead_is_measured_in_pairs_of_epochs():
    found = lightning_overhead(TINY, 2, 2, "trainer.accelerator=cpu")
    assert found["epochs"] == 2
    assert found["share"]["median"] > -1


def test_only_marked_places_of_a_document_are_written():
    text = "# A\n<!-- begin x -->\nold\n<!-- end x -->\n| old |\n"
    assert tables.fill(text, {"x": "| new |"}) == "# A\n<!-- begin x -->\n| new |\n<!-- end x -->\n| old |\n"


def test_numbers_keep_three_digits():
    assert [tables.number(value) for value in (0.012345, 4.5678, 78.91, 1234.5, 0, None)] == [
        "0.0123", "4.57", "78.9", "1,230", "0.00", "-",
    ]  # fmt: skip


@pytest.mark.skipif(not CPU_RECORDS, reason="no record of a CPU")
def test_the_document_says_what_the_records_say():
    contents = tables.document_contents(record.read(CPU_RECORDS[0]), record.read(record.PUBLISHED))
    contents |= gpu_tables.contents(gpu_tables.newest())
    for document in documents():
        text = document.read_text()
        assert text == tables.fill(text, contents), document


def test_the_document_of_scaling_says_what_its_record_says():
    text = scaling.DOCUMENT.read_text()
    assert text == tables.fill(text, scaling.contents(record.read(scaling.RECORD)))


def test_a_part_that_was_not_measured_is_said_to_be_open():
    others = record.read(record.PUBLISHED)
    rows = tables.goals({}, others).rows
    assert rows[0][0].startswith("nb201 step, time of D-X-Y/AutoDL-Projects")
    parts = ("half_steps", "overhead", "validation", "growth", "drift", "data", "methods")
    assert [row[0] for row in rows if row[-1] == "not measured yet"] == [
        f"goals of the part `{part}`" for part in parts
    ]


def test_a_goal_that_is_not_reached_says_so():
    share = {"processor_share": {"median": 0.031}}
    (row,) = (
        row for row in tables.goals({"overhead": [share]}, record.read(record.PUBLISHED)).rows if "Lightning" in row[0]
    )
    assert row[2:] == ("3.10 %", "**not met**")


@pytest.mark.parametrize("path", CPU_RECORDS, ids=lambda path: path.stem)
def test_records_are_of_full_size_and_whole_ones_from_a_clean_checkout(path, tmp_path):
    kept = record.read(path)
    assert (kept["scale"], kept["hardware"]) == ("full", path.stem)
    assert kept["commit"]
    assert not kept["dirty"] or measure.parts(measure.FULL).keys() - kept.keys()
    assert not any(later["dirty"] for later in kept.get("later", {}).values())
    assert "/work" not in path.read_text()
    plot(kept, tmp_path / "performance")
    assert {file.name for file in tmp_path.iterdir()} == {"performance.svg", "performance.png"}
    for side in SIDES:
        assert kept["half_steps"]["nb201"]["float32"][ARCHITECTURE][side]["processor_seconds"]["median"] > 0


PLAN = replace(gpu.QUICK, size=TINY, fit_batches=4)


def test_graphed_and_eager_half_steps_take_turns_and_a_mode_that_fails_is_a_row(monkeypatch):
    rows = gpu.measure_modes(PLAN, ("eager", "graphed"), 4, "float32")
    assert rows["graphed"]["alpha"]["seconds"]["median"] > 0

    def refuse(step):
        raise RuntimeError("not permitted\nwhen capturing")

    monkeypatch.setattr(gpu, "capture_stand_in", refuse)
    rows = gpu.measure_modes(replace(PLAN, rounds=0), ("graphed",), 4, "float32")
    assert rows["graphed"] == {"failed": "RuntimeError: not permitted when capturing"}


def test_a_part_that_fails_does_not_end_the_proof(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "half_steps", lambda plan: 1 / 0)
    monkeypatch.setattr(gpu, "compiled", lambda plan, seconds: {})
    monkeypatch.setattr(gpu, "overhead", lambda plan: {})
    said = []
    found = gpu.run(PLAN, tmp_path / "gpu.json", said.append)
    assert found["half_steps"] == {"failed": "ZeroDivisionError: division by zero"}
    assert all(row["difference"] == 0 for row in found["gradients"].values())
    assert found["synchronisations"]["graphed"] == {"batches": 2, "places": []}
    assert found["resumption"] == {"epochs": 4, "tensors_that_differ": []}
    (searched,) = (value for name, value in found.items() if name.startswith("search"))
    assert (searched["epochs"], searched["still_graphed"], searched["captures"]) == (2, True, 2)
    assert json.loads((tmp_path / "gpu.json").read_text())["gradients"].keys() == found["gradients"].keys()
    found |= {"half_steps": {}, "compiled": {}}
    assert "tensors that differ after resuming" in {row[0] for table in gpu_tables.tables(found) for row in table.rows}


def forwards(method, space="nb201"):
    """How often the supernet runs in a bilevel step, by its convolutions."""
    size = TINY if space == "nb201" else Size(8, 3, 4, 8)
    steps = [methods.MethodStep(name, space, size) for name in (methods.BASE, method)]
    base, its = (profile_step(each.step).calls for each in steps)
    return 2 * its["conv"] / base["conv"]


@pytest.mark.parametrize(
    ("method", "count"),
    [
        ("darts", 2),
        ("edd", 2),
        ("sdarts_rs", 2),
        ("gaea_erm", 2),
        ("darts_v2", 5),
        ("r_darts_dp", 5),
        ("sdarts_adv", 11),
        ("random", 1),
    ],
)
def test_a_methods_step_is_both_of_its_half_steps(method, count):
    assert forwards(method) == count


def test_of_gdas_the_drawn_operations_alone_run():
    assert forwards("gdas") < 1.2


def test_costs_are_against_darts_in_turns_and_a_refusal_is_a_row():
    found = methods.costs("nb201", TINY, 1, ("darts", "pc_darts"))["methods"]
    found |= {"edd_pc": methods.costs("nb201", Size(6, 1, 4, 8), 1, ("edd_pc",))["methods"]["edd_pc"]}
    assert found["darts"]["memory_ratio"] == pytest.approx(1, rel=1e-3)
    assert found["pc_darts"]["memory_ratio"] < 0.6
    assert "space.partial=4 does not divide a cell's 6 channels" in found["edd_pc"]["refused"]
    kept = {"methods": {"nb201": {"size": {"channels": 4, "cells": 1, "batch": 4}, "methods": found}}}
    (table,) = (each for each in tables.tables(kept) if each.name == "methods-nb201")
    assert [row[0] for row in table.rows] == ["`darts`", "`pc_darts`", "`edd_pc`"]
    assert table.rows[2][1:] == ("refused", "-", "-", "-")
    assert tables.method_costs(kept)["cost-edd_pc"].splitlines()[2] == "| nb201 | - | - |"


def test_every_method_is_measured_unless_a_test_wants_few():
    assert list(measure.FULL.methods) == list(measure.QUICK.methods) == METHODS
    assert set(methods.LIMITS) <= set(METHODS)


def test_limits_of_methods_are_goals_where_they_were_measured():
    row = {"processor_ratio": {"median": 0.5}}
    kept = {"methods": {"nb201": {"methods": {"gdas": row, "gaea": row}}, "darts": {"methods": {"gdas": row}}}}
    rows = [row for row in tables.goals(kept, record.read(record.PUBLISHED)).rows if "over `darts`" in row[0]]
    assert rows == [
        ("nb201 step of `gdas` over `darts`", "<= 0.45", "0.500", "**not met**"),
        ("nb201 step of `gaea` over `darts`", "<= 1.05", "0.500", "met"),
    ]


def test_a_part_measured_later_is_put_into_the_record(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "parts", lambda scale: {"one": lambda: {"value": 1}, "two": lambda: {"value": 2}})
    out = tmp_path / "record.json"
    measure.run(measure.TINY, None, str, out)
    first = record.read(out)
    monkeypatch.setattr(measure, "parts", lambda scale: {"one": lambda: {"value": 3}, "two": lambda: {"value": 4}})
    measure.run(measure.TINY, ["two"], str, out)
    kept = record.read(out)
    assert (kept["one"], kept["two"]) == ({"value": 1}, {"value": 4})
    assert {**kept, "two": 0, "seconds": 0, "later": 0} == {**first, "two": 0, "seconds": 0, "later": 0}
    assert kept["later"]["two"]["date"] >= kept["date"]
    with pytest.raises(SystemExit, match=r"is of .* at scale tiny; give another --out"):
        measure.run(measure.QUICK, ["two"], str, out)


@pytest.fixture
def full_size_searches(tmp_path):
    overrides = (*PLAN.space(), PLAN.accelerator, "dataset=fake", "dataset.image_size=8", "dataset.train_images=64")
    size = ("data.batch_size=8", "trainer.max_epochs=2", "trainer.precision=bf16-mixed")
    return gpu_searches.Searches(tmp_path / "runs", (*overrides, *size), ("edd", "pcd"), 1)


def test_searches_side_by_side_are_run_folders_that_tables_read(full_size_searches, tmp_path, capsys):
    found = gpu_searches.run(full_size_searches, 2, 1_800)
    assert found == {"at_once": 2, "finished": 2, "diverged": [], "begun": {}, "failed": {}}
    assert full_size_searches.unfinished() == []
    assert main(["table", "table1", str(full_size_searches.folder)]) == 0
    assert "EDD" in capsys.readouterr().out


def test_searches_that_find_no_time_go_on_in_the_next_call(full_size_searches, monkeypatch):
    commands = []

    class Child:
        """Ends when it is told to, having done an epoch more."""

        def __init__(self, command, **kwargs):
            commands.append(command)
            self.folder = Path(command[-1].removeprefix("run_dir=").strip("'"))
            self.returncode = None

        def poll(self):
            return None

        def terminate(self):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "metrics.csv").write_text("epoch,seconds\n0,2.0\n")

        def wait(self, timeout=None):
            return 143

    monkeypatch.setattr(gpu_searches.subprocess, "Popen", Child)
    found = gpu_searches.run(full_size_searches, 2, gpu_searches.TO_STOP + 0.3)
    assert found == {
        "at_once": 2,
        "finished": 0,
        "diverged": [],
        "begun": {"method=edd,seed=0": 1, "method=pcd,seed=0": 1},
        "failed": {},
    }
    gpu_searches.run(full_size_searches, 1, gpu_searches.TO_STOP + 0.3)
    assert commands[2] == commands[0]
    assert len(commands) == 3


def test_a_search_that_has_diverged_is_not_begun_again(full_size_searches):
    folder = full_size_searches.folder / "method=edd,seed=0"
    folder.mkdir(parents=True)
    (folder / "failed.txt").write_text("discrete_loss is nan in epoch 1: the run has diverged.\n")
    assert full_size_searches.unfinished() == ["method=pcd,seed=0"]
    found = gpu_searches.run(replace(full_size_searches, methods=("edd",)), 2, 1_800)
    assert found == {"at_once": 2, "finished": 0, "diverged": ["method=edd,seed=0"], "begun": {}, "failed": {}}


def test_a_search_that_fails_is_named_by_its_last_words_and_the_others_go_on(full_size_searches, monkeypatch):
    monkeypatch.setattr(gpu_searches, "_TRAIN", Path("no_such_file.py"))
    found = gpu_searches.run(full_size_searches, 1, 600)
    assert found["failed"].keys() == {"method=edd,seed=0", "method=pcd,seed=0"}
    assert all("no_such_file.py" in words for words in found["failed"].values())


def test_what_a_gpus_record_lacks_is_no_row_and_what_failed_is_said():
    kept = gpu_tables.newest()
    assert kept["device"].startswith("NVIDIA")
    lacking = {name: value for name, value in kept.items() if name not in ("resumption", "overhead")}
    facts = dict(gpu_tables.tables(lacking)[1].rows)
    assert not [name for name in facts if "resuming" in name or "Lightning" in name]
    parts = ("half_steps", "gradients", "synchronisations", "resumption", "overhead", "compiled")
    table, rest = gpu_tables.tables(kept | {part: {"failed": f"{part}: no places, noise"} for part in parts})
    assert table.rows == []
    assert dict(rest.rows) == {part: f"{part}: no places, noise" for part in parts}


def test_the_first_search_has_the_device_for_itself(monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr(
        gpu_searches,
        "run",
        lambda asked, at_once, seconds: (
            ran.append((asked.unfinished(), at_once, seconds)) or {"at_once": at_once, "failed": {at_once: "words"}}
        ),
    )
    plan = replace(PLAN, runs=tmp_path / "runs", methods=("edd", "pcd"), seeds=2)
    found = gpu.searches(plan, {"1": 1.0, "2": 2.0}, iter((300.0, 200.0)).__next__)
    everything = [f"method={method},seed={seed}" for seed in (0, 1) for method in ("edd", "pcd")]
    assert ran == [(everything[:1], 1, 300.0), (everything, 2, 200.0)]
    assert found == {"at_once": 2, "failed": {1: "words", 2: "words"}}
    assert gpu.searches(plan, {"1": 1.0, "2": 2.0}, iter((300.0, 5.0)).__next__)["at_once"] == 1
    assert len(ran) == 3


def test_more_searches_at_a_time_only_where_all_together_are_faster():
    assert gpu_searches.best_number({"1": 1.0, "2": 1.9, "4": 2.1}) == 4
    assert gpu_searches.best_number({"1": 1.0, "2": 1.9, "4": 1.95}) == 2
    assert gpu_searches.best_number({"1": 1.0, "2": 0.9, "4": 1.04}) == 1


def test_the_next_call_measures_what_is_missing_and_searches_in_the_time_that_is_left(monkeypatch, tmp_path):
    made, names = [], ["a", "b"]
    monkeypatch.setattr(
        gpu, "parts", lambda plan, left: {name: (0.0, lambda n=name: made.append(n) or {"1": 1.0}) for name in names}
    )
    monkeypatch.setattr(gpu, "searches", lambda plan, rates, left: {"rates": rates, "in_time": 0 < left() <= 120})
    out = tmp_path / "gpu.json"
    gpu.run(PLAN, out, lambda text: None)
    record.write(json.loads(out.read_text()) | {"b": {"failed": "left out"}}, out)
    names.append("side_by_side")
    found = gpu.run(replace(PLAN, runs=tmp_path / "runs"), out, lambda text: None)
    assert made == ["a", "b", "b", "side_by_side"]
    assert found["searches"] == {"rates": {"1": 1.0}, "in_time": True}
    record.write(json.loads(out.read_text()) | {"commit": "another"}, out)
    gpu.run(PLAN, out, lambda text: None)
    assert made[4:] == ["a", "b", "side_by_side"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--runs", "FILE"], "--runs FILE: FILE is a file; give a folder."),
        (["--runs", "FILE/below"], "--runs FILE/below: FILE is a file; give a folder."),
        (["--out", "."], "--out . is a folder; give a file in it, such as gpu.json."),
        (["--out", "FILE/gpu.json"], "--out FILE/gpu.json: FILE is a file; give a folder."),
        (
            ["--out", "FILE"],
            "--out FILE is no record to go on with (Expecting value: line 1 column 1 (char 0)); give another file.",
        ),
        (["--out", "LIST"], "--out LIST is no record to go on with (it holds no object); give another file."),
        (["--methods", "edd,zzz"], "--methods 'zzz' is no method; give some of beta_darts, "),
        (["--seconds", "nan"], "--seconds nan: give the seconds that all of it may take, such as 540."),
        (["--seconds", "0"], "--seconds 0: give the seconds"),
        (["--epochs", "-1"], "--epochs -1: give 1 or more."),
        (["--table", "nb201.npz"], "there is no NAS-Bench-201 table at nb201.npz; make one with"),
        (["--table", "LIST.npz"], "the NAS-Bench-201 table LIST.npz cannot be read (it is no whole .npz file)"),
        (["--out", "/proc/gpu.json"], "cannot write /proc/gpu.json"),
        (["--cifar", "x.zip"], "--quick takes made-up images, so --cifar has no effect; leave one of them out."),
    ],
)
def test_arguments_are_refused_before_anything_is_measured(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("no json")
    Path("LIST").write_text("[]")
    Path("LIST.npz").write_text("[]")
    monkeypatch.setattr(gpu, "run", lambda *_: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--quick", *arguments])
    with pytest.raises(SystemExit) as refused:
        gpu.main()
    assert str(refused.value).replace(f"{tmp_path}/", "").startswith(sentence)
