"""A search from config to report: what it writes, how it resumes, what it refuses."""

import csv
import json
import math
from datetime import UTC, datetime, timedelta

import pytest
import torch
import yaml

from nas_lightning.app.axes import build_module
from nas_lightning.app.evaluate import evaluate
from nas_lightning.app.job import Job
from nas_lightning.app.search import search
from nas_lightning.build import build
from nas_lightning.callbacks import MetricsFile, Progress
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.genotypes.nb201 import parse_nb201
from nas_lightning.records.epochs import read_rows
from nas_lightning.records.folder import RunFolder, folder_name
from nas_lightning.records.overrides import quote_values
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.supernet.compatible import check_side
from nas_lightning.supernet.module import SupernetModule
from nas_lightning.training.cost import network_cost
from speed.reference import ReferenceSupernet
from tests.conftest import ROOT, TOY, composed

ALL_CONV = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
METHODS = sorted(path.stem for path in (ROOT / "conf" / "method").glob("*.yaml"))


def rows(folder, without=("seconds", "processor_seconds")):
    with (folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in without} for row in csv.DictReader(file)]


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def interrupt(monkeypatch, epoch, hook="on_train_batch_end", target=Progress, error=KeyboardInterrupt):
    """Raise in the middle of `epoch`, once."""
    original = getattr(target, hook)
    armed = [True]

    def raising(self, trainer, *arguments):
        original(self, trainer, *arguments)
        if armed and trainer.current_epoch == epoch:
            armed.clear()
            raise error

    monkeypatch.setattr(target, hook, raising)


RESUMED = [
    *((f"method={method}",) for method in METHODS),
    # What remembers something beside weights and alpha, with two cell types to remember it of.
    *((f"method={method}", "space=darts") for method in ("edd_pc", "darts_pt", "sgas_2")),
]


@pytest.mark.parametrize("choices", RESUMED, ids=" ".join)
def test_interrupted_search_equals_uninterrupted(choices, toy, tmp_path, monkeypatch):
    whole = toy("whole", *choices)
    epochs = whole["epochs"]  # four, or one where the method stops at once
    interrupt(monkeypatch, epoch=min(2, epochs - 1))
    with pytest.raises(SystemExit):
        toy("stopped", *choices)
    if epochs > 2:
        assert len(rows(tmp_path / "stopped")) == 2
    resumed = toy("stopped", *choices)
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
    assert [row["epoch"] for row in rows(tmp_path / "stopped")] == ["0", "1", "2", "3"][:epochs]
    assert epochs in (4, 1)
    ours, theirs = ((tmp_path / name / "architecture.csv").read_bytes() for name in ("stopped", "whole"))
    assert ours == theirs
    ours, theirs = weights(tmp_path / "stopped"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert resumed["architecture"] == whole["architecture"]
    assert resumed["epochs"] == epochs


def test_the_weights_rate_follows_the_cosine_epoch_by_epoch(toy, tmp_path):
    toy("run", "lr=cosine", "trainer.max_epochs=4")
    expected = [1e-3 + (0.025 - 1e-3) * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    assert [float(row["weight_lr"]) for row in rows(tmp_path / "run")] == pytest.approx(expected)


def test_row_written_just_before_a_crash_is_not_kept_twice(toy, tmp_path, monkeypatch):
    """The process dies after the row of epoch 1 and before its checkpoint."""
    toy("whole")
    interrupt(monkeypatch, epoch=1, hook="on_train_epoch_end", target=MetricsFile, error=LookupError)
    with pytest.raises(LookupError):
        toy("stopped")
    assert len(rows(tmp_path / "stopped")) == 2
    toy("stopped")
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")


def test_search_interrupted_before_its_report_only_writes_the_report(toy, tmp_path):
    whole = toy("run")
    (tmp_path / "run" / "report.json").unlink()
    assert toy("run")["final"] == whole["final"]


@pytest.mark.drawings
def test_finished_search_leaves_every_promised_file(toy, tmp_path):
    report = toy("run", "method=edd")
    folder = tmp_path / "run"
    promised = (
        "config.yaml metrics.csv architecture.csv genotype.json cell.svg cell.png entropy.svg entropy.png report.json"
    )
    assert {path.name for path in folder.iterdir()} == {*promised.split(), "checkpoints"}
    assert report == json.loads((folder / "report.json").read_text())
    genotype = Genotype.read(folder / "genotype.json")
    last = rows(folder, without=())[-1]
    assert report["architecture"] == str(genotype) == last["architecture"]
    assert report["final"]["entropy"] == pytest.approx(float(last["entropy"]))
    mean = sum(float(last[f"entropy/cell/{edge}"]) for edge in range(6)) / 6
    assert report["final"]["entropy"] == pytest.approx(mean)
    assert report["final"]["skip_connects"] == str(genotype).count("skip_connect")
    assert report["split"]["train_images"] == report["split"]["valid_images"] == 48
    assert report["config"] == yaml.safe_load((folder / "config.yaml").read_text())
    assert {"torch", "pytorch-lightning"} <= set(report["versions"])
    assert report["seconds"] > 0
    assert report["processor_seconds"] > 0
    assert report["peak_memory_mb"] > 100
    assert abs(datetime.fromisoformat(report["finished"]) - datetime.now(UTC)) < timedelta(minutes=5)


def test_alpha_and_beta_of_every_epoch_are_kept_and_have_the_logged_entropy(toy, tmp_path):
    toy("run", "space.none=false")
    with (tmp_path / "run" / "architecture.csv").open() as file:
        kept = list(csv.DictReader(file))
    assert [row["epoch"] for row in kept] == ["0", "1", "2", "3"]
    operations = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")  # without what is no candidate
    names = [
        f"{kind}/cell/{edge}/{operation}" for kind in ("alpha", "beta") for edge in range(6) for operation in operations
    ]
    assert list(kept[0]) == ["epoch", *names, "architecture"]
    for row, metrics in zip(kept, rows(tmp_path / "run"), strict=True):
        for edge in range(6):
            alpha = torch.tensor([float(row[f"alpha/cell/{edge}/{o}"]) for o in operations], dtype=torch.float64)
            beta = torch.tensor([float(row[f"beta/cell/{edge}/{o}"]) for o in operations], dtype=torch.float64)
            assert beta.tolist() == pytest.approx((alpha / float(metrics["temperature"])).softmax(0).tolist(), abs=1e-4)
            entropy = -torch.special.xlogy(beta, beta).sum().item()
            assert entropy == pytest.approx(float(metrics[f"entropy/cell/{edge}"]), abs=1e-4)
        assert str(Genotype.from_json(row["architecture"])) == metrics["architecture"]


def test_discrete_accuracy_is_that_of_the_one_hot_per_edge_supernet(toy, tmp_path):
    report = toy("run")
    config = composed(*TOY, "run_dir=x")
    data = build(config.data)
    module = build_module(config, data.num_classes)
    module.load_state_dict(weights(tmp_path / "run"))
    reference = ReferenceSupernet(module.supernet)
    hot = torch.nn.functional.one_hot(module.architecture.alpha["cell"].argmax(-1), 5).float()
    hits = [(reference(x, hot).argmax(1) == y).float() for x, y in data.val_dataloader()]
    assert report["final"]["discrete_accuracy"] == pytest.approx(torch.cat(hits).mean().item(), abs=1e-6)


def test_edd_sharpens_the_edges_and_darts_does_not(toy):
    edd, darts = toy("edd", "method=edd"), toy("darts", "method=darts")
    assert edd["final"]["temperature"] < 0.1 < 1 == darts["final"]["temperature"]
    assert edd["final"]["entropy"] < 1.2 < 1.6 < darts["final"]["entropy"]


def test_schedule_on_the_command_line_beats_the_methods(toy):
    assert toy("run", "method=edd", "sched=constant")["final"]["temperature"] == 1
    assert "Exponential" in composed("sched=exponential", "method=edd").sched._target_


def test_bf16_runs_and_resumes(toy, tmp_path, monkeypatch):
    toy("whole", "trainer.precision=bf16-mixed")
    interrupt(monkeypatch, epoch=1)
    with pytest.raises(SystemExit):
        toy("stopped", "trainer.precision=bf16-mixed")
    toy("stopped", "trainer.precision=bf16-mixed")
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("trainer.precision=16-mixed", "trainer.precision=16-mixed is not offered"),
        ("sched.lam=0", "sched.lam must be"),
        ("sched.lam=-0.06", "sched.lam must be"),
        ("sched.t0=0", "sched.t0 must be"),
        ("space.C=0", "space.C must be"),
        ("model.arch_clip.mode=nrom", "model.arch_clip.mode must be"),
        ("bilevel.order=both", "bilevel.order must be"),
        ("data.batch_size=0", "data.batch_size=0"),
        ("data.train_images=100000", "data.train_images"),
        ("trainer.max_epochs=0", "trainer.max_epochs must be"),
        ("trainer.devices=2", "trainer.devices=2 is not offered"),
        ("trainer.devices='1'", "trainer.devices=1 is not offered"),
        ("+trainer.fast_dev_run=true", "trainer.fast_dev_run"),
        ("+trainer.gradient_clip_val=1", "trainer.gradient_clip_val"),
        ("trainer.limit_val_batches=0", "trainer.limit_val_batches must be"),
        ("trainer.accelerator=tpu", "refuses its settings"),
        ("model.weight_optimizer.lr=abc", "model.weight_optimizer.lr must be a number"),
        ("model.weight_optimizer.lr=-1", "refuses its settings"),
        ("space.none=off", "space.none must be true or false"),
        ("data.batch_size=2.5", "data.batch_size must be a whole number"),
        ("dataset.image_size=abc", "dataset.image_size must be a whole number"),
        (
            "dataset.image_size=50",
            r"images of 50 pixels .* space nb201, .* multiple of 4; set dataset.image_size=48 or 52\.",
        ),
        ("dataset.image_size=2", r"set dataset.image_size=4\."),
        ("seed=-1", "seed must be"),
        ("model.arch_start=soon", "model.arch_start must be"),
        ("model.weight_clip=abc", "model.weight_clip must be"),
        ("model.arch_clip.value=abc", "model.arch_clip.value must be"),
        ("trainer.compile=no", "trainer.compile must be true or false"),
        ("data.train_images=many", "data.train_images must be a whole number or null"),
        ("data.train_fraction=half", "data.train_fraction must be a number"),
        ("data.split_seed=-1", "data.split_seed=-1"),
        ("+space.derive=exact", "NB201 has no setting derive"),
    ],
)
def test_nonsense_is_one_sentence_and_writes_nothing(override, sentence, toy, tmp_path):
    with pytest.raises(UserError, match=sentence) as raised:
        toy("run", override)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def is_refused(check, *arguments):
    try:
        check(*arguments)
    except UserError as error:
        return "\n" not in str(error)
    return False


@pytest.mark.parametrize("space", [NB201(4, 1), DARTS(4, 3)])
def test_the_networks_of_a_space_take_the_multiples_it_asks_for_and_no_other_sides(space):
    architecture = space.baselines(torch.Generator())["random"]
    for side in (2, 3, 4, 6, 8, 9, 10, 12, 18, 50):
        stops = is_refused(network_cost, space, architecture, 10, side)
        stops |= side in (
            3,
            5,
            6,
            7,
        )  # NAS-Bench-201 adds one pixel to 2 x 2 by broadcasting, which is no shortcut either
        assert is_refused(check_side, space, side) == stops, side


def test_a_darts_search_of_a_size_that_its_networks_refuse_is_refused(tmp_path):
    images = [text for text in TOY if not text.startswith(("dataset.image_size", "space.N"))]
    config = composed(
        *images, "space=darts", "dataset.image_size=50", "space.num_cells=3", f"run_dir={tmp_path / 'run'}"
    )
    with pytest.raises(UserError, match=r"images of 50 pixels .* space darts"):
        search(config, Job({}, []))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("limit", ["trainer.limit_val_batches=1e-320", "+trainer.limit_train_batches=0.001"])
def test_what_lightning_finds_wrong_only_when_it_starts_is_one_sentence(limit, toy):
    with pytest.raises(UserError, match=r"^Lightning's trainer refuses its settings: [^\n]+ Try at least `limit"):
        toy("run", limit)


def test_a_discretised_supernet_that_overflows_does_not_end_the_search(toy, tmp_path, monkeypatch, caplog):
    validate, write, epochs = SupernetModule.validation_step, MetricsFile.write, []

    def overflowing(self, batch, batch_idx):
        with monkeypatch.context() as patched:
            if not epochs:
                patched.setattr(
                    self.halves, "loss_at", lambda *_: (torch.tensor(torch.nan), torch.zeros(len(batch[1]), 10))
                )
            validate(self, batch, batch_idx)

    monkeypatch.setattr(SupernetModule, "validation_step", overflowing)
    monkeypatch.setattr(
        MetricsFile, "write", lambda self, row, trainer: epochs.append(row) or write(self, row, trainer)
    )
    report = toy("run")
    assert "discrete_loss is nan in epoch 1: left blank" in caplog.text
    rows = read_rows(tmp_path / "run" / "metrics.csv")
    assert ["discrete_loss" in row for row in rows] == [False, True, True, True]
    assert report["final"]["discrete_loss"] > 0


def test_a_diverged_search_is_no_result(toy, tmp_path):
    with pytest.raises(
        UserError, match=r"has diverged; lower the learning rate \(.*, arch_optimizer.lr\) and start it anew"
    ):
        toy("run", "model.weight_optimizer.lr=1e30")
    beside = r"has diverged; lower the learning rate \(.*, arch_optimizer.lr\), or set space.auxiliary_mean=true, .*, and start"
    with pytest.raises(UserError, match=beside):
        toy("beside", "model.weight_optimizer.lr=1e30", "space.auxiliary_skip={start: 1, end: 1}")
    with pytest.raises(UserError, match=r"arch_optimizer.lr\) and start it anew"):
        toy("at_0", "model.weight_optimizer.lr=1e30", "space.auxiliary_skip={start: 0, end: 0}")
    assert not (tmp_path / "run" / "report.json").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_partial_table_leaves_scores_blank(toy, tmp_path):
    table = tmp_path / "toy_200epochs.csv"
    table.write_text(f"index,arch,cifar10_test\n0,{ALL_CONV},90.0\n")
    config = composed(*TOY, "benchmark=nb201", f"benchmark.path={table}", f"run_dir={tmp_path / 'run'}")
    assert search(config, Job({}, []))["epochs"] == 4


def test_scale_not_above_one_is_refused(toy):
    with pytest.raises(UserError, match=r"relaxation.scale must"):
        toy("run", "relaxation=sn_s100", "relaxation.scale=1")


def test_finished_folder_is_refused_alone_and_skipped_in_a_sweep(toy, tmp_path):
    toy("run")
    before = (tmp_path / "run" / "report.json").read_bytes()
    with pytest.raises(UserError, match="holds a finished run"):
        toy("run")
    assert toy("run", in_sweep=True) is None
    assert (tmp_path / "run" / "report.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sched.lam=0.24", "sched.lam=0.06, now it is 0.24"),
        ("method=darts", "method=edd, now it is darts"),
        ("perturbation=uniform_paths", "perturbation=null, now it is uniform_paths"),
    ],
)
def test_a_sweep_does_not_skip_what_another_configuration_has_left(change, said, toy, tmp_path):
    """Two experiments of one name, or a yaml that was changed in between: their folders are called alike."""
    toy("run")
    report = tmp_path / "run" / "report.json"
    before = report.read_bytes()
    with pytest.raises(UserError, match=f"run holds a finished run with {said}"):
        toy("run", change, in_sweep=True)
    assert report.read_bytes() == before


def test_a_sweep_skips_what_another_version_or_a_damaged_report_says_nothing_of(toy, tmp_path):
    toy("run")
    path = tmp_path / "run" / "report.json"
    report = json.loads(path.read_text())
    del report["config"]["sched"]["lam"], report["config"]["penalty"]
    path.write_text(json.dumps(report | {"config": {**report["config"], "gone": {"since": 1}}}))
    assert toy("run", in_sweep=True) is None
    for damaged in (b"{", b"[]", b'{"config": 3}', b'{"config": {}, "choices": []}'):
        path.write_bytes(damaged)
        assert toy("run", in_sweep=True) is None


def test_interrupted_run_does_not_go_on_with_another_configuration(toy, monkeypatch):
    interrupt(monkeypatch, epoch=2)
    with pytest.raises(SystemExit):
        toy("run")
    with pytest.raises(UserError, match=r"interrupted run with sched.lam=0.06, now it is 0.24"):
        toy("run", "sched.lam=0.24")
    assert toy("run")["epochs"] == 4


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ((), ("method=darts",), "method=edd, now it is darts"),
        (("method=pcd",), (), "method=pcd, now it is edd"),
        (("method=darts",), ("method=pc_darts", "trainer.max_epochs=3"), "method=darts, now it is pc_darts"),
        (("method=darts",), ("method=darts", "penalty=beta_decay"), "penalty=null, now it is beta_decay"),
        ((), ("sched=linear", "sched.t0=0.5"), "sched=edd, now it is linear"),
        ((), ("stop=two_skips",), "stop=null, now it is two_skips"),
        ((), ("derive=every_edge",), "derive=null, now it is every_edge"),
    ],
)
def test_an_interrupted_run_names_what_was_chosen_and_goes_on_with_that_alone(before, now, said, toy, monkeypatch):
    few = ("trainer.max_epochs=2", "data.train_images=16", "data.valid_images=16")
    interrupt(monkeypatch, epoch=1)
    with pytest.raises(SystemExit):
        toy("run", *few, *before)
    with pytest.raises(UserError) as raised:
        toy("run", *few, *now)
    assert f"run holds an interrupted run with {said}" in str(raised.value)
    assert "; set it back to go on, delete the folder to start anew, or give another name= or run_dir=." in str(
        raised.value
    )
    assert "nas_lightning." not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert toy("run", *few, *before)["epochs"] == 2


def test_a_flag_that_an_interrupted_runs_version_did_not_have_was_off(tmp_path):
    RunFolder(tmp_path, {"space": {"C": 4, "new": False}}).check_same({"space.C": 4})
    with pytest.raises(UserError, match=r"interrupted run with space\.new=False, now it is True; set it back to go on"):
        RunFolder(tmp_path, {"space": {"C": 4, "new": True}}).check_same({"space.C": 4})


def test_an_interrupted_run_goes_on_with_the_same_search_in_other_words(toy, monkeypatch):
    interrupt(monkeypatch, epoch=2)
    with pytest.raises(SystemExit):
        toy("run", "method=edd")
    report = toy("run", "method=lts", "sched=edd", "logger=tensorboard")
    assert (report["epochs"], report["method"]) == (4, "edd")


def test_a_file_where_the_folder_should_be_is_one_sentence(toy, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        toy("file/run")


def evaluated(tmp_path, *overrides, folder="evaluation", in_sweep=False):
    small = ("space.C=4", "space.N=1", "trainer.accelerator=cpu", "benchmark=none", "trainer.max_epochs=2")
    config = composed(*small, *overrides, f"run_dir={tmp_path / folder}", config="evaluate")
    return evaluate(config, Job({"space": "nb201", "dataset": "fake"}, list(overrides), in_sweep))


def test_interrupted_evaluation_does_not_go_on_with_another_recipe(toy, tmp_path, monkeypatch):
    toy("run")
    arguments = (f"run={tmp_path / 'run'}", "train=true", "data.batch_size=64")
    interrupt(monkeypatch, epoch=1)
    with pytest.raises(SystemExit):
        evaluated(tmp_path, *arguments)
    with pytest.raises(UserError, match=r"interrupted run with recipe.optimizer.lr=0.1, now it is 9.0"):
        evaluated(tmp_path, *arguments, "recipe.optimizer.lr=9.0")


def test_settings_of_the_searchs_data_set_may_be_changed(toy, tmp_path):
    toy("run")
    report = evaluated(tmp_path, f"run={tmp_path / 'run'}", "dataset.padding=1")
    assert report["dataset"] == "fake"
    assert report["config"]["dataset"]["padding"] == 1
    assert report["config"]["dataset"]["image_size"] == 8


def test_found_network_is_trained_beside_its_baselines_and_resumes(toy, tmp_path, monkeypatch):
    toy("run")
    arguments = (f"run={tmp_path / 'run'}", "train=true", "data.batch_size=64")
    whole = evaluated(tmp_path, *arguments)
    assert list(whole["networks"]) == ["found", "random", "all_skip"]
    assert all(0 <= network["test_accuracy"] <= 1 for network in whole["networks"].values())
    interrupt(monkeypatch, epoch=1)
    with pytest.raises(SystemExit):
        evaluated(tmp_path, *arguments, folder="stopped")
    resumed = evaluated(tmp_path, *arguments, folder="stopped")
    for name, network in whole["networks"].items():
        assert resumed["networks"][name]["test_accuracy"] == network["test_accuracy"]
    with pytest.raises(UserError, match="holds a finished run"):
        evaluated(tmp_path, *arguments)
    assert evaluated(tmp_path, *arguments, in_sweep=True) is None


def test_architecture_may_be_a_string_a_file_or_a_run(toy, tmp_path):
    by_text = evaluated(tmp_path, f"genotype='{ALL_CONV}'", "space.C=16", "space.N=5")
    assert by_text["architecture"] == ALL_CONV
    assert by_text["params"] == 1_531_546
    file = tmp_path / "found.json"
    file.write_text(parse_nb201(ALL_CONV).to_json())
    assert evaluated(tmp_path, f"genotype={file}")["architecture"] == ALL_CONV
    report = toy("run")
    assert evaluated(tmp_path, f"run={tmp_path / 'run'}")["architecture"] == report["architecture"]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ((), "give either run="),
        (("run=nowhere", "genotype=x.json"), "give either run="),
        (("run=nowhere",), "run=nowhere is no folder of a search"),
        (("genotype=x.json",), "x.json cannot be read"),
        (("genotype='|sep_conv_3x3~0|'",), "NAS-Bench-201"),
        (("genotype=x", "train=maybe"), "train must be true or false"),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence(overrides, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=sentence) as raised:
        evaluated(tmp_path, *overrides)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "evaluation").exists()


def test_recipe_that_an_optimiser_refuses_is_one_sentence_and_writes_nothing(toy, tmp_path):
    toy("run")
    with pytest.raises(UserError, match="refuses its settings"):
        evaluated(tmp_path, f"run={tmp_path / 'run'}", "train=true", "recipe.optimizer.lr=-1")
    assert not (tmp_path / "evaluation").exists()


def test_training_from_scratch_may_clip_by_the_trainer(toy, tmp_path):
    """Only the search optimises by hand and refuses it."""
    toy("run")
    clipped = evaluated(tmp_path, f"run={tmp_path / 'run'}", "train=true", "+trainer.gradient_clip_val=0.01")
    assert clipped["epochs"] == 2


def test_genotype_of_another_space_is_refused(tmp_path):
    file = tmp_path / "darts.json"
    file.write_text(json.dumps({"space": "darts", "cells": {"normal": [["sep_conv_3x3", 0, 2]]}}))
    with pytest.raises(UserError, match="darts"):
        evaluated(tmp_path, f"genotype={file}")


def test_benchmark_strings_need_one_level_of_shell_quotes_only():
    (quoted,) = quote_values([f"genotype={ALL_CONV}"])
    assert composed(quoted, config="evaluate").genotype == ALL_CONV
    assert quote_values([quoted, "seed=1"]) == [quoted, "seed=1"]


def test_a_runs_folder_may_hold_what_hydras_grammar_refuses(tmp_path):
    folder = tmp_path / "sched.lam=0.06,seed=1"
    folder.mkdir()
    (quoted,) = quote_values([f"run={folder}"])
    assert composed(quoted, config="evaluate").run == str(folder)


def test_folder_names_are_one_component_and_differ():
    name = folder_name("dataset.root=../images/a b.zip,seed=1")
    assert "/" not in name
    assert folder_name("") == "default"
    long = [folder_name("x=" + "y" * 300 + str(i)) for i in range(2)]
    assert long[0] != long[1]
    assert max(map(len, long)) <= 120


def test_a_long_folder_name_keeps_the_short_overrides_of_a_sweep():
    names = [
        folder_name(f"data.train_images=2500,data.valid_images=2500,dataset.root={'x' * 40},dataset.name=y,space={space},"
                    f"space.C=16,trainer.max_epochs=50,method=edd,seed={seed}")
        for space in ("s1", "s2") for seed in (0, 1)
    ]  # fmt: skip
    assert len(set(names)) == 4
    assert max(map(len, names)) <= 120
    assert [name for name in names if "space=s1" in name and "seed=1-" in name] == [names[1]]


def test_search_reports_the_tables_scores(tmp_path):
    table = tmp_path / "toy_200epochs.csv"
    operations = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    lines = ["index,arch,cifar10_test"]
    for index in range(5**6):
        ops = [operations[index // 5**k % 5] for k in range(6)]
        arch = f"|{ops[0]}~0|+|{ops[1]}~0|{ops[2]}~1|+|{ops[3]}~0|{ops[4]}~1|{ops[5]}~2|"
        lines.append(f"{index},{arch},{arch.count('conv') * 10 + arch.count('pool')}")
    table.write_text("\n".join(lines))
    config = composed(
        *(o for o in TOY if o != "benchmark=none"), f"benchmark.path={table}", f"run_dir={tmp_path / 'run'}"
    )
    report = search(config, Job({}, []))
    expected = [
        arch.count("conv") * 10 + arch.count("pool") for arch in (r["architecture"] for r in rows(tmp_path / "run"))
    ]
    assert [float(row["table/cifar10_test_200"]) for row in rows(tmp_path / "run")] == expected
    assert report["scores"] == {"cifar10_test_200": expected[-1]}
    assert report["table"] == [table.name]
