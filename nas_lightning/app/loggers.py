"""Where the rows of metrics.csv also go: W&B and TensorBoard, both as Lightning loggers.

metrics.csv is the record, and a run that goes on is logged from its first epoch again: MetricsFile hands over the rows
that are kept before the new ones. So every epoch is there once, also after a kill that lost what W&B had not yet written.
"""

import gc
import logging
import os
import re
import secrets
import shutil
import tempfile
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

from nas_lightning.errors import UserError, is_whole
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.files import write_text_atomically
from nas_lightning.records.received import received_table, received_text
from nas_lightning.reports.architecture import plot_beta
from nas_lightning.reports.cells import draw_cell
from nas_lightning.reports.runs import read_metrics

log = logging.getLogger("nas_lightning")

_ONLINE_SECONDS = 30  # to reach W&B at the start of a run
_UPLOAD_SECONDS = 60  # for what is left to upload at its end
_TAG = 64  # characters; W&B refuses longer ones


@dataclass(frozen=True)
class LoggedRun:
    """What a logger may show of a run beside its numbers.

    `config` is resolved, and in a search holds what the method is called; `job_type` is search or train.
    """

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
        """Grouped by the experiment, named by the folder, tagged with method, space and data set of `choices`.

        A network that is trained lies in a folder of its evaluation, so both names are given.
        """
        name = folder.name if job_type == "search" else f"{folder.parent.name}/{folder.name}"
        tags = [choice for group in ("method", "space", "dataset") if (choice := choices.get(group))]
        method = choices.get("method")
        shown = config if method is None else {**config, "method": method}
        return cls(folder, str(config["name"]), name, job_type, [textwrap.shorten(tag, _TAG) for tag in tags], shown)


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

    Beside the numbers of every epoch it shows, of a search, the derived cell and the heat map of beta of the first epoch and of
    each `cell_every` epochs (0 for never); at the end the last epoch as a table, the genotype and the checkpoint as artifacts.

    project, entity: where on W&B; entity None is W&B's own default.
    """

    def __init__(self, run: LoggedRun, project: str, entity: str | None = None, cell_every: int = 10) -> None:
        if not is_whole(cell_every, 0):
            raise UserError(
                f"logger.cell_every must be a whole number of epochs, 0 for no drawings, got {cell_every!r}."
            )
        self._mode = _mode(_import_wandb())
        try:
            self._wandb.Settings(project=project)
        except Exception as error:
            raise UserError(f"logger.project={project!r} is no name for a W&B project ({_brief(error)}).") from error
        super().__init__(name=run.name, project=project, save_dir=run.folder)
        self._run, self._entity = run, entity
        self._first_step = 0
        self._closed = False
        self._cell_every = cell_every
        self._last: Mapping[str, float | str] = {}

    @property
    def _wandb(self) -> ModuleType:
        import wandb

        return wandb

    def __getstate__(self) -> dict[str, Any]:
        """For the processes of a search on several devices: the run is opened in the first of them, not here as Lightning
        would have it."""
        return {**self.__dict__, "_experiment": None}

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
        self._last = metrics
        try:
            experiment.log({**metrics, **self._drawings(step)}, step=step, commit=True)
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
        if status == "success" and self._mode != "disabled":
            try:
                self._log_results(self._experiment)
            except Exception as error:
                log.warning("W&B lacks the results of %s (%s); the folder has them.", self._run.folder, _brief(error))
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

    def _drawings(self, epoch: int | None) -> dict[str, Any]:
        """The cell and beta as images, where this epoch is the first or one of each `cell_every`."""
        file = self._run.folder / "architecture.csv"
        if self._mode == "disabled" or epoch is None or not self._cell_every:
            return {}
        if epoch and (epoch + 1) % self._cell_every:
            return {}
        if not file.exists():  # a network that is trained has none
            return {}
        with tempfile.TemporaryDirectory() as place:
            genotype = _genotype(file, epoch)
            draw_cell(genotype, Path(place) / "cell")
            plot_beta(read_metrics(file), genotype, epoch, Path(place) / "beta")
            images = {name: self._wandb.Image(_opened(Path(place) / f"{name}.png")) for name in ("cell", "beta")}
        gc.collect()  # figures are circles of large objects, which would lie about for many epochs
        return images

    def _log_results(self, run: Any) -> None:
        """The last epoch as a table; the genotype and the checkpoint as artifacts named by the run."""
        file = self._run.folder / "architecture.csv"
        rows = [[name, str(value)] for name, value in self._last.items()]
        run.summary["final"] = self._wandb.Table(columns=["metric", "value"], data=rows)
        if file.exists():
            artifact = self._wandb.Artifact(f"genotype-{run.id}", type="genotype", metadata=dict(self._last))
            with artifact.new_file("genotype.json") as text:
                text.write(_genotype(file, int(self._last["epoch"])).to_json())
            run.log_artifact(artifact)
        checkpoint = self._run.folder / "checkpoints" / "last.ckpt"
        if checkpoint.exists():
            artifact = self._wandb.Artifact(f"checkpoint-{run.id}", type="checkpoint")
            artifact.add_file(str(checkpoint), policy="immutable")  # in place, not copied
            run.log_artifact(artifact)

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


def _genotype(file: Path, epoch: int) -> Genotype:
    """The derived architecture of an epoch, from architecture.csv."""
    names, *lines = received_table(file)
    rows = (dict(zip(names, line, strict=True)) for line in lines)
    found = next(row["architecture"] for row in rows if int(row["epoch"]) == epoch)
    return Genotype.from_json(found, str(file))


def _opened(image: Path) -> Any:
    """Read as a whole, so that its file may go."""
    from PIL import Image

    with Image.open(image) as opened:
        opened.load()
        return opened


def _run_id(file: Path) -> str:
    """What `file` keeps, if it is such an id; another is replaced by a new one."""
    try:
        kept = received_text(file).strip()
    except (OSError, ValueError):
        kept = ""
    if not re.fullmatch(r"[0-9a-f]{8}", kept):
        kept = secrets.token_hex(4)
        write_text_atomically(file, kept)
    return kept


def _brief(error: Exception) -> str:
    return textwrap.shorten(str(error), 300) or type(error).__name__
