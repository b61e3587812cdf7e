"""A file with one row an epoch that goes on where its checkpoint is."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from nas_lightning.records.epochs import EpochFile, Row


class EpochFileCallback(pl.Callback):
    """Keeps the rows of `file` in the checkpoint. The first process writes them, all where the run begins or goes on."""

    def __init__(self, path: Path) -> None:
        self.file = EpochFile(path)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.file.text}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.file.restore(state_dict["rows"])

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self.file.write_whole()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.file.check(trainer.current_epoch)

    def write(self, row: Row, trainer: pl.Trainer) -> None:
        """Add the row of an epoch."""
        self.file.add(row)
        if trainer.is_global_zero:
            self.file.append()
