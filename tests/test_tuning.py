"""A study of hyperparameters: trials, their folders, going on after an interrupt."""

import errno
import json
import os

import pytest
from omegaconf import OmegaConf

from nas_lightning.app.job import Job
from nas_lightning.callbacks import Progress
from nas_lightning.errors import MachineError, UserError
from tests.conftest import TOY, composed


@pytest.fixture
def tune(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    from nas_lightning.app.tune import tune

    def run(*overrides, folder="study"):
        small = (*TOY, "trainer.max_epochs=2", "relaxation=sn_s100")
        return tune(composed(*small, *overrides, f"run_dir={tmp_path / folder}", config="tune"), Job({}, []))

    return run


def test_each_trial_is_a_search_with_its_values_and_more_trials_go_on_with_the_study(tune, tmp_path):
    first = tune("tune.trials=1")
    study = tune("tune.trials=2")
    assert study.trials[0].params == first.trials[0].params != study.trials[1].params
    reports = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "study").glob("*/report.json")}
    assert len(reports) == 2
    for trial in study.trials:
        name = ",".join(f"{key}={value:.4g}" for key, value in trial.params.items())
        report = reports[name]
        assert trial.value == report["final"]["discrete_accuracy"]
        for key, value in trial.params.items():
            assert OmegaConf.select(OmegaConf.create(report["config"]), key) == pytest.approx(value, rel=1e-3)


def test_an_interrupted_trial_goes_on_and_a_refused_one_fails_alone(tune, tmp_path, monkeypatch):
    original, armed = Progress.on_train_batch_end, [True]

    def stopped(self, trainer, *arguments):
        original(self, trainer, *arguments)
        if armed and trainer.current_epoch == 1:
            armed.clear()
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "on_train_batch_end", stopped)
    with pytest.raises(SystemExit):
        tune("tune.trials=1")
    study = tune("tune.trials=1")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"]
    assert len(list((tmp_path / "study").glob("*/report.json"))) == 1
    negative = ("tune.space.sched.lam.low=-2.0", "tune.space.sched.lam.high=-1.0", "tune.space.sched.lam.log=false")
    with pytest.raises(UserError, match=r"begun with another tune.space"):
        tune("tune.trials=3", *negative)
    with pytest.raises(UserError, match=r"no trial of .* has ended in a result"):
        tune("tune.trials=2", *negative, folder="negative")
    with pytest.raises(UserError, match=r"no trial of .* has ended in a result"):
        tune("tune.trials=1", "model.weight_optimizer.lr=1e30", folder="diverged")
    (cause,) = (tmp_path / "diverged").glob("*/failed.txt")
    assert "has diverged" in cause.read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("trainer.max_epochs=3", "trainer.max_epochs=2, now it is 3"),
        ("seed=1", "seed=0, now it is 1"),
        ("tune.objective=final.entropy", "tune.objective=final.discrete_accuracy, now it is final.entropy"),
    ],
)
def test_a_study_does_not_go_on_with_another_configuration(change, said, tune, tmp_path):
    tune("tune.trials=1")
    with pytest.raises(
        UserError, match=rf"study holds an interrupted run with .*{said}.*delete the folder to start anew"
    ):
        tune("tune.trials=2", change)
    assert len(tune("tune.trials=1").trials) == 1


def test_a_study_whose_last_line_a_kill_has_cut_goes_on(tune, tmp_path):
    tune("tune.trials=1")
    journal = tmp_path / "study" / "study.log"
    before = journal.read_text()
    journal.write_text(before + '{"op_code": 4, "work')
    study = tune("tune.trials=2")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2
    assert journal.read_text().startswith(before)


@pytest.mark.parametrize("drawn", range(3))
def test_a_trial_that_a_kill_has_left_without_some_of_its_values_goes_on(drawn, tune, monkeypatch):
    from optuna.trial import Trial

    suggest, count = Trial.suggest_float, iter(range(9))

    def killed(self, *arguments, **settings):
        if next(count) == drawn:
            raise KeyboardInterrupt
        return suggest(self, *arguments, **settings)

    monkeypatch.setattr(Trial, "suggest_float", killed)
    with pytest.raises(KeyboardInterrupt):
        tune("tune.trials=1")
    monkeypatch.setattr(Trial, "suggest_float", suggest)
    (trial,) = tune("tune.trials=1").trials
    assert (trial.state.name, len(trial.params)) == ("COMPLETE", 3)


def test_a_study_does_not_wait_for_the_lock_of_a_killed_process(tune, tmp_path):
    """Optuna's is a link, beside the file that it names."""
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.log.lock").symlink_to("study/study.log")
    assert len(tune("tune.trials=1").trials) == 1


@pytest.mark.parametrize(
    "line", ['{"op_code": 4, "work', "\0\0", "[1]", '{"op_code": 4}', '{"op_code": 99, "worker_id": "x"}']
)
def test_a_study_with_lines_that_are_none_of_it_is_one_sentence(line, tune, tmp_path):
    tune("tune.trials=1")
    journal = tmp_path / "study" / "study.log"
    content = journal.read_text() + line + "\n"
    journal.write_text(content)
    with pytest.raises(UserError, match=r"study.log (is damaged in line \d+|holds what Optuna has not written)"):
        tune("tune.trials=2")
    assert journal.read_text() == content


@pytest.mark.parametrize("override", ["seed=1.5", "seed=-1", "model.seed=true", "trainer.max_epochs=0"])
def test_a_setting_that_every_trial_would_refuse_begins_no_study(override, tune, tmp_path):
    with pytest.raises(UserError, match=override.partition("=")[0].removeprefix("model.")):
        tune("tune.trials=1", override)
    assert not (tmp_path / "study").exists()


def test_a_full_disk_ends_the_study_and_not_only_its_trial(tune, tmp_path, monkeypatch):
    monkeypatch.setattr("nas_lightning.records.files.os.replace", _no_room)
    with pytest.raises(MachineError, match=r"No space left on device; make room there and run the same command again"):
        tune("tune.trials=3")
    monkeypatch.undo()
    study = tune("tune.trials=2")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2


def _no_room(*paths):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_objective_that_no_report_has_ends_the_study_at_its_first_trial(tune, tmp_path):
    with pytest.raises(
        UserError, match=r"tune\.objective=final\.acuracy is no number in .*; those of final there are "
    ):
        tune("tune.trials=3", "tune.objective=final.acuracy")
    assert len(list((tmp_path / "study").glob("*/report.json"))) == 1


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("relaxation=softmax", "tune.space names relaxation.scale"),
        ("tune.trials=0", "tune.trials must be"),
        ("tune.space.sched.lam.high=0.01", "tune.space.sched.lam is no range"),
        ("tune.space.sched=3", "tune.space.sched is no range"),
        ("tune.space.sched.lam.log=-1", "tune.space.sched.lam.log must be true or false, got -1."),
        ("tune.space.sched.lam.log=x", "tune.space.sched.lam.log must be true or false, got 'x'."),
        ("tune.space.sched.lam.low=true", "tune.space.sched.lam.low must be a number, got True."),
        ("+tune.space.sched.lam.step=x", "tune.space.sched.lam.step must be a number or null, got 'x'."),
        ("tune.space.sched.lam.high=null", "tune.space.sched.lam.high must be a number, got None."),
        ("tune.space=null", "tune.space is no range"),
        ("+tune.trails={}", "tune.trails is read by nothing; there is tune.trials, tune.objective, tune.space."),
        ("+tune={3: 4}", "tune.3 is read by nothing"),
        ("tune.space={sched:null,relaxation:null}", "tune.space.sched is no range"),
        ("tune.objective=5", "tune.objective must be one of final"),
    ],
)
def test_a_study_that_cannot_be_is_one_sentence(override, sentence, tune):
    with pytest.raises(UserError, match=sentence):
        tune(override)
