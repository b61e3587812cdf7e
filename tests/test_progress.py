"""What a search shows while it runs: a line an epoch, on a terminal too, and a bar that fits."""

import io
import re

import pytest
from rich.console import Console

from nas_lightning.callbacks import Progress
from nas_lightning.reports.panel import print_found
from tests.conftest import composed

TRAINED = r"entropy \d\.\d{3}  t \S+  discrete \S+%  train \S+%"


def shown(toy, monkeypatch, terminal, width, *overrides):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)
    monkeypatch.setattr(Progress, "console", console)
    toy("run", "trainer.max_epochs=2", *overrides)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def test_a_terminal_keeps_a_line_an_epoch_above_a_bar_within_80_columns(toy, monkeypatch):
    lines = shown(toy, monkeypatch, True, 80)
    kept = [line for line in lines if "entropy" in line]
    assert [bool(re.fullmatch(rf"epoch {epoch}/2  {TRAINED}", line)) for epoch, line in enumerate(kept, 1)] == [
        True
    ] * 2
    bars = [line for line in lines if "entropy" not in line]
    assert all(re.fullmatch(r"epoch [012]/2 .{24} \d:\d\d:\d\d left (\d:\d\d:\d\d|-:--:--)", bar) for bar in bars)
    assert bars[-1].startswith("epoch 2/2 ")
    assert max(map(len, lines)) < 80


def test_elsewhere_a_line_an_epoch_has_the_time_left(toy, monkeypatch):
    lines = shown(toy, monkeypatch, False, 80)
    assert len(lines) == 2
    assert all(re.fullmatch(rf"epoch {n}/2  left \d\d:\d\d:\d\d  {TRAINED}", line) for n, line in enumerate(lines, 1))


def test_a_narrow_terminal_does_no_harm(toy, monkeypatch):
    assert any("entropy" in line for line in shown(toy, monkeypatch, True, 20))


def test_the_tables_score_is_shown_only_beside_its_own_data_set(toy, monkeypatch):
    """That of CIFAR-10 says nothing about other images while they are searched on."""
    assert not any("table" in line for line in shown(toy, monkeypatch, False, 80, "benchmark=nb201"))


@pytest.mark.parametrize(
    ("dataset", "label"), [("cifar10", "table, test accuracy"), ("folder", "table, if trained on")]
)
def test_the_panel_says_what_the_tables_scores_are_of(dataset, label, tmp_path):
    report = {
        "dataset": dataset, "final": {}, "scores": {"cifar10_test_200": 91.0}, "architecture": "x", "seconds": 1, "epochs": 1,
        "device": "d",
    }  # fmt: skip
    console = Console(file=io.StringIO(), width=100)
    print_found(report, tmp_path, console)
    assert re.search(rf"{label} +CIFAR-10 91.00 %", console.file.getvalue())


@pytest.mark.parametrize("program", ["train", "evaluate", "tune"])
def test_a_debug_preset_makes_any_config_short(program):
    for overrides in (("debug=fast",), ("debug=toy", "space=darts"), ("debug=toy", "dataset=cifar10")):
        config = composed(*overrides, "run_dir=x", config=program)
        trainer = config.trainer
        assert (trainer.max_epochs, trainer.limit_train_batches, trainer.limit_val_batches) == (2, 4, 4)
        assert ((config.space.C, config.data.batch_size) == (4, 16)) == ("debug=toy" in overrides)
