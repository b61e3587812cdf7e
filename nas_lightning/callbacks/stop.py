"""Ends a search early."""

import pytorch_lightning as pl

from nas_lightning.callbacks.architecture import ArchitectureLog
from nas_lightning.callbacks.metrics import MetricsFile
from nas_lightning.errors import UserError, brief
from nas_lightning.records.epochs import EpochRecord, epoch_records
from nas_lightning.stop.base import Stop


class EarlyStop(pl.Callback):
    """Asks `stop` after every epoch, when its rows are written, and before the first of a run that goes on.

    A search that had stopped when it was killed must not go on.
    """

    def __init__(self, stop: Stop, metrics: MetricsFile, architectures: ArchitectureLog) -> None:
        self.stop = stop
        self.metrics = metrics
        self.architectures = architectures
        self._records: list[EpochRecord] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._ask(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._ask(trainer)

    def _ask(self, trainer: pl.Trainer) -> None:
        done = len(self._records)
        self._records += epoch_records(self.metrics.file.rows(done), self.architectures.file.rows(done))
        if not self._records:
            return
        verdict = self.stop(self._records)
        if not isinstance(verdict, bool):
            raise UserError(
                f"stop: {type(self.stop).__name__} answers {brief(verdict)}, not True or False; see docs/extending.md."
            )
        if verdict:
            trainer.should_stop = True
