"""The harness of tests/chaos runs, its cases repeat, and it sees each kind of fault."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests import hostile as folders
from tests.chaos import draws, hostile, kills
from tests.chaos.points import Points
from tests.chaos.programs import Case, Child, Ended
from tests.conftest import ROOT


@pytest.mark.parametrize(("part", "count"), [("kills", 3), ("draws", 10), ("hostile", 5)])
def test_a_few_cases_miss_no_goal(part, count, tmp_path):
    command = [sys.executable, "-m", "tests.chaos", part, f"--count={count}", "--failures", str(tmp_path), "--seed=5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    failures = (tmp_path / f"{part}.jsonl").read_text()
    assert (done.returncode, failures) == (0, ""), done.stdout + done.stderr + failures
    assert re.fullmatch(rf"{part}: {count} cases of seed 5: .*; \d+ s\n", done.stdout)


def test_a_case_is_drawn_from_the_seed_and_its_number():
    points = Counter({"replace last.ckpt": 6, "append metrics.csv": 6})
    plans = [[kills._draw(random.Random(f"0 {number}"), points) for number in range(30)] for _ in range(2)]
    assert plans[0] == plans[1]
    assert len(set(plans[0])) > 20


@pytest.mark.parametrize(
    ("action", "status", "traceback"),
    [
        (lambda: None, 0, False),
        (lambda: sys.exit("a sentence"), 1, False),
        (lambda: [].pop(), 1, True),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), -9, False),
        (lambda: time.sleep(60), None, False),
    ],
)
def test_how_a_child_ends_is_known(action, status, traceback, tmp_path):
    ended = Child(action, tmp_path, tmp_path / "said").begin().wait(0.5 if status is None else 30)
    assert (ended.status, ended.has_traceback) == (status, traceback)
    assert ended.error.startswith("a sentence\n" if status == 1 and not traceback else "")


@pytest.mark.parametrize("when", ["before", "half", "after"])
def test_a_blow_falls_at_its_point(when, tmp_path):
    def write():
        Points(tmp_path / "points", kills.Blow("write_text b", 2, when, signal.SIGKILL)).install()
        for text in ("first", "second"):
            Path("b").write_text(text)

    ended = Child(write, tmp_path, tmp_path / "said").begin().wait(30)
    assert ended.status == -signal.SIGKILL
    assert (tmp_path / "b").read_text() == {"before": "first", "half": "sec", "after": "second"}[when]
    assert (tmp_path / "points").read_text() == "write_text b\n" * 2


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("metrics.csv", "epoch,loss,seconds\n0,1.0,7\n1,0.25,7\n", "unequal"),
        ("genotype.json", None, "unequal"),
        (".report.7-0123abcd.json", "{", "left"),
        ("metrics.csv", "epoch,loss,seconds\n0,1.0,7\n1,0.5,9\n", None),
    ],
)
def test_what_differs_from_a_whole_run_is_seen(name, content, kind, tmp_path):
    for place in ("ours", "theirs"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "metrics.csv").write_text("epoch,loss,seconds\n0,1.0,1\n1,0.5,1\n")
        (tmp_path / place / "genotype.json").write_text("{}")
    if content is None:
        (tmp_path / "ours" / name).unlink()
    else:
        (tmp_path / "ours" / name).write_text(content)
    case = Case(0, "edd")
    kills._compare(case, tmp_path / "theirs", tmp_path / "ours", "edd")
    assert list(case.faults) == [kind] * (kind is not None)


@pytest.mark.parametrize(("begun", "lost"), [("0 1 2|2 3", 0), ("0 1 2|3", 0), ("0 1 2|1 2 3", 1), ("0 1|0|0 1", 1)])
def test_an_epoch_that_is_lost_is_seen(begun, lost, tmp_path):
    launches = enumerate(begun.split("|"))
    lines = [f"{process} {epoch} run/metrics.csv\n" for process, epochs in launches for epoch in epochs.split()]
    (tmp_path / "epochs").write_text("".join(lines))
    case = Case(0, "edd")
    kills._check_epochs(case, tmp_path / "epochs")
    assert len(case.faults.get("lost", [])) == lost


@pytest.mark.parametrize(
    ("status", "error", "drawn", "kind"),
    [
        (1, "sched.lam=nan is no number; give one.\n", ("sched.lam=nan", float("nan"), 0.06), None),
        (1, "one\ntwo\n", (), "sentences"),
        (1, "", (), "sentences"),
        (1, "Traceback (most recent call last):\nKeyError: 1\n", (), "traceback"),
        (-11, "", (), "died"),
        (None, "", (), "hang"),
        (0, "", ("sched.lam=nan", float("nan"), 0.06), "nonsense"),
        (0, "", ("space.C=true", True, 16), "nonsense"),
        (0, "", ("+unknown=1", "unknown", ()), "nonsense"),
        (0, "", ("space.C=1", 1, 16), None),
        (0, "", ("name=1", 1, "search"), None),
    ],
)
def test_how_a_draw_ends_is_told_apart(status, error, drawn, kind, tmp_path):
    case = Case(0, "train")
    draws._classify(case, Ended(status, "", error, 1.0), [drawn] if drawn else [], tmp_path)
    assert list(case.faults) == [kind] * (kind is not None)


def test_what_a_hostile_folder_does_is_seen(tmp_path, monkeypatch):
    cases = hostile.Hostile(0, (tmp_path,))

    def evil(folder, out):
        (folder.parent.parent / "canary").touch()
        print(folders.SECRET, "\x1b[31m")
        raise KeyError

    monkeypatch.setattr(folders, "PROGRAMS", {"evil": evil})
    monkeypatch.setattr(folders, "SLOW", {"fine": lambda folder, out: None})
    assert set(cases.case(0).faults) == {"ran", "wrote", "leaked", "form", "traceback"}
