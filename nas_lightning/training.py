"""One Lightning fit in a run folder: goes on where it was interrupted, saves at the end of every epoch."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint

from nas_lightning.callbacks import MetricsFile, Progress, Row, read_metrics
from nas_lightning.cli import build
from nas_lightning.errors import UserError

log = logging.getLogger("nas_lightning")

_PRECISIONS = (32, "32", "32-true", "bf16-mixed", 64, "64", "64-true")


def check_precision(precision: int | str) -> None:
    if precision not in _PRECISIONS:
        raise UserError(
            f"trainer.precision={precision} is not offered: manual optimisation clips scaled gradients wrongly in fp16; "
            "use 32-true or bf16-mixed."
        )


def fit(
    config: DictConfig,
    folder: Path,
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    callbacks: Sequence[pl.Callback] = (),
) -> list[Row]:
    """Train `module` in `folder` with config.trainer and config.logger; returns the rows of its metrics.csv."""
    # One file, replaced at every epoch's end.
    checkpoint = ModelCheckpoint(folder / "checkpoints", filename="last", enable_version_counter=False)
    metrics = MetricsFile(folder / "metrics.csv")
    logger = build(config.logger)
    trainer: pl.Trainer = build(
        config.trainer,
        callbacks=[*callbacks, Progress(), metrics, checkpoint],
        logger=False if logger is None else logger,
        default_root_dir=str(folder),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    last = folder / "checkpoints" / "last.ckpt"
    if last.exists():
        log.info("Going on with the interrupted run in %s.", folder)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None)
    except SystemExit:  # Lightning's answer to Ctrl-C and SIGTERM
        print(
            f"\nInterrupted in epoch {trainer.current_epoch + 1} of {trainer.max_epochs}; "
            f"run the same command to go on with {folder}.",
            file=sys.stderr,
        )
        raise
    finally:
        if config.logger is not None and "wandb" in config.logger._target_:
            import wandb

            wandb.finish()
    return read_metrics(metrics.path)
