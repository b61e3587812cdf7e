"""protocol=released on NAS-Bench-201 is the EDD authors' program, number by number.

released_trajectories.json holds what their own main() does (chaoji90/PCDEDD bba5e94, DARTS-V1-10.py of AutoDL-Projects_edd and
_pcd), run in float64 on a CPU from the weights, alphas and batches below, with rates and clip as its script has them. Its
discretised losses are not there: it measures at running statistics, which a supernet here has none of.
"""

import json
import warnings

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from nas_lightning.app.axes import build_epoch_axes, build_module
from nas_lightning.callbacks import TemperatureUpdate
from tests.conftest import ROOT, composed
from tests.test_search import interrupt, rows, weights

RECORDED = json.loads((ROOT / "tests" / "released_trajectories.json").read_text())
STEPS, BATCH = 2, 16
PROGRAMS = {"edd": ("experiment=released",), "pcd": ("method=pcd", "space=nb201", "protocol=released")}


def search_of(config):
    """(module, the callback that moves its temperature), in float64."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    try:
        return build_module(config, 10), TemperatureUpdate(build_epoch_axes(config)["sched"])
    finally:
        torch.set_default_dtype(torch.float32)


class Batches(pl.LightningDataModule):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.train = [{"train": _batch(generator), "valid": _batch(generator)} for _ in range(STEPS)]
        self.valid = [_batch(torch.Generator().manual_seed(2))]

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=None)

    def val_dataloader(self):
        return DataLoader(self.valid, batch_size=None)


def _batch(generator):
    x = torch.randn(BATCH, 3, 8, 8, generator=generator, dtype=torch.float64)
    return x, torch.randint(10, (BATCH,), generator=generator)


class Trajectory(pl.Callback):
    def __init__(self, schedule):
        self.epochs, self.schedule = [], schedule

    def on_train_epoch_end(self, trainer, pl_module):
        self.epochs.append(
            {name: float(trainer.callback_metrics[name]) for name in ("train_loss", "valid_loss")}
            | {"temperature": self.schedule.state.temperature}
            | {"classifier": pl_module.supernet.classifier.weight.norm().item()}
            | {"alpha": pl_module.architecture.alpha["cell"].flatten().tolist()}
        )


def trajectory(overrides, epochs):
    """What the first epochs of a run of 50 do."""
    module, schedule = search_of(composed(*overrides, "space.C=2", "space.N=1", "dataset=fake", "run_dir=x"))
    seen = Trajectory(schedule)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pl.Trainer(
            max_epochs=epochs, accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, callbacks=[schedule, seen],
        ).fit(module, datamodule=Batches())  # fmt: skip
    return seen.epochs


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_search_goes_the_way_of_the_authors_program(program):
    recorded = RECORDED[program]
    for epoch, (ours, theirs) in enumerate(zip(trajectory(PROGRAMS[program], len(recorded)), recorded, strict=True)):
        for key in theirs:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-6, abs=1e-9), (epoch, key)


def test_the_records_are_of_runs_in_which_every_part_acts():
    temperatures = [epoch["temperature"] for epoch in RECORDED["edd"]]
    assert temperatures[9] == 1 > 0.01 > temperatures[10]
    assert len(set(temperatures)) == 10  # of the warm-up, of 6 updates and of 3 in the late phase
    assert RECORDED["pcd"][4]["temperature"] == 1 > 0.01 > RECORDED["pcd"][5]["temperature"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_where_alpha_does_not_count_in_the_clip_it_is_another_search(program):
    """Else the records would not test it."""
    plain = trajectory((*PROGRAMS[program], "model.weight_clip_includes_arch=false"), 13)
    assert plain[3]["train_loss"] == pytest.approx(RECORDED[program][3]["train_loss"], rel=1e-6)  # nothing clipped yet
    assert plain[12]["train_loss"] != pytest.approx(RECORDED[program][12]["train_loss"], rel=1e-2)


def test_a_search_with_the_joint_clip_resumes_to_the_bit(toy, tmp_path, monkeypatch):
    overrides = ("protocol=released", "model.weight_clip=0.1")  # always clipped
    whole = toy("whole", *overrides)
    interrupt(monkeypatch, epoch=2)
    with pytest.raises(SystemExit):
        toy("stopped", *overrides)
    resumed = toy("stopped", *overrides)
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
    ours, theirs = weights(tmp_path / "stopped"), weights(tmp_path / "whole")
    assert theirs["joint_clip.gradient_0"].any()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert resumed["architecture"] == whole["architecture"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ("experiment=released",),
            {
                "data.batch_size": 256, "model.weight_clip_includes_arch": True, "space.conv_bias": True, "sched.lam": 0.24,
                "sched.warmup": 0.2, "relaxation._target_": "nas_lightning.relaxations.Softmax", "derive": None,
            },
        ),
        (
            ("experiment=released_ds",),
            {
                "data.batch_size": 80, "model.weight_clip_includes_arch": False, "data.split": "index", "sched.lam": 0.06,
                "sched.warmup": 0.1, "relaxation.second_temperature": 1.0, "relaxation.cells": "normal",
                "derive.decimals": 3, "space.none": False, "perturbation": None,
            },
        ),
        (
            ("experiment=released_subspaces", "space=s3"),
            {
                "data.batch_size": 192, "model.weight_clip_includes_arch": False, "data.split": "index", "sched.lam": 0.12,
                "sched.warmup": 0.1, "relaxation.cells": "normal", "derive.op_ties": "last",
                "perturbation._target_": "nas_lightning.perturbations.DoubleSoftmax",
            },
        ),
    ],
    ids=str,
)  # fmt: skip
def test_each_space_has_its_programs_choices(overrides, expected):
    config = composed(*overrides, "run_dir=x")
    both = {
        "sched.entropy_cells": "normal",
        "sched.t0exp": "one",
        "sched.e_a_value": 3.99e-4,
        "model.discretise": "cold",
    }
    both |= {
        "model.weight_optimizer.lr": 0.025,
        "lr": None,
        "protocol.adam.lr": 3e-4,
        "protocol.adam.weight_decay": 0.0,
    }
    for key, value in (expected | both).items():
        node = config
        for part in key.split("."):
            node = node[part]
        assert node == value, key
