"""One Lightning fit in a run folder: goes on where it was interrupted, saves at the end of every epoch."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint

from nas_lightning.callbacks import MetricsFile, Progress, Row, read_metrics
from nas_lightning.cli import build
from nas_lightning.errors import UserError

log = logging.getLogger("nas_lightning")

_PRECISIONS = (32, "32", "32-true", "bf16-mixed")


def check_trainer(trainer: DictConfig) -> None:
    """Raise UserError for what Lightning would accept and then do wrong, or nothing."""
    if trainer.precision not in _PRECISIONS:
        raise UserError(
            f"trainer.precision={trainer.precision} is not offered (gradients that a loss scaler has scaled would be "
            "clipped wrongly); use 32-true or bf16-mixed."
        )
    if not isinstance(trainer.max_epochs, int) or trainer.max_epochs < 1:
        raise UserError(f"trainer.max_epochs must be a whole number of at least 1, got {trainer.max_epochs}.")


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
    last = _readable(folder / "checkpoints" / "last.ckpt")
    if last is not None:
        log.info("Going on with the interrupted run in %s.", folder)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=last)
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


def _readable(checkpoint: Path) -> Path | None:
    """`checkpoint`, or None where there is none; UserError where it is damaged."""
    if not checkpoint.exists():
        return None
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the damage leads to
        raise UserError(
            f"{checkpoint} cannot be read ({type(error).__name__}); delete the folder {checkpoint.parent.parent} to start "
            "the run anew."
        ) from error
    return checkpoint
