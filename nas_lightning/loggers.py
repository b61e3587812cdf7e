"""Where the rows of metrics.csv also go: W&B and TensorBoard, both as Lightning loggers.

metrics.csv is the record, and a run that goes on is logged from its first epoch again: MetricsFile hands over the rows
that are kept before the new ones. So every epoch is there once, also after a kill that lost what W&B had not yet written.
"""

import logging
import os
import secrets
import shutil
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from types import ModuleType
from typing import Any, Literal

from pytorch_lightning import loggers
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from nas_lightning.errors import UserError
from nas_lightning.files import write_text_atomically

log = logging.getLogger("nas_lightning")

_ONLINE_SECONDS = 30  # to reach W&B at the start of a run
_UPLOAD_SECONDS = 60  # for what is left to upload at its end


@dataclass(frozen=True)
class LoggedRun:
    """What a logger may show of a run beside its numbers. `config` is resolved; `job_type` is search or train."""

    folder: Path
    group: str
    name: str
    job_type: str
    tags: list[str]
    config: dict[str, Any]

    @classmethod
    def of(
        cls,
        folder: Path,
        config: dict[str, Any],
        job_type: Literal["search", "train"],
        choices: Mapping[str, str | None],
    ) -> "LoggedRun":
        """Grouped by the experiment, named by the folder, tagged with what was chosen as method, space and data set.

        A network that is trained lies in a folder of its evaluation, so both names are given.
        """
        name = folder.name if job_type == "search" else f"{folder.parent.name}/{folder.name}"
        tags = [choice for group in ("method", "space", "dataset") if (choice := choices.get(group))]
        return cls(folder, str(config["name"]), name, job_type, tags, config)


class TensorBoardLogger(loggers.TensorBoardLogger):
    """Event files in <run>/tensorboard, with the epoch as the step."""

    def __init__(self, run: LoggedRun) -> None:
        super().__init__(save_dir=run.folder, name="", version="tensorboard")
        self.hparams = run.config  # Lightning writes it to hparams.yaml
        self._superseded: list[Path] = []

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._superseded = list(Path(self.log_dir).glob("events.out.tfevents.*"))
        return super().experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float | str], step: int | None = None) -> None:
        super().log_metrics({name: value for name, value in metrics.items() if not isinstance(value, str)}, step)
        for name, value in metrics.items():
            if isinstance(value, str):
                self.experiment.add_text(name, value, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        super().finalize(status)
        for file in self._superseded:
            file.unlink(missing_ok=True)


class WandbLogger(loggers.WandbLogger):
    """One W&B run per run folder, kept when the run goes on, with the epoch as the axis of every metric.

    Online where there is an API key (WANDB_API_KEY, `wandb login`, settings), else offline; WANDB_MODE or `wandb offline`
    decide otherwise. It never asks for anything. Trouble with W&B after this constructor, a wrong key or a lost network
    included, is a warning and costs no epoch of the search.

    project, entity: where on W&B; entity None is W&B's own default.
    """

    def __init__(self, run: LoggedRun, project: str, entity: str | None = None) -> None:
        self._wandb = _import_wandb()
        self._mode = _mode(self._wandb)
        try:
            self._wandb.Settings(project=project)
        except Exception as error:
            raise UserError(f"logger.project={project!r} is no name for a W&B project ({_brief(error)}).") from error
        super().__init__(name=run.name, project=project, save_dir=run.folder)
        self._run, self._entity = run, entity
        self._first_step = 0
        self._closed = False

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, opened at its first use."""
        if self._experiment is None:
            self._experiment = self._open()
            self._experiment.define_metric("epoch")
            self._experiment.define_metric("*", step_metric="epoch")
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float | str], step: int | None = None) -> None:
        experiment = self.experiment
        if self._closed or (step is not None and step < self._first_step):
            return
        try:
            experiment.log(dict(metrics), step=step, commit=True)
        except Exception as error:  # whatever it is, the search is worth more than its picture on W&B
            self._closed = True
            log.warning(
                "W&B takes no more epochs of %s (%s); metrics.csv has all of them.", self._run.folder, _brief(error)
            )

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the W&B run; `status` other than "success" marks it as failed."""
        if self._experiment is None or self._closed:
            return
        self._closed = True
        folder = Path(self._experiment.settings.sync_dir)
        try:
            self._experiment.finish(exit_code=0 if status == "success" else 1)
        except Exception as error:
            log.warning(
                "W&B has not got all of this run (%s); to upload it: wandb sync %s", _brief(error), quote(str(folder))
            )
            return
        for older in self._run.folder.glob(f"wandb/offline-run-*-{self._experiment.id}"):
            if older.name != folder.name:  # all of its epochs are in the newer one
                shutil.rmtree(older, ignore_errors=True)
        if self._mode == "offline":
            log.info("W&B recorded this run offline; to upload it: wandb sync %s", quote(str(folder)))

    def _open(self) -> Any:
        if self._mode == "online":
            try:
                experiment = self._init("online")
            except Exception as error:
                log.warning(
                    "W&B cannot be reached or refuses the key (%s): this run is recorded offline.", _brief(error)
                )
                self._wandb.teardown()  # else the run's id stays taken
                self._mode = "offline"
            else:
                self._first_step = experiment.starting_step  # W&B holds the epochs before
                log.info("W&B shows this run at %s", experiment.url)
                return experiment
        try:
            return self._init(self._mode)
        except Exception as error:
            raise UserError(f"W&B cannot record in {self._run.folder} ({_brief(error)}); use logger=csv.") from error

    def _init(self, mode: str) -> Any:
        return self._wandb.init(
            mode=mode,
            project=self._project,
            entity=self._entity,
            group=self._run.group,
            name=self._run.name,
            job_type=self._run.job_type,
            tags=self._run.tags,
            config=self._run.config,
            dir=str(self._run.folder),
            id=_run_id(self._run.folder / "wandb_id"),
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=self._wandb.Settings(
                silent=True,
                console="off",
                init_timeout=_ONLINE_SECONDS,
                finish_timeout=_UPLOAD_SECONDS,
                finish_timeout_raises=True,
            ),
        )


def _import_wandb() -> ModuleType:
    try:
        import wandb

        wandb.setup(wandb.Settings(silent=True))
    except Exception as error:  # a broken installation or broken settings fail in many ways
        raise UserError(
            f"logger=wandb cannot be used, since W&B does not start ({_brief(error)}); repair it with pip install -U wandb, "
            "check WANDB_* in the environment, or use logger=csv."
        ) from error
    return wandb


def _mode(wandb: ModuleType) -> str:
    """online, offline or disabled."""
    chosen = {"dryrun": "offline", "run": "online"}.get(mode := wandb.setup().settings.mode, mode)
    if chosen not in ("online", "offline", "disabled"):
        raise UserError(f"WANDB_MODE={mode} is not offered; use online, offline or disabled.")
    if chosen != "online":
        return chosen
    try:
        has_key = wandb.login(prompt=False, verify=False)
    except wandb.errors.AuthenticationError:  # a malformed key, of which opening the run will say more
        return "online"
    if not has_key and os.environ.get("WANDB_MODE"):
        raise UserError("WANDB_MODE=online needs an API key; run wandb login, set WANDB_API_KEY, or unset WANDB_MODE.")
    return "online" if has_key else "offline"


def _run_id(file: Path) -> str:
    if not (file.exists() and file.read_text().strip()):
        write_text_atomically(file, secrets.token_hex(4))
    return file.read_text().strip()


def _brief(error: Exception) -> str:
    return textwrap.shorten(str(error), 300) or type(error).__name__
