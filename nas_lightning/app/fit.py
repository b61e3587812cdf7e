"""One Lightning fit in a run folder: goes on where it was interrupted, saves at the end of every epoch."""

import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException, SIGTERMException
from torch.multiprocessing import ProcessRaisedException

from nas_lightning.app.axes import parts_of
from nas_lightning.app.checkpoints import Checkpoints
from nas_lightning.app.loggers import LoggedRun
from nas_lightning.app.trainer_settings import OURS
from nas_lightning.build import build, target_of
from nas_lightning.callbacks import MetricsFile, Progress
from nas_lightning.errors import DivergedError, MachineError, UserError, is_out_of_memory
from nas_lightning.escapes import shortened
from nas_lightning.records.epochs import Row, read_rows
from nas_lightning.records.folder import ELSEWHERE, forget_failure

log = logging.getLogger("nas_lightning")


def check_optimizers(module: pl.LightningModule) -> None:
    """Raise UserError where an optimiser or a scheduler refuses its settings; Lightning would ask only after the start."""
    try:
        configured: Any = module.configure_optimizers()
        for stepped in (*configured[0], *configured[1]):
            stepped.step()  # without gradients nothing moves; some schedules fail only here
    except UserError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(
            f"an optimiser or learning-rate schedule refuses its settings ({error}); correct model.weight_optimizer, "
            "arch_optimizer, lr or recipe."
        ) from error


def make_trainer(
    config: DictConfig,
    run: LoggedRun,
    checkpoints: Checkpoints,
    callbacks: Sequence[pl.Callback] = (),
    metrics: MetricsFile | None = None,
    after: Sequence[pl.Callback] = (),
) -> pl.Trainer:
    """config.trainer with config.logger, `callbacks` and ours; nothing is written yet.

    metrics: what writes metrics.csv, if it is known outside. after: callbacks that look at the row of an epoch.
    """
    # Beside them stand the keys that they read, such as logger.project.
    nodes = {place: node for place, node in parts_of(config.logger, "logger").items() if isinstance(node, DictConfig)}
    for place, node in nodes.items():
        target_of(node, place)
    loggers: list[Logger] = [build(node)(run) for node in nodes.values()]
    settings = {key: value for key, value in config.trainer.items() if key not in OURS}
    trainer: pl.Trainer = build(
        settings,
        callbacks=[
            *callbacks,
            Progress(),
            metrics or MetricsFile(run.folder / "metrics.csv"),
            *after,
            # One file, replaced at every epoch's end.
            ModelCheckpoint(checkpoints.folder, filename=checkpoints.last.stem, enable_version_counter=False),
        ],
        plugins=[checkpoints],
        logger=loggers or False,
        default_root_dir=str(run.folder),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        limit_predict_batches=settings.get("limit_val_batches"),  # what is predicted are the images that were tested on
        reload_dataloaders_every_n_epochs=1,  # a search's batches may change with the epoch
    )
    return trainer


def fit(
    trainer: pl.Trainer, folder: Path, last: Path | None, module: pl.LightningModule, data: pl.LightningDataModule
) -> list[Row]:
    """Train `module` in `folder`, from the checkpoint `last` on where there is one; returns the rows of its metrics.csv."""
    if last is not None:
        log.info("Going on with the interrupted run in %s.", folder)
    forget_failure(folder)
    device = trainer.strategy.root_device
    if device.type == "cuda" and trainer.num_devices == 1 and torch.cuda.is_initialized():  # PyTorch refuses it before
        torch.cuda.reset_peak_memory_stats(device)
    try:
        with _hears_sigterm(trainer):
            trainer.fit(module, datamodule=data, ckpt_path=last)
    except UserError:
        raise
    except MisconfigurationException as error:  # of what it counts only when it starts, such as the batches of a part
        raise UserError(
            f"Lightning's trainer refuses its settings: {shortened(' '.join(str(error).split()), 400)}"
        ) from error
    except (MemoryError, RuntimeError, LookupError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise _out_of_memory(trainer, data) from error
        if last is not None and not any(isinstance(each, Progress) and each.started for each in trainer.callbacks):  # type: ignore[attr-defined]
            reason = " ".join(str(error).split())[:150]
            raise UserError(
                f"{last} does not fit this program ({type(error).__name__}: {reason}); go on with the version that wrote it, "
                f"delete the folder {folder} to start anew, or give {ELSEWHERE}."
            ) from error
        raise
    except ProcessRaisedException as error:
        raise _of_rank(error) from error
    except SystemExit as stop:  # Lightning's answer to Ctrl-C and SIGTERM, a launcher's to its own signal
        launcher = trainer.strategy.launcher
        if launcher is not None:  # the processes of several devices; this one would wait for them
            launcher.kill(signal.SIGKILL)
        print(
            f"\nInterrupted in epoch {len(read_rows(folder / 'metrics.csv')) + 1} of {trainer.max_epochs}; "
            f"run the same command to go on with {folder}.",
            file=sys.stderr,
        )
        if isinstance(stop, SIGTERMException):
            raise SystemExit(143) from None  # the exit status that shells and schedulers know the signal by, and below
        # Another than Lightning's 1 is a launcher's, to be queued again.
        raise SystemExit(130 if stop.code == 1 else stop.code) from None
    return read_rows(folder / "metrics.csv")


@contextmanager
def _hears_sigterm(trainer: pl.Trainer) -> Iterator[None]:
    """On several devices Lightning listens in their processes only, not in this one; a scheduler tells this one."""

    def stop(number: int, frame: object) -> None:
        raise SIGTERMException

    if trainer.strategy.launcher is None or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _of_rank(error: ProcessRaisedException) -> Exception:
    """What was raised in a process of a run on several devices; only the text of its traceback comes here."""
    kind, _, sentence = str(error).strip().splitlines()[-1].partition(": ")
    for own in (UserError, MachineError, DivergedError):
        if kind == f"{own.__module__}.{own.__qualname__}":
            return own(sentence)
    if kind.endswith("OutOfMemoryError"):
        return UserError(
            f"out of memory on one of the devices ({sentence}); give a smaller data.batch_size or space.C."
        )
    return error


def _out_of_memory(trainer: pl.Trainer, data: pl.LightningDataModule) -> UserError:
    device = trainer.strategy.root_device
    used = (
        f"a peak of {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB"
        if device.type == "cuda"
        else "all there is"
    )
    return UserError(
        f"out of memory on {device} at data.batch_size={getattr(data, 'batch_size', '?')} after {used}; give a smaller "
        "data.batch_size or space.C, or trainer.precision=bf16-mixed, and another name= where an epoch was finished."
    )
