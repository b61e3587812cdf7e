"""What an interrupted run finds again: damaged, missing and foreign files, full disks, and other processes in its folder."""

import errno
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from nas_lightning.app.checkpoints import Checkpoints
from nas_lightning.app.evaluate import evaluate
from nas_lightning.app.job import Job
from nas_lightning.errors import UserError
from nas_lightning.records import files
from nas_lightning.records.epochs import EpochFile, read_rows
from nas_lightning.records.files import remove_temporary
from nas_lightning.records.folder import RunFolder
from nas_lightning.records.lock import FolderInUse, FolderLock
from nas_lightning.records.overrides import quote_values
from tests.conftest import ROOT, composed
from tests.hostile import CONTENTS
from tests.test_search import interrupt, rows, weights

SHORT = ("space.C=2", "data.train_images=16", "data.valid_images=16", "data.batch_size=8")
FILES = ("metrics.csv", "architecture.csv")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of a whole search, and of one that was interrupted in its third epoch of four."""
    from tests import conftest

    place = tmp_path_factory.mktemp("runs")

    def run(name):
        config, choices = conftest.composed_with_choices(*conftest.TOY, *SHORT, f"run_dir={place / name}")
        return conftest.search(config, conftest.Job(choices, []))

    run("whole")
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, epoch=2)
        with pytest.raises(SystemExit):
            run("stopped")
    return place


@pytest.fixture
def stopped(runs, tmp_path):
    """A copy of the interrupted search."""
    return Path(shutil.copytree(runs / "stopped", tmp_path / "run", symlinks=True))


@pytest.fixture
def go_on(runs, toy, tmp_path):
    """Goes on with tmp_path / "run"; the result must be that of the search which was not interrupted, to the bit."""

    def run(*overrides):
        toy("run", *SHORT, *overrides)
        assert rows(tmp_path / "run") == rows(runs / "whole")
        ours, theirs = ((place / "architecture.csv").read_bytes() for place in (tmp_path / "run", runs / "whole"))
        assert ours == theirs
        ours, theirs = weights(tmp_path / "run"), weights(runs / "whole")
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    return run


def test_the_checkpoint_before_is_kept_until_the_next_is_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints(Path("run/checkpoints"), {"seed": 1}, lambda settings: None)
    place = tmp_path / "run" / "checkpoints"
    for epoch in range(3):
        checkpoints.save_checkpoint({"epoch": epoch}, place / "last.ckpt")  # Lightning gives an absolute path
    kept = {path.name: torch.load(path, weights_only=True) for path in place.iterdir()}
    assert {name: checkpoint["epoch"] for name, checkpoint in kept.items()} == {"last.ckpt": 2, "previous.ckpt": 1}
    assert kept["last.ckpt"]["nas_lightning"]["settings"] == {"seed": 1}
    checkpoints.drop_previous()
    assert [path.name for path in place.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("program", ["train", "evaluate"])
def test_nothing_is_left_where_a_process_is_killed_after_its_report(program, tmp_path, toy, monkeypatch):
    write = RunFolder.write_report

    def killed(self, report):
        write(self, report)
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "write_report", killed)

    def trained():
        arguments = quote_values(["genotype=|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|", "train=true"])
        images = ("dataset=fake", "dataset.image_size=8", "dataset.train_images=16", "dataset.test_images=8")
        small = ("space.C=2", "space.N=1", "trainer.max_epochs=2", "trainer.accelerator=cpu", "benchmark=none")
        place = ("baselines=false", f"run_dir={tmp_path / 'run'}")
        evaluate(composed(*arguments, *images, *small, *place, config="evaluate"), Job({"space": "nb201"}, []))

    run = {"train": lambda: toy("run", *SHORT, "trainer.max_epochs=2"), "evaluate": trained}[program]
    with pytest.raises(KeyboardInterrupt):
        run()
    assert (tmp_path / "run" / "report.json").exists()
    assert [path.name for path in (tmp_path / "run").rglob("*.ckpt")] == ["last.ckpt"]


def newest(folder):
    return Checkpoints(folder / "checkpoints", {}, lambda settings: None).newest()


def equal(ours, theirs):
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(equal(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return ours == theirs


def test_no_flipped_bit_changes_what_a_run_goes_on_with(runs, tmp_path):
    whole = runs / "stopped" / "checkpoints" / "last.ckpt"
    content, expected = whole.read_bytes(), torch.load(whole, weights_only=True)
    drawn, refused = random.Random(0), 0
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    for _ in range(200):
        damaged, place = bytearray(content), drawn.randrange(len(content))
        damaged[place] ^= 1 << drawn.randrange(8)
        (folder / "last.ckpt").write_bytes(damaged)
        try:
            found = newest(tmp_path / "run")
        except UserError:
            refused += 1
        else:
            assert equal(torch.load(found, weights_only=True), expected)
    assert refused > 150  # most of the file is content


@pytest.mark.parametrize("damage", ["half", "empty", "flipped", "missing", "folder"])
def test_the_checkpoint_before_takes_the_place_of_a_damaged_one(damage, stopped, go_on, caplog):
    last = stopped / "checkpoints" / "last.ckpt"
    content = bytearray(last.read_bytes())
    with zipfile.ZipFile(last) as archive:  # in a part, not in the padding between parts
        content[content.index(archive.read("archive/data.pkl")) + 100] ^= 1
    if damage in ("missing", "folder"):
        last.unlink()
    else:
        last.write_bytes({"half": content[:1000], "empty": b"", "flipped": content}[damage])
    if damage == "folder":
        last.mkdir()
        with pytest.raises(UserError, match=r"last.ckpt"):
            go_on()
        last.rmdir()
    with caplog.at_level(logging.WARNING, "nas_lightning"):
        go_on()
    assert ("last.ckpt is damaged" in caplog.text) == (damage != "missing")
    assert [path.name for path in (stopped / "checkpoints").iterdir()] == ["last.ckpt"]


def test_two_damaged_checkpoints_are_one_sentence(stopped, go_on):
    for name in ("last", "previous"):
        (stopped / "checkpoints" / f"{name}.ckpt").write_bytes(b"half")
    with pytest.raises(UserError, match=r"last.ckpt is damaged .*; delete the folder .*run to start the run anew"):
        go_on()


def test_a_packed_checkpoint_is_damaged_and_not_unpacked(stopped):
    """It would take minutes, or all memory."""
    (stopped / "checkpoints" / "previous.ckpt").unlink()
    (stopped / "checkpoints" / "last.ckpt").write_bytes(CONTENTS["zip bomb"]())
    start = time.process_time()
    with pytest.raises(UserError, match=r"last.ckpt is damaged \(ValueError: it is packed, as no checkpoint is\)"):
        newest(stopped)
    assert time.process_time() - start < 1


def test_a_checkpoint_of_another_version_is_one_sentence(stopped, go_on):
    path = stopped / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    torch.save({key: value for key, value in checkpoint.items() if key != "nas_lightning"}, path)
    with pytest.raises(UserError, match=r"last.ckpt is of another version of nas_lightning"):
        go_on()


def test_a_folder_in_the_place_of_a_table_is_named_with_what_to_do(stopped, go_on):
    table = stopped / "metrics.csv"
    table.unlink()
    table.mkdir()
    with pytest.raises(
        UserError, match=r"cannot write .*metrics.csv: Is a directory; move the folder of that name away"
    ):
        go_on()
    table.rmdir()
    go_on()


@pytest.mark.parametrize("lost", ["state_dict", "optimizer_states", "callbacks"])
def test_a_checkpoint_that_does_not_fit_is_one_sentence(lost, stopped, go_on):
    path = stopped / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    if lost == "state_dict":
        checkpoint[lost] = {name: value.new_zeros(3) for name, value in checkpoint[lost].items()}
    elif lost == "optimizer_states":
        checkpoint[lost][0]["param_groups"] = []
    else:
        checkpoint[lost] = {name: {} for name in checkpoint[lost]}
    torch.save(checkpoint, path)
    with pytest.raises(
        UserError, match=r"last.ckpt does not fit this program \(\w+: .*\); go on with the version that wrote it"
    ):
        go_on()
    assert path.exists()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["deleted", "short", "foreign", "torn", "binary", "folder of a link"])
def test_a_runs_tables_are_those_of_its_checkpoint(name, damage, stopped, go_on, runs):
    path = stopped / name
    lines = path.read_text().splitlines(keepends=True)
    if damage in ("deleted", "folder of a link"):
        path.unlink()
    if damage == "folder of a link":
        path.symlink_to(runs / "whole" / "config.yaml")
    contents = {
        "short": "".join(lines[:2]),
        "foreign": (runs / "whole" / name).read_text().replace("0.", "1."),
        "torn": "".join(lines)[:-7],
        "binary": "\0\1",
    }
    if damage in contents:
        path.write_text(contents[damage])
    go_on()
    assert (runs / "whole" / "config.yaml").read_text().startswith("name:")


@pytest.mark.parametrize("content", [None, "", "a: [", "- 1", "seed: 7\ntrainer: {max_epochs: 9}"])
def test_the_checkpoint_knows_its_configuration(content, stopped, go_on):
    config = stopped / "config.yaml"
    before = yaml.safe_load(config.read_text())
    config.unlink()
    if content is not None:
        config.write_text(content)
    with pytest.raises(UserError, match=r"interrupted run with sched.lam=0.06, now it is 0.24"):
        go_on("sched.lam=0.24")
    assert not config.exists() or config.read_text() == content
    go_on()
    assert yaml.safe_load(config.read_text()) == before | {"run_dir": str(stopped)}


def test_what_changes_no_number_may_change(stopped, go_on):
    go_on("data.progress=false", "data.num_workers=1", "logger=tensorboard")


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (("trainer.max_epochs=6",), "trainer.max_epochs=4, now it is 6"),
        (("data.batch_size=4", "trainer.max_epochs=4"), "data.batch_size=8, now it is 4"),
        (("sched=linear",), "sched=edd, now it is linear"),
    ],
)
def test_a_refusal_names_what_the_user_has_set(overrides, named, stopped, go_on):
    with pytest.raises(UserError, match=named):
        go_on(*overrides)


@pytest.mark.drawings
@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("at", ["config", "last", "architecture", "metrics", "entropy", "report"])
def test_a_disk_that_refuses_is_one_sentence_and_the_run_goes_on(at, fault, runs, toy, tmp_path, monkeypatch, go_on):
    """The second write of a file fails, where it has a second one, as a disk does that gets full."""
    flush, left = files._flush, [1 if at == "last" else 0]

    def failing(path):
        if path.name.startswith(f".{at}."):
            if left[0] == 0:
                raise OSError(fault, os.strerror(fault))
            left[0] -= 1
        flush(path)

    if at in ("metrics", "architecture"):
        append = EpochFile.append

        def failing_append(self):
            if self.path.stem == at and len(self) == 2:
                monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(OSError(fault, os.strerror(fault))))
            append(self)

        monkeypatch.setattr(EpochFile, "append", failing_append)
    monkeypatch.setattr(files, "_flush", failing)
    with pytest.raises(
        UserError, match=rf"cannot write \S*{at}\S*: {os.strerror(fault)}; .*run the same command again"
    ):
        toy("run", *SHORT)
    assert not list((tmp_path / "run").rglob(".*"))
    monkeypatch.undo()
    go_on()


def test_a_table_grows_by_its_last_line_only(tmp_path):
    file = EpochFile(tmp_path / "metrics.csv")
    for epoch in range(3):
        file.add({"epoch": epoch, "loss": epoch / 3})
        file.append()
    inode = file.path.stat().st_ino
    file.add({"epoch": 3, "loss": 1.0})
    file.append()
    assert file.path.stat().st_ino == inode
    assert file.path.read_text() == file.text
    assert read_rows(file.path) == file.rows()
    file.add({"epoch": 4, "loss": 1.5, "architecture": "a,b", "new": 2.0})  # new columns
    file.append()
    assert read_rows(file.path) == file.rows()
    assert file.path.read_text().splitlines()[0] == "epoch,loss,new,architecture"
    file.path.write_text("something else")
    file.add({"epoch": 5, "loss": 1.0})
    file.append()
    assert file.path.read_text() == file.text
    again = EpochFile(file.path)
    again.restore(file.text)
    assert (again.rows(), again.text) == (file.rows(), file.text)


def test_a_row_that_is_being_written_is_not_read(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,loss\n0,0.25\n1,0.1")
    assert read_rows(path) == [{"epoch": 0, "loss": 0.25}]


def test_what_killed_processes_left_is_removed(tmp_path):
    left = [
        tmp_path / ".last.12-0123abcd.ckpt",
        tmp_path / "a" / ".x.1-ffffffff",
        tmp_path / "a" / "b" / ".y.3-00000000.svg",
    ]
    kept = [
        tmp_path / ".git",
        tmp_path / ".last.ckpt",
        tmp_path / "a" / "b" / ".12-0123abcd",
        tmp_path / "a" / "x.1-ffffffff",
    ]
    for path in (*left, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    remove_temporary(tmp_path)
    assert [path for path in left if path.exists()] == []
    assert all(path.exists() for path in kept)


HOLD = """
import sys, time
from pathlib import Path
from nas_lightning.records.lock import FolderLock
with FolderLock(Path(sys.argv[1])) as lock:
    print("held", flush=True)
    input()
    lock.check()
    print("still ours", flush=True)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_and_told_who_is_there(holder, tmp_path):
    sentence = rf"{tmp_path} is in use by process {holder.pid} on \S+ since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d; wait"
    with pytest.raises(FolderInUse, match=sentence), FolderLock(tmp_path):
        pass
    assert holder.communicate("\n")[0] == "still ours\n"
    assert list(tmp_path.iterdir()) == []
    with FolderLock(tmp_path) as lock:
        lock.check()


def test_the_lock_of_a_killed_process_is_taken_over(holder, tmp_path):
    holder.send_signal(signal.SIGSTOP)
    with pytest.raises(FolderInUse), FolderLock(tmp_path):
        pass
    holder.kill()
    holder.wait()
    assert (tmp_path / ".lock").exists()
    with FolderLock(tmp_path) as lock:
        lock.check()
        assert f"process {os.getpid()} " in (tmp_path / ".lock").read_text()


def test_a_forked_worker_does_not_keep_the_lock(tmp_path):
    code = f"""
import os, sys, time
from pathlib import Path
from nas_lightning.records.lock import FolderLock
FolderLock(Path({str(tmp_path)!r})).__enter__()
if os.fork() == 0:
    time.sleep(60)
print(os.getpid(), flush=True)
os.kill(os.getpid(), 9)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, process_group=0)
    process.stdout.readline()
    process.wait()
    with FolderLock(tmp_path):
        pass
    os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()


def test_a_process_that_wakes_up_does_not_write_into_anothers_folder(holder, tmp_path):
    holder.send_signal(signal.SIGSTOP)
    (tmp_path / ".lock").unlink()
    with FolderLock(tmp_path) as lock:
        holder.send_signal(signal.SIGCONT)
        output, error = holder.communicate("\n")
        assert output == ""
        assert "was deleted or moved while this run was working in it" in error
        lock.check()
    assert list(tmp_path.iterdir()) == []


def test_a_search_whose_folder_is_anothers_by_now_writes_nothing_more(toy, tmp_path, monkeypatch):
    from nas_lightning.callbacks import Owned

    with FolderLock(tmp_path) as lock:
        monkeypatch.setattr(Owned, "__init__", lambda self, _: setattr(self, "lock", lock))
        (tmp_path / ".lock").unlink()
        with pytest.raises(UserError, match="was deleted or moved"):
            toy("run", *SHORT)
    assert not (tmp_path / "run" / "metrics.csv").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_where_a_file_system_has_no_locks_a_warning_says_so(tmp_path, monkeypatch, caplog):
    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", refused)
    with caplog.at_level(logging.WARNING, "nas_lightning"), FolderLock(tmp_path) as lock:
        lock.check()
    assert "is on a file system without locks" in caplog.text


def test_two_processes_never_hold_a_folder_at_once(tmp_path):
    """Each adds one to a number a hundred times, reading and writing it under the lock."""
    code = f"""
import time
import zipfile
from pathlib import Path
from nas_lightning.records.lock import FolderLock, FolderInUse
number, done = Path({str(tmp_path)!r}) / "number", 0
while done < 100:
    try:
        with FolderLock(Path({str(tmp_path)!r})):
            value = int(number.read_text())
            time.sleep(1e-4)
            number.write_text(str(value + 1))
            done += 1
    except FolderInUse:
        time.sleep(1e-4)
"""
    (tmp_path / "number").write_text("0")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(3)]
    deadline = time.monotonic() + 300
    assert [process.wait(deadline - time.monotonic()) for process in processes] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "300"
