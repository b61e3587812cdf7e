"""metrics.csv: one row an epoch, however often the run was interrupted."""

import csv
import io
import math
import time
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl

from nas_lightning.errors import UserError
from nas_lightning.files import write_text_atomically
from nas_lightning.module import SupernetModule

Row = dict[str, float | str]


class EpochFile:
    """A CSV file with one row an epoch, replaced as a whole by every new row; text is only in the column `architecture`.

    What was written is kept as text, so that late epochs cost no more than early ones.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._columns: dict[str, None] = {}
        self._lines: list[str] = []

    def keep(self, before: int) -> None:
        """Go on with what the file holds of the epochs below `before`."""
        self.rows = [row for row in read_rows(self.path) if int(row["epoch"]) < before]
        self._columns, self._lines = {}, []

    def write(self) -> None:
        """Write all of `rows`; those written before must not have changed."""
        added = self.rows[len(self._lines) :]
        if not all(name in self._columns for row in added for name in row):
            self._columns = {name: None for row in self.rows for name in row if name != "architecture"}
            if any("architecture" in row for row in self.rows):
                self._columns["architecture"] = None
            added, self._lines = self.rows, []
        self._lines += [_line([row.get(name, "") for name in self._columns]) for row in added]
        write_text_atomically(self.path, _line(list(self._columns)) + "".join(self._lines))


def _line(cells: Sequence[float | str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


class MetricsFile(pl.Callback):
    """Writes what was logged in an epoch to `path` and to every logger, with the epoch as the step.

    Comes after the callbacks that log and before the one that saves the checkpoint. When a run goes on from a checkpoint,
    rows of epochs that the checkpoint does not hold are dropped: those epochs run again. The rows that are kept go to the
    loggers once more, which start from nothing.
    """

    def __init__(self, path: Path) -> None:
        self.file = EpochFile(path)
        self._start = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.file.keep(before=trainer.current_epoch)
        for row in self.file.rows:
            _send(row, trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.file.rows:  # every epoch was done before: Lightning left out on_train_start
            self.on_train_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._check_finite(trainer.current_epoch, logged)
        row: Row = {"epoch": trainer.current_epoch, **logged, "seconds": time.perf_counter() - self._start}
        if isinstance(pl_module, SupernetModule):
            row["architecture"] = str(pl_module.genotype())
        self.file.rows.append(row)
        if trainer.is_global_zero:
            self.file.write()
            _send(row, trainer)

    def _check_finite(self, epoch: int, logged: dict[str, float]) -> None:
        """A diverged run must not end as a result: this comes before the row and the checkpoint of the epoch."""
        for name, value in logged.items():
            if not math.isfinite(value):
                raise UserError(
                    f"{name} is {value} in epoch {epoch + 1}: the run in {self.file.path.parent} has diverged; lower the "
                    "learning rate (model.weight_optimizer.lr, recipe.optimizer.lr) and start it anew under another name=."
                )


def _send(row: Row, trainer: pl.Trainer) -> None:
    for logger in trainer.loggers:
        logger.log_metrics(row, step=int(row["epoch"]))  # type: ignore[arg-type]  # ours take the architecture's text too


def read_rows(path: Path) -> list[Row]:
    """The rows of a metrics.csv, none where there is no such file; blank cells are left out of their row."""
    if not path.exists():
        return []
    try:
        with path.open(newline="") as file:
            return [
                {name: _cell(name, value) for name, value in row.items() if value != ""} for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete the run's folder to start it anew.") from error


def _cell(name: str, value: str) -> float | str:
    if name == "architecture":
        return value
    return int(value) if name == "epoch" else float(value)
