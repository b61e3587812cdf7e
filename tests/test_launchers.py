"""Sweeps by Hydra's launchers: jobs in processes of their own, killed ones go on."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, TOY
from tests.test_launch import finish, rows, start

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("launcher", ["joblib", "ray"])
def test_a_launchers_jobs_run_in_processes_of_their_own_and_failures_are_listed(launcher, tmp_path):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher}_launcher")
    arguments = ("-m", *TOY, f"hydra/launcher={launcher}", "name=sweep", "sched.lam=0.06,-1")
    code, out, err = finish(tmp_path, *arguments, RAY_USAGE_STATS_ENABLED="0")
    assert code == 1
    assert "Traceback" not in err
    assert len(list(tmp_path.glob("runs/sweep/*/report.json"))) == 1
    assert out.count("failed: runs/sweep/") == 1


def wait(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running_job(sweep):
    """The process of the sweep's running job, None where there is none."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = file.read_bytes().decode().split("\0")
        except OSError:  # it has ended meanwhile
            continue
        if "submitit.core._submit" in arguments and any(str(sweep) in argument for argument in arguments):
            return int(file.parent.name)
    return None


def test_submitit_queues_a_preempted_job_again_and_a_killed_one_goes_on_at_the_next_launch(toy, tmp_path):
    """A scheduler's signal, then a kill; beside it a job that fails."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    long = ("trainer.max_epochs=24", "data.train_images=100")
    arguments = ("-m", *TOY, *long, "hydra/launcher=submitit_local", "name=sweep", "sched.lam=0.06,-1")
    sweep = tmp_path / "runs" / "sweep"
    launch = start(tmp_path, *arguments)

    def epochs():
        return max((len(rows(file.parent)) for file in sweep.glob("*/metrics.csv")), default=0)

    def log():
        return "".join(file.read_text() for file in sweep.glob(".submitit/*/*_log.out"))

    wait(lambda: epochs() >= 2 and len(list(sweep.glob("*/failed.txt"))) == 1)
    os.kill(running_job(sweep), signal.SIGUSR2)
    wait(lambda: "Going on with the interrupted run" in log())
    done = epochs()
    assert 1 <= done < 20  # a row is written before its checkpoint: the one of a kill between them is cut
    wait(lambda: epochs() >= done + 2)
    os.kill(running_job(sweep), signal.SIGKILL)
    out, _ = launch.communicate(timeout=PATIENCE)
    assert launch.returncode == 1
    assert out.count("unfinished: runs/sweep/") == 1
    code, out, err = finish(tmp_path, *arguments)
    assert code == 1
    assert "Traceback" not in err
    assert out.count("failed: runs/sweep/") == 1
    assert "unfinished" not in out
    assert log().count("Going on with the interrupted run") == 2
    (report,) = sweep.glob("*/report.json")
    toy("whole", *long, "sched.lam=0.06")
    assert rows(report.parent) == rows(tmp_path / "whole")
