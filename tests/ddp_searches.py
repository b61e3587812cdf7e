"""The searches on two CPU processes that several test files look at: python -m tests.ddp_searches FOLDER.

whole: a process each by spawn, as users get them; every step of both ranks is written to FOLDER/whole-steps.
stopped: Ctrl-C in the third epoch, then the same command again. double: in float64, every step written too.
apart: one rank's weights are changed. All but the first fork, to start faster.
With a second word only this: `decided`: operations are taken away epoch by epoch, every step written too; `sharp`: a stop by
the eigenvalue; `methods`: one of every method; `statistics`: of a supernet that keeps running statistics, in float64, every
step written too.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch

import nas_lightning.app.search
from nas_lightning.app.job import Job
from nas_lightning.app.strategy import AveragedGradients
from nas_lightning.errors import UserError
from tests.axes import toy_choice
from tests.conftest import PATIENCE, ROOT, TOY, composed
from tests.test_config import METHODS

SETTINGS = (*TOY, "trainer=ddp", "model.weight_clip=0.1", "data.valid_batch_size=16")


def on_two_processes(folder, *what):
    """Lets this script run in `folder`."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.ddp_searches", str(folder), *what],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


class Recorder(pl.Callback):
    """Writes FOLDER/<rank>-<step>.pt after every step; step 0 is the start."""

    def __init__(self, folder):
        self.folder = folder
        self.steps = 0

    def on_train_start(self, trainer, pl_module):
        self.folder.mkdir(exist_ok=True)
        self.record(trainer, pl_module, {})

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps += 1
        self.record(trainer, pl_module, batch)

    def record(self, trainer, module, batch):
        gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
        state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        content = {"epoch": trainer.current_epoch, "batch": batch, "state": state, "gradients": gradients}
        torch.save(content, self.folder / f"{trainer.global_rank}-{self.steps}.pt")


class CtrlC(pl.Callback):
    """What a user does in the middle of the third epoch: the program gets it, its processes do not."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == 2 and trainer.is_global_zero:
            os.kill(os.getppid(), signal.SIGINT)


class Apart(pl.Callback):
    """One unit in the last place on rank 1."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        weight = pl_module.supernet.classifier.weight
        if trainer.global_rank == 1:
            weight.data = torch.nextafter(weight.data, torch.tensor(torch.inf))


def run(folder, callback=None, start_method="fork", precision="32-true", overrides=()):
    make_trainer = nas_lightning.app.search.make_trainer

    def with_callback(config, *arguments):
        config.trainer.precision = precision
        trainer = make_trainer(config, *arguments)
        if callback is not None:
            trainer.callbacks.insert(0, callback)
        assert isinstance(trainer.strategy, AveragedGradients)
        trainer.strategy._start_method = start_method
        trainer.strategy._configure_launcher()
        return trainer

    nas_lightning.app.search.make_trainer = with_callback
    try:
        config = composed(*SETTINGS, *overrides, f"run_dir={folder}")
        return nas_lightning.app.search.search(config, Job({"method": "edd"}, []))
    finally:
        nas_lightning.app.search.make_trainer = make_trainer


def main(place):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    run(place / "whole", Recorder(place / "whole-steps"), "spawn")
    said = {}
    try:
        run(place / "stopped", CtrlC())
    except SystemExit as stop:
        said["stopped"] = stop.code
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores it from the first one on
    run(place / "stopped")
    # Else a comparison of gradients would be one of roundings. Users are refused it: Lightning resumes it inexactly.
    run(place / "double", Recorder(place / "double-steps"), precision="64-true")
    try:
        run(place / "apart", Apart())
    except UserError as error:
        said["apart"] = str(error)
    (place / "said.json").write_text(json.dumps(said))


def decided(place):
    run(place / "decided", Recorder(place / "decided-steps"), overrides=toy_choice("stages", "darts_pt"))


def sharp(place):
    choices = (*toy_choice("stop", "eigenvalue"), "sched=constant", "relaxation=softmax", "trainer.max_epochs=8")
    run(place / "sharp", Recorder(place / "sharp-steps"), overrides=choices)


def statistics(place):
    kept = ("space.running_statistics=true",)
    run(place / "statistics", Recorder(place / "statistics-steps"), precision="64-true", overrides=kept)


def methods(place):
    """A search of every method; writes by its name what was said of it: its architecture, or why it ended."""
    said = {}
    for method in METHODS:
        try:
            said[method] = run(place / method, overrides=(f"method={method}",))["architecture"]
        except Exception as error:
            said[method] = f"{type(error).__name__}: {error}"
    (place / "methods.json").write_text(json.dumps(said))


if __name__ == "__main__":
    others = {each.__name__: each for each in (decided, sharp, methods, statistics)}
    others.get("".join(sys.argv[2:]), main)(Path(sys.argv[1]))
