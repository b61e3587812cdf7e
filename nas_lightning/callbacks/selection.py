"""What a selection asks for and no epoch will have, said long before the search has ended."""

import pytorch_lightning as pl

from nas_lightning.callbacks.architecture import ArchitectureLog
from nas_lightning.callbacks.metrics import MetricsFile
from nas_lightning.records.epochs import epoch_records
from nas_lightning.selection import Best
from nas_lightning.supernet.module import SupernetModule


class ColumnCheck(pl.Callback):
    """UserError for a column of `selection` that the finished epochs have not, once alpha has been trained in one.

    Every column is there by then: `valid_loss` and `valid_accuracy` are the last to come. Asked as an epoch starts, when the
    one before is in the checkpoint, with which the search goes on after the correction.
    """

    def __init__(self, selection: Best, metrics: MetricsFile, architectures: ArchitectureLog) -> None:
        self.selection = selection
        self.metrics = metrics
        self.architectures = architectures
        self._done = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SupernetModule)
        if self._done:
            return
        records = epoch_records(self.metrics.file.rows(), self.architectures.file.rows())
        if not records or (pl_module.bilevel.batches and "valid_loss" not in records[-1].metrics):
            return
        self.selection(records)
        self._done = True
