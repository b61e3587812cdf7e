"""The programs as a user runs them in a checkout: real processes, signals, exit codes, sweeps."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml

from nas_lightning.app.job import ctrl_c_heard
from tests.conftest import PATIENCE, ROOT, TOY

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}


def hear_ctrl_c():
    """A shell's background jobs, and so the whole suite in one, ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(folder, *arguments, program="train.py", **environment):
    return subprocess.Popen(
        [sys.executable, str(ROOT / program), *arguments], cwd=folder, env=ENVIRONMENT | environment, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hear_ctrl_c,
    )  # fmt: skip


def finish(folder, *arguments, program="train.py", **environment):
    process = start(folder, *arguments, program=program, **environment)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in csv.DictReader(file)]


def wait_for_epoch(folder, epoch, process):
    """Until the checkpoint of `epoch` is there: it follows the row."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        checkpoint = folder / "checkpoints" / "last.ckpt"
        if checkpoint.exists() and len(rows(folder)) > epoch:
            return
        time.sleep(0.02)
    raise AssertionError(f"epoch {epoch} was not reached: {process.communicate()}")


def test_a_report_names_the_options_that_there_are(tmp_path):
    """A family has images of its own, and a space a table, for some data sets and spaces only."""
    own = tmp_path / "own" / "relaxation"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("_target_: nas_lightning.relaxations.Softmax\n")
    mine = ("--config-dir", "own", "relaxation=mine")
    code, _, err = finish(tmp_path, *mine, *TOY, "benchmark=nb201", "trainer.max_epochs=1", "run_dir=run")
    assert code == 0, err
    choices = json.loads((tmp_path / "run" / "report.json").read_text())["choices"]
    assert choices["images"] is None  # there is no nb201_fake
    assert (choices["benchmark"], choices["relaxation"], choices["space"]) == ("nb201", "mine", "nb201")
    assert choices["protocol@_global_"] == "nb201"


def test_search_survives_ctrl_c_sigterm_and_a_kill(tmp_path):
    long = (*TOY, "trainer.max_epochs=40", "data.train_images=200", "dataset.train_images=512")
    stopped = tmp_path / "runs" / "stopped" / "default"
    sayings = []
    for epoch, number in ((2, signal.SIGINT), (8, signal.SIGTERM), (16, signal.SIGKILL)):
        process = start(tmp_path, *long, "run_dir=runs/stopped/default")
        wait_for_epoch(stopped, epoch, process)
        process.send_signal(number)
        sayings.append(process.communicate(timeout=PATIENCE)[1])
        assert process.returncode != 0
        assert not (stopped / "report.json").exists()
    for saying in sayings[:2]:
        assert "run the same command to go on with runs/stopped/default" in saying
        assert "Traceback" not in saying
    code, _, err = finish(tmp_path, *long, "run_dir=runs/stopped/default")
    assert code == 0, err
    code, _, err = finish(tmp_path, *long, "name=whole", "hydra.run.dir=runs/whole/default")
    assert code == 0, err
    assert [row["epoch"] for row in rows(stopped)] == [str(epoch) for epoch in range(40)]
    assert rows(stopped) == rows(tmp_path / "runs" / "whole" / "default")


@pytest.mark.parametrize("program", ["train.py", "evaluate.py", "tune.py"])
def test_ctrl_c_while_libraries_are_loaded_is_no_traceback(program, tmp_path):
    (tmp_path / "hydra.py").write_text("raise KeyboardInterrupt")
    assert finish(tmp_path, program=program, PYTHONPATH=str(tmp_path)) == (130, "", "")


def test_ctrl_c_that_a_library_loses_is_heard_all_the_same():
    def library():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        except KeyboardInterrupt:
            raise ValueError("half a copy") from None

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), ctrl_c_heard(), ctrl_c_heard():
            library()
        with pytest.raises(ValueError, match="no interrupt"), ctrl_c_heard():
            raise ValueError("no interrupt")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("program", ["train.py", "evaluate.py", "tune.py"])
def test_a_config_group_set_to_null_is_one_sentence(program, tmp_path):
    code, out, err = finish(tmp_path, "dataset=null", program=program)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"dataset=null: dataset is a group of configs; give one of cifar10, .*svhn\.\n", err)


def test_two_options_of_a_group_that_has_one_are_one_sentence(tmp_path):
    code, out, err = finish(tmp_path, "penalty=[beta_decay,zero_one]")
    assert (code, out) == (1, "")
    assert err.startswith("penalty=[beta_decay,zero_one]: penalty is a group of configs; give one of beta_decay, ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("plus", ["", "++"])
def test_one_folder_for_a_whole_sweep_is_refused(plus, tmp_path):
    code, out, err = finish(tmp_path, "-m", *TOY, "seed=0,1", f"{plus}run_dir=here")
    assert (code, out) == (1, "")
    assert err == f"{plus}run_dir=here: a sweep has a folder for each of its jobs; say where by hydra.sweep.dir=PATH.\n"
    assert list(tmp_path.iterdir()) == []


def test_sweep_goes_on_after_a_failed_job_and_ends_with_a_table(tmp_path):
    """Second launch: the finished jobs are skipped, the failed one is tried again."""
    arguments = ("-m", *TOY, "name=ablation", "relaxation=softmax,sn_s100", "seed=0,1", "sched.lam=0.06,-1")
    code, out, err = finish(tmp_path, *arguments)
    assert code == 1
    assert "Traceback" not in err
    assert "sched.lam must be" in err
    sweep = tmp_path / "runs" / "ablation"
    reports = [json.loads(path.read_text()) for path in sweep.glob("*/report.json")]
    assert len(reports) == 4
    assert {(r["relaxation"], r["seed"]) for r in reports} == {(r, s) for r in ("softmax", "sn_s100") for s in (0, 1)}
    assert "relaxation" in out
    assert "sn_s100" in out
    failed = [line for line in out.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 4
    assert all(line.endswith(": sched.lam must be a positive number, got -1.") for line in failed)
    times = {path: path.stat().st_mtime_ns for path in sweep.glob("*/report.json")}
    code, out, _ = finish(tmp_path, *arguments)
    assert code == 1
    assert out.count("is finished: skipped") == 4
    assert times == {path: path.stat().st_mtime_ns for path in sweep.glob("*/report.json")}


def test_an_experiment_names_its_grid_the_command_line_wins_and_a_failed_job_is_rerun(tmp_path):
    """The same command twice; in between the cause of the failure is gone."""
    arguments = ("-m", "experiment=table7_reduced", *TOY, "trainer.max_epochs=1", "seed=3", "logger=wandb")
    code, out, _ = finish(tmp_path, *arguments, WANDB_MODE="wrong")
    assert code == 1
    assert out.count("failed: runs/table7_reduced/") == 2
    code, out, err = finish(tmp_path, *arguments, WANDB_MODE="offline")
    assert code == 0, err
    reports = [json.loads(path.read_text()) for path in tmp_path.glob("runs/table7_reduced/*/report.json")]
    assert sorted((report["method"], report["seed"]) for report in reports) == [("edd", 3), ("pcd", 3)]
    assert "failed" not in out
    assert not list(tmp_path.rglob("failed.txt"))


def test_a_diverged_run_that_is_of_no_sweep_says_so_in_its_folder(tmp_path):
    """Else a table would count it among those that the same command goes on with."""
    code, _, err = finish(tmp_path, *TOY, "model.weight_optimizer.lr=1e30", "run_dir=runs/x")
    assert code == 1
    assert "has diverged; lower the learning rate" in err
    cause = (tmp_path / "runs/x/failed.txt").read_text()
    assert cause == err.splitlines()[-1] + "\n"
    code, _, err = finish(tmp_path, *TOY, "sched.lam=-1", "run_dir=runs/x")
    assert (code, err) == (1, "sched.lam must be a positive number, got -1.\n")
    assert (tmp_path / "runs/x/failed.txt").read_text() == cause
    code, _, err = finish(tmp_path, *TOY, "trainer.max_epochs=1", "run_dir=runs/x")  # nothing of the run is kept
    assert code == 0, err
    assert not (tmp_path / "runs/x/failed.txt").exists()
    code, _, _ = finish(tmp_path, *TOY, "sched.lam=-1", "run_dir=runs/refused")
    assert code == 1
    assert not (tmp_path / "runs/refused").exists()


def test_a_sweep_of_evaluations_ends_with_its_own_jobs(tmp_path):
    """Those that fail and those that were there before the launch among them, but nothing of the launch before."""
    code, _, err = finish(tmp_path, "-m", "genotype=1,2", program="evaluate.py")
    assert code == 0, err
    code, out, _ = finish(tmp_path, "-m", "genotype=2,3,20000", program="evaluate.py")
    assert code == 1
    table = out[out.rindex("genotype  n") :].splitlines()
    assert [line.split()[:2] for line in table if re.match(r" \d", line)] == [["2", "1"], ["3", "1"]]
    assert [line.partition(":")[0] for line in table if "20000" in line] == ["failed"]


def test_options_may_stand_anywhere_and_a_misspelt_one_is_a_sentence(tmp_path):
    code, out, err = finish(tmp_path, "seed=1", "--multirnu")
    assert (code, out, err) == (1, "", "there is no option --multirnu; did you mean --multirun?\n")
    code, out, err = finish(tmp_path, "seed=7", "--cfg", "job", "name=mine")
    assert code == 0, err
    assert yaml.safe_load(out)["seed"] == 7


def test_a_search_ends_well_where_nobody_reads_or_everything_is_closed(tmp_path):
    small = " ".join((*TOY, "trainer.max_epochs=1"))
    for folder, ending in {"headless": "2>&1 | head -n 1", "closed": "<&- >&- 2>&-"}.items():
        command = f"{sys.executable} {ROOT / 'train.py'} {small} run_dir={folder} {ending}"
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
        assert (tmp_path / folder / "report.json").exists(), done
        assert "Traceback" not in done.stdout + done.stderr


def test_two_experiments_in_one_launch_are_refused(tmp_path):
    code, _, err = finish(tmp_path, "-m", "experiment=table1,table5")
    assert code == 1
    assert err.startswith("experiment=table1,table5: launch one experiment after the other")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("program", "arguments", "sentence"),
    [
        ("train.py", ("sched.lam=0",), "sched.lam must be"),
        ("train.py", ("sched.lam=${nope}",), "Interpolation key 'nope' not found"),
        ("train.py", ("sched.lam=${nope}", "run_dir=run"), "Interpolation key 'nope' not found"),
        ("train.py", ("dataset=folder", "dataset.root=nowhere.zip"), "nowhere.zip"),
        ("evaluate.py", ("genotype=|skip~0|",), "NAS-Bench-201"),
        ("evaluate.py", ("genotype=5", "~baselines"), "~baselines deletes what is read; give it another value instead"),
        ("tune.py", ("~seed",), "~seed deletes what is read"),
        ("train.py", ("~budget",), "~budget deletes what is read"),
        ("train.py", ("~model.arch_optimizer",), "model.arch_optimizer=None names no class; choose"),
        ("train.py", ("logger=wandb", "~logger.wandb._target_"), "logger.wandb="),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_1(program, arguments, sentence, tmp_path):
    code, _, err = finish(tmp_path, *arguments, "benchmark=none", program=program)
    assert code == 1
    assert sentence in err
    assert len(err.strip().splitlines()) == 1, err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("arguments", [(), ("-m", "seed=0,1")])
def test_an_output_folder_that_cannot_be_made_is_one_sentence(arguments, tmp_path):
    (tmp_path / "runs").write_text("a file")
    code, _, err = finish(tmp_path, *arguments)
    assert code == 1
    assert err.startswith("cannot write runs/search")
    assert len(err.strip().splitlines()) == 1, err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("sched=eddd",), "sched=eddd: no such choice; did you mean edd? There is constant, cyclic, "),
        (("epochs=1", "dataset=fake"), "there is no epochs; did you mean trainer.max_epochs?"),
        (("methd=edd",), "there is no methd; did you mean method?"),
        (
            ("relaxation.at_1=true",),
            "relaxation.at_1 is a setting of SnSoftmax that its yaml leaves at the default; give it by a +, as in +relaxation",
        ),
        (
            ("trainer.limit_train_batches=2",),
            "trainer.limit_train_batches is set by a +, as in +trainer.limit_train_batches",
        ),
        (("trainer.max_time=1",), "trainer.max_time is not offered: a run that it cuts short would count as finished;"),
        (("learning_rate=1",), "there is no learning_rate; did you mean model.weight_optimizer.lr?"),
        (
            ("sched.lam",),
            "Error parsing override 'sched.lam' missing EQUAL at '<EOF>'; correct that on the command line",
        ),
    ],
)
def test_what_is_misspelt_is_one_sentence_with_what_was_meant(arguments, sentence, tmp_path):
    code, _, err = finish(tmp_path, *arguments)
    assert code == 1
    assert err.startswith(sentence)
    assert len(err.strip().splitlines()) == 1
    _, _, err = finish(tmp_path, *arguments, HYDRA_FULL_ERROR="1")
    assert "Traceback" in err


def test_a_setting_of_a_default_choice_is_no_setting_of_a_users_own(tmp_path):
    """The default relaxation, SnSoftmax, has one `at_1`."""
    own = tmp_path / "own" / "relaxation"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("_target_: nas_lightning.relaxations.Softmax\n")
    code, _, err = finish(tmp_path, "--config-dir", "own", "relaxation=mine", "relaxation.at_1=true")
    assert code == 1
    assert err.startswith("there is no relaxation.at_1; ")


def test_evaluate_takes_a_benchmark_string_in_one_level_of_quotes(tmp_path):
    text = "|skip_connect~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
    code, out, err = finish(tmp_path, f"genotype={text}", "benchmark=none", program="evaluate.py")
    assert code == 0, err
    assert text in out
    (report,) = tmp_path.glob("runs/evaluate/*/report.json")
    written = json.loads(report.read_text())
    assert written["architecture"] == text
    assert written["source"] == "checkout"
    assert (written["commit"] is None) == (written["dirty"] is None)
