"""Hyperparameters by Optuna: every trial is a search in a folder of its own, and the study is a file beside them.

Optuna's own ask and tell, not its Hydra sweeper, which is tied to a release whose storage no longer works.
"""

import json
import logging
import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from nas_lightning.app.job import Job
from nas_lightning.app.schema import check_settings
from nas_lightning.app.search import search
from nas_lightning.app.trainer_settings import check_search_settings
from nas_lightning.errors import MachineError, UserError, brief, check_whole, is_number
from nas_lightning.plain import fits, in_words
from nas_lightning.records.folder import RunFolder, folder_name, is_among, note_failure
from nas_lightning.records.overrides import key_of
from nas_lightning.records.received import check_regular, received_json

log = logging.getLogger("nas_lightning")
_SETTINGS = ("trials", "objective", "space")


def tune(config: DictConfig, job: Job) -> Any:
    """Run `config.tune.trials` trials in all, those of earlier launches included; returns Optuna's study.

    A trial that was interrupted goes on at its last epoch. A trial that is refused or diverges counts as failed, and the
    study goes on.
    """
    optuna = _import_optuna()
    job = replace(job, overrides=[each for each in job.overrides if not _is_of_the_study(each)])
    check_settings(config, job.overrides)
    check_search_settings(config)
    spans = _spans(config.tune.get("space"))
    _check(config, spans, optuna)
    folder = Path(config.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    _check_study(folder / "study.log")
    study = _open_study(folder / "study.log", optuna)
    _check_begun(study, config, job, spans)
    # Another seed for every launch: the sampler's random numbers would begin anew, and with them the first trials.
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials))
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        if not (trial.params.keys() <= spans.keys() and all(map(is_number, trial.params.values()))):
            raise UserError(f"{folder} was begun with another tune.space; set it back or give name=<another>.")
        # As Optuna's own ask makes it: a kill between its values leaves some that are still to be drawn.
        values = _suggested(optuna.trial.Trial(study, trial._trial_id), spans, folder)
        _finish(study, trial.number, values, config, job)
    while len(study.trials) < config.tune.trials:
        trial = study.ask()
        try:
            values = _suggested(trial, spans, folder)
        except UserError:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        _finish(study, trial.number, values, config, job)
    _print(study, folder)
    return study


def _is_of_the_study(override: str) -> bool:
    return key_of(override).partition(".")[0] == "tune"


def _suggested(trial: Any, spans: dict[str, dict[str, Any]], folder: Path) -> dict[str, float]:
    """The trial's values by the dotted key, those that it has and new ones."""
    try:
        return {key: trial.suggest_float(key, **span) for key, span in spans.items()}
    except ValueError as error:
        raise UserError(
            f"{folder} was begun with another tune.space ({error}); set it back or give name=<another>."
        ) from error


class _FolderIsOurs:
    """In place of the lock of Optuna's file, which a killed process leaves behind and the next one waits for without an end:
    the folder's own lock keeps others out, and ends with its process."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _check_study(file: Path) -> None:
    """A study that is gone on with is a plain file: Optuna would wait for a pipe and follow a link.

    A last line without its end is one that a killed process has begun: it is cut off, which Optuna would not do.
    """
    if not os.path.lexists(file):
        return
    try:
        check_regular(file)
        content = file.read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"the study {file} cannot be read ({error}); give name=<another>.") from error
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        log.warning("The last line of %s is half a line of a process that was killed: cut off.", file)
        os.truncate(file, whole)
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise UserError(
                f"the study {file} is damaged in line {number}; delete the file from there on to keep the trials before, or "
                "give name=<another>."
            )


def _open_study(file: Path, optuna: Any) -> Any:
    try:
        journal = optuna.storages.journal.JournalFileBackend(str(file), _FolderIsOurs())
        storage = optuna.storages.JournalStorage(journal)
        return optuna.create_study(storage=storage, study_name="tune", direction="maximize", load_if_exists=True)
    except (LookupError, TypeError, ValueError, AssertionError) as error:  # entries that are none of Optuna's
        raise UserError(
            f"the study {file} holds what Optuna has not written ({type(error).__name__}: {error}); put the file back, or "
            "give name=<another>."
        ) from error


def _check_begun(study: Any, config: DictConfig, job: Job, spans: Mapping[str, Any]) -> None:
    """UserError where the study has trials of another configuration; what it began with is kept in it."""
    run = RunFolder.of(config, job.overrides, job.choices)
    free = ("tune.trials", "tune.space", *spans)
    now = {key: value for key, value in run.settings.items() if not is_among(key, free)}
    if "settings" not in study.user_attrs:
        study.set_user_attr("settings", now)
    run.check_same(run.settings | study.user_attrs["settings"])


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError(f"tune needs Optuna ({error}); pip install 'nas-lightning[optuna]'.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _spans(space: Any, key: str = "") -> dict[str, dict[str, Any]]:
    """The ranges of `tune.space` by the dotted key of the config; a mapping with low or high is a range."""
    if not isinstance(space, DictConfig):
        where = f"tune.space.{key}".rstrip(".")
        raise UserError(f"{where} is no range ({space!r}); give low, high and log or step.")
    if "low" in space or "high" in space:
        return {key: OmegaConf.to_container(space)}  # type: ignore[dict-item]
    return {k: v for name in space for k, v in _spans(space[name], f"{key}.{name!s}".lstrip(".")).items()}


def _check(config: DictConfig, spans: dict[str, dict[str, Any]], optuna: Any) -> None:
    """Every key of the space must be one of this composition, with a range that Optuna takes."""
    unknown = [key for key in config.tune if key not in _SETTINGS]
    if unknown:
        raise UserError(f"tune.{unknown[0]!s} is read by nothing; there is tune.{', tune.'.join(_SETTINGS)}.")
    if not spans:
        raise UserError("tune.space is empty; give a range such as '+tune.space.sched.lam={low: 0.02, high: 0.5}'.")
    for key, span in spans.items():
        if OmegaConf.select(config, key) is None:
            raise UserError(
                f"tune.space names {key}, which this configuration has not set; drop it with '~tune.space.{key}'."
            )
        for name, value in span.items():
            kind = {"log": bool, "step": float | None}.get(name, float)
            if not fits(value, kind):
                raise UserError(f"tune.space.{key}.{name} must be {in_words(kind)}, got {brief(value)}.")
        try:
            optuna.distributions.FloatDistribution(**span)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"tune.space.{key} is no range for Optuna ({error}); give low, high and log or step."
            ) from error
    if str(config.tune.objective).partition(".")[0] not in ("final", "scores"):
        raise UserError(
            f"tune.objective must be one of final.* or scores.* in report.json, got {config.tune.objective!r}."
        )
    check_whole("tune.trials", config.tune.trials, 1)


def _finish(study: Any, number: int, values: dict[str, float], config: DictConfig, job: Job) -> None:
    overrides = [f"{key}={value:.4g}" for key, value in values.items()]  # readable names; the trial keeps all digits
    trial = deepcopy(config)
    with open_dict(trial):
        objective = trial.pop("tune").objective
    trial.run_dir = str(Path(config.run_dir) / folder_name(",".join(overrides)))
    try:
        for key, text in (override.split("=") for override in overrides):
            OmegaConf.update(trial, key, float(text))
        search(trial, replace(job, overrides=[*job.overrides, *overrides], in_sweep=True))
    except MachineError:
        raise  # the other trials would fail by it too
    except UserError as error:
        log.warning("Trial %d (%s) failed: %s", number, ", ".join(overrides), error)
        if Path(trial.run_dir).is_dir():
            note_failure(Path(trial.run_dir), str(error))
        study.tell(number, state=_import_optuna().trial.TrialState.FAIL)
    else:
        # Outside the try: what this trial's report lacks, every other's would lack too.
        value = _objective(Path(trial.run_dir) / "report.json", objective)
        log.info("Trial %d (%s): %s = %.5g", number, ", ".join(overrides), objective, value)
        study.tell(number, value)


def _objective(report: Path, key: str) -> float:
    section, _, name = key.partition(".")
    try:
        values = dict(received_json(report)[section])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{report} cannot be read ({error}); delete its folder to run the trial again.") from error
    if not is_number(values.get(name)):
        there = ", ".join(values) or "none; the table is missing"
        raise UserError(f"tune.objective={key} is no number in {report}; those of {section} there are {there}.")
    return float(values[name])


def _print(study: Any, folder: Path) -> None:
    finished = [trial for trial in study.trials if trial.value is not None]
    if not finished:
        raise UserError(f"no trial of {folder} has ended in a result; see the causes above.")
    best = max(finished, key=lambda trial: trial.value)
    values = " ".join(f"{key}={value:.4g}" for key, value in best.params.items())
    print(f"Best of {len(finished)} trials: {best.value:.5g} with {values}\nStudy and trials in {folder}")
