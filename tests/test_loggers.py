"""What W&B and TensorBoard get of a run, read back from their own files and compared with metrics.csv."""

import csv
import json
import logging
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

from nas_lightning.app.evaluate import evaluate
from nas_lightning.app.job import Job
from nas_lightning.callbacks import MetricsFile, Progress
from nas_lightning.errors import UserError
from nas_lightning.genotypes.nb201 import parse_nb201
from nas_lightning.tabular.nb201 import open_table
from tests.conftest import PATIENCE, ROOT, TOY, composed
from tests.test_config import METHODS

BLOCK = 32768
KEY = "a" * 40
UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def newcomer(tmp_path, monkeypatch):
    """No key, no settings, no session from the test before."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / ".netrc"))
    wandb.teardown()
    yield
    wandb.teardown()


def records(file: Path) -> Iterator[Record]:
    """A .wandb file: 7 bytes of header, then LevelDB's log format (blocks of 32 KiB, chunks with a 7-byte header)."""
    data, position, whole = file.read_bytes(), 7, b""
    while position < len(data):
        if (left := BLOCK - position % BLOCK) < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last of several chunks
            yield Record.FromString(whole)
            whole = b""


def offline_runs(folder: Path) -> list[list[Record]]:
    return [list(records(file)) for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


_DRAWN = ("cell", "beta")  # images, in the first epoch too


def logged(run: list[Record]) -> list[dict]:
    """The rows of a W&B run, without W&B's own columns but for the step."""
    history = [{item.nested_key[0]: json.loads(item.value_json) for item in r.history.item} for r in run]
    return [
        {k: v for k, v in row.items() if k == "_step" or (k[0] != "_" and k not in _DRAWN)} for row in history if row
    ]


def header(run: list[Record]):
    return next(record.run for record in run if record.WhichOneof("record_type") == "run")


def expected(folder: Path) -> list[dict]:
    with (folder / "metrics.csv").open() as file:
        return [
            {k: v if k == "architecture" else float(v) for k, v in row.items() if v} for row in csv.DictReader(file)
        ]


def assert_equal_to_metrics(folder: Path, epochs: int = 4) -> None:
    (run,) = offline_runs(folder)
    rows = logged(run)
    assert [row.pop("_step") for row in rows] == list(range(epochs))
    assert [row["epoch"] for row in rows] == list(range(epochs))
    assert rows == expected(folder)


def interrupt(monkeypatch, epoch, target=Progress, hook="on_train_batch_end"):
    """Ctrl-C in the middle of `epoch`, once."""
    original, armed = getattr(target, hook), [True]

    def raising(self, trainer, *arguments):
        original(self, trainer, *arguments)
        if armed and trainer.current_epoch == epoch:
            armed.clear()
            raise KeyboardInterrupt

    monkeypatch.setattr(target, hook, raising)


@pytest.mark.parametrize("method", METHODS)
def test_wandb_gets_every_column_of_every_epoch_of_every_method_and_the_table(method, toy, tmp_path):
    report = toy("run", f"method={method}", "logger=wandb", "benchmark=nb201")
    assert_equal_to_metrics(tmp_path / "run", report["epochs"])
    columns = {"epoch", "entropy/cell/5", "discrete_accuracy", "temperature", "seconds", "table/cifar10_test_200"}
    assert columns < set(expected(tmp_path / "run")[0])
    assert report["scores"] == open_table().query_string(report["architecture"])


def test_wandb_run_is_named_grouped_tagged_and_holds_the_config(toy, tmp_path):
    toy("run", "logger=wandb", "name=ablation")
    (run,) = offline_runs(tmp_path / "run")
    described = header(run)
    assert (described.display_name, described.run_group, described.job_type) == ("run", "ablation", "search")
    assert sorted(described.tags) == ["edd", "fake", "nb201"]
    assert described.project == "nas_lightning"
    config = {update.key: json.loads(update.value_json) for update in described.config.update if update.key != "_wandb"}
    assert config == {**yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()), "method": "edd"}
    axes = {m.name or m.glob_name: m.step_metric for r in run if (m := r.metric).name or m.glob_name}
    assert axes == {"epoch": "", "*": "epoch"}
    assert [record.exit.exit_code for record in run if record.WhichOneof("record_type") == "exit"] == [0]


def test_a_combination_is_named_as_such_in_wandb_report_and_panel(toy, tmp_path, capsys):
    changes = ("penalty=beta_decay", "selection=best_discrete", "space.partial=2", "derive=every_edge")
    report = toy("run", "logger=wandb", *changes)
    name = "edd with space.partial=2 + penalty=beta_decay, derive=every_edge, selection=best_discrete"
    (run,) = offline_runs(tmp_path / "run")
    # W&B takes tags of up to 64 characters.
    short = "edd with space.partial=2 + penalty=beta_decay, [...]"
    assert sorted(header(run).tags) == [short, "fake", "nb201"]
    (logged_name,) = (u.value_json for u in header(run).config.update if u.key == "method")
    assert json.loads(logged_name) == report["method"] == name
    assert report["choices"]["method"] == "edd"
    assert "edd with space.partial=2 + penalty" in capsys.readouterr().out


def test_wandb_gets_cell_and_beta_at_first_and_each_k_epochs_a_final_table_and_the_artifacts(toy, tmp_path):
    toy("run", "logger=wandb", "logger.cell_every=2")
    (run,) = offline_runs(tmp_path / "run")
    history = [
        {"/".join(i.nested_key): json.loads(i.value_json) for i in r.history.item} for r in run if r.history.item
    ]
    drawn = {
        row["epoch"]: {key.split("/")[0] for key in row if key.endswith("_type")} for row in history if "epoch" in row
    }
    assert drawn == {0: {"cell", "beta"}, 1: {"cell", "beta"}, 2: set(), 3: {"cell", "beta"}}
    files = next((tmp_path / "run").glob("wandb/offline-run-*/files/media"))
    assert len(list(files.glob("images/*.png"))) == 6
    (table,) = [json.loads(path.read_text()) for path in files.glob("table/*.json")]
    final = dict(table["data"])
    assert float(final["entropy"]) == expected(tmp_path / "run")[-1]["entropy"]
    assert final["architecture"] == expected(tmp_path / "run")[-1]["architecture"]
    kinds = {r.artifact.type for r in run if r.WhichOneof("record_type") == "artifact"}
    assert {"genotype", "checkpoint"} <= kinds


def test_resumed_run_keeps_its_wandb_run_and_logs_each_epoch_once(toy, tmp_path, monkeypatch):
    """Stopped between the row of epoch 2 and its checkpoint, so that W&B has seen an epoch that runs again; and what W&B
    wrote is cut off, as a kill leaves it."""
    interrupt(monkeypatch, epoch=2, target=MetricsFile, hook="on_train_epoch_end")
    with pytest.raises(SystemExit):
        toy("run", "logger=wandb")
    (before,) = offline_runs(tmp_path / "run")
    assert [row["epoch"] for row in logged(before)] == [0, 1, 2]
    assert [record.exit.exit_code for record in before if record.WhichOneof("record_type") == "exit"] == [1]
    (file,) = (tmp_path / "run").glob("wandb/offline-run-*/*.wandb")
    file.write_bytes(file.read_bytes()[:7])
    later = file.parent.with_name(
        file.parent.name.replace("offline-run-2", "offline-run-1")
    )  # a start of another second
    file.parent.rename(later)
    toy("run", "logger=wandb")
    assert_equal_to_metrics(tmp_path / "run")
    (after,) = offline_runs(tmp_path / "run")
    assert header(after).run_id == header(before).run_id == (tmp_path / "run" / "wandb_id").read_text()


def test_run_that_lacks_only_its_report_keeps_its_epochs_on_wandb(toy, tmp_path):
    toy("run", "logger=csv")
    (tmp_path / "run" / "report.json").unlink()
    toy("run", "logger=wandb")
    assert_equal_to_metrics(tmp_path / "run")


def test_sweep_without_key_or_terminal_asks_nothing_and_gives_each_job_its_run(tmp_path):
    """A real process with stdin closed and an empty home, from a folder that W&B must not write to."""
    (tmp_path / "home").mkdir()
    small = [*TOY, "trainer.max_epochs=2"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "-m", *small, "logger=wandb", "name=ablation", "seed=0,1"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folders = [path.parent for path in (tmp_path / "runs").glob("*/*/report.json")]
    assert len(folders) == 2
    assert len({header(run).run_id for folder in folders for run in offline_runs(folder)}) == 2
    for folder in folders:
        assert_equal_to_metrics(folder, epochs=2)
    lines = [
        line for line in (done.stdout + done.stderr).splitlines() if "[HYDRA]" not in line
    ]  # which repeat overrides
    said = [line for line in lines if "w&b" in line.lower() or "wandb" in line.lower()]
    paths = [path.relative_to(tmp_path) for folder in folders for path in folder.glob("wandb/offline-run-*")]
    assert sorted(said) == sorted(f"W&B recorded this run offline; to upload it: wandb sync {path}" for path in paths)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "runs"]


@pytest.mark.parametrize("key", [KEY, "short"])
def test_unreachable_wandb_or_a_wrong_key_is_a_warning_and_the_run_is_recorded_offline(
    key, toy, tmp_path, monkeypatch, caplog, capfd
):
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_BASE_URL", UNREACHABLE)
    monkeypatch.setattr("nas_lightning.app.loggers._ONLINE_SECONDS", 1)
    with caplog.at_level(logging.INFO, "nas_lightning"):
        assert toy("run", "logger=wandb")["epochs"] == 4
    assert_equal_to_metrics(tmp_path / "run")
    warnings = [r.getMessage() for r in caplog.records if r.name == "nas_lightning" and r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "this run is recorded offline" in warnings[0]
    assert "\n" not in warnings[0]
    assert "wandb: " not in "".join(capfd.readouterr())


class FakeRun:
    """An online run whose epochs 0 and 1 W&B has."""

    id, url, starting_step = "abc", "https://wandb.example/abc", 2

    def __init__(self, folder, log_fails=False, finish_fails=False):
        self.settings = wandb.Settings()
        self.log_fails, self.finish_fails = log_fails, finish_fails
        self.steps: list[int] = []
        self.closed: list[int] = []
        self.summary: dict = {}
        self.artifacts: list[str] = []

    def log_artifact(self, artifact):
        self.artifacts.append(artifact.name)

    def define_metric(self, name, step_metric=None): ...

    def log(self, row, step, commit):
        if self.log_fails and step == 3:
            raise BrokenPipeError("the service\nis gone")
        self.steps.append(step)

    def finish(self, exit_code):
        self.closed.append(exit_code)
        if self.finish_fails:
            raise TimeoutError("60 seconds")


@pytest.fixture
def online(monkeypatch):
    def start(run):
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setattr(wandb, "init", lambda **settings: run)
        return run

    return start


def test_online_run_that_goes_on_gets_only_what_wandb_lacks(toy, tmp_path, online):
    run = online(FakeRun(tmp_path))
    toy("run", "logger=wandb")
    assert run.steps == [2, 3]
    assert run.artifacts == ["genotype-abc", "checkpoint-abc"]
    assert run.closed == [0]


@pytest.mark.parametrize(
    ("fails", "sentence"),
    [("log_fails", "W&B takes no more epochs of"), ("finish_fails", "to upload it: wandb sync")],
)
def test_wandb_that_fails_during_the_run_costs_no_epoch(fails, sentence, toy, tmp_path, online, caplog):
    online(FakeRun(tmp_path, **{fails: True}))
    with caplog.at_level(logging.WARNING, "nas_lightning"):
        assert toy("run", "logger=wandb")["epochs"] == 4
    (warning,) = [r.getMessage() for r in caplog.records if r.name == "nas_lightning"]
    assert sentence in warning
    assert "\n" not in warning


def test_disabled_wandb_writes_nothing(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert toy("run", "logger=wandb")["epochs"] == 4
    assert not (tmp_path / "run" / "wandb").exists()


def test_wandb_offline_in_the_settings_file_beats_a_key(toy, tmp_path, monkeypatch):
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text("[default]\nmode = offline\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    toy("run", "logger=wandb")
    assert_equal_to_metrics(tmp_path / "run")


def test_key_in_netrc_means_online(toy, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".netrc").write_text(f"machine api.example.org\n  login user\n  password {KEY}\n")
    monkeypatch.setenv("WANDB_BASE_URL", "https://api.example.org")
    run = FakeRun(tmp_path)
    modes = []
    monkeypatch.setattr(wandb, "init", lambda mode, **settings: modes.append(mode) or run)
    toy("run", "logger=wandb")
    assert modes == ["online"]


@pytest.mark.parametrize(
    ("mode", "overrides", "sentence"),
    [
        ("online", (), "WANDB_MODE=online needs an API key"),
        ("onlin", (), "logger=wandb cannot be used"),
        ("shared", (), "WANDB_MODE=shared is not offered"),
        ("offline", ("logger.project=a/b",), "logger.project='a/b' is no name for a W&B project"),
        ("offline", ("logger.cell_every=-1",), "logger.cell_every must be"),
    ],
)
def test_wandb_settings_that_cannot_work_are_one_sentence_and_write_nothing(
    mode, overrides, sentence, toy, tmp_path, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.raises(UserError, match=sentence) as raised:
        toy("run", "logger=wandb", *overrides)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_missing_wandb_is_one_sentence_and_only_for_those_who_ask_for_it(toy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="logger=wandb cannot be used") as raised:
        toy("run", "logger=wandb")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()
    assert toy("run", "logger=csv")["epochs"] == 4


@pytest.mark.parametrize("stopped", [False, True])
def test_tensorboard_gets_every_column_with_the_epoch_as_step(stopped, toy, tmp_path, monkeypatch):
    if stopped:
        interrupt(monkeypatch, epoch=2, target=MetricsFile, hook="on_train_epoch_end")
        with pytest.raises(SystemExit):
            toy("run", "logger=tensorboard")
    toy("run", "logger=tensorboard")
    folder = tmp_path / "run" / "tensorboard"
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    events = EventAccumulator(str(folder))
    events.Reload()
    rows = expected(tmp_path / "run")
    assert set(events.Tags()["scalars"]) | {"architecture"} == set(rows[0])
    for name in events.Tags()["scalars"]:
        points = [(event.step, event.value) for event in events.Scalars(name)]
        assert points == [(epoch, pytest.approx(row[name], rel=1e-6)) for epoch, row in enumerate(rows)]
    texts = [
        (event.step, event.tensor_proto.string_val[0].decode()) for event in events.Tensors("architecture/text_summary")
    ]
    assert texts == [(epoch, row["architecture"]) for epoch, row in enumerate(rows)]


def test_two_loggers_stand_side_by_side(toy, tmp_path):
    report = toy("run", "logger=[wandb,tensorboard]", "logger.project=mine", "trainer.max_epochs=2")
    (run,) = offline_runs(tmp_path / "run")
    assert header(run).project == "mine"
    assert len(list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))) == 1
    assert report["config"]["logger"]["wandb"]["project"] == "mine"
    with pytest.raises(UserError, match=r"logger.cell_every must be a whole number"):
        toy("other", "logger=[tensorboard,wandb]", "logger.cell_every=x")


def test_each_network_that_is_trained_has_its_wandb_run(tmp_path):
    text = "|skip_connect~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
    file = tmp_path / "found.json"
    file.write_text(parse_nb201(text).to_json())
    small = (
        "space.C=4",
        "space.N=1",
        "dataset=fake",
        "dataset.image_size=8",
        "dataset.train_images=32",
        "benchmark=none",
    )
    overrides = (
        *small,
        "trainer.accelerator=cpu",
        "trainer.max_epochs=2",
        "train=true",
        "logger=wandb",
        f"genotype={file}",
    )
    config = composed(*overrides, f"run_dir={tmp_path / 'evaluation'}", config="evaluate")
    evaluate(config, Job({"space": "nb201", "dataset": "fake"}, list(overrides)))
    ids = set()
    for network in ("found", "random", "all_skip"):
        assert_equal_to_metrics(tmp_path / "evaluation" / network, epochs=2)
        (run,) = offline_runs(tmp_path / "evaluation" / network)
        assert (header(run).display_name, header(run).job_type) == (f"evaluation/{network}", "train")
        ids.add(header(run).run_id)
    assert len(ids) == 3
