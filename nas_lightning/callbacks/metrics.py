"""metrics.csv: one row an epoch, to the file and to every logger."""

import logging
import math
import time
from pathlib import Path

import pytorch_lightning as pl

from nas_lightning.callbacks.epoch_file import EpochFileCallback
from nas_lightning.errors import DivergedError
from nas_lightning.records.epochs import Row
from nas_lightning.supernet.module import SupernetModule

log = logging.getLogger("nas_lightning")


class MetricsFile(EpochFileCallback):
    """Writes what was logged in an epoch to `path` and to every logger, with the epoch as the step.

    `seconds` are those of a clock, `processor_seconds` those of all cores in this process: what a search costs on a machine
    that it shares.

    Comes after the callbacks that log and before the one that saves the checkpoint, which keeps a copy of the rows: a run that
    goes on has the epochs of its checkpoint, whatever has become of the file. They go to the loggers once more, which start
    from nothing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._start = self._processor_start = 0.0
        self._sent = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._sent = True
        for row in self.file.rows():
            _send(row, trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._sent:  # every epoch was done before: Lightning left out on_train_start
            self.on_train_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.callback_metrics.clear()  # else what an epoch does not log stands as of the last that did
        self._start, self._processor_start = time.perf_counter(), time.process_time()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._check_finite(trainer.current_epoch, logged, pl_module)
        row: Row = {
            "epoch": trainer.current_epoch,
            **logged,
            "seconds": time.perf_counter() - self._start,
            "processor_seconds": time.process_time() - self._processor_start,
        }
        if isinstance(pl_module, SupernetModule):
            row["architecture"] = str(pl_module.genotype())
        self.write(row, trainer)
        if trainer.is_global_zero:
            _send(row, trainer)

    def _check_finite(self, epoch: int, logged: dict[str, float], module: pl.LightningModule) -> None:
        """A diverged run must not end as a result: this comes before the row and the checkpoint of the epoch.

        The discretised supernet may overflow while the search goes well, as it does where skip connections multiply: its loss
        is then left out of the epoch.
        """
        infinite = [name for name, value in logged.items() if not math.isfinite(value)]
        if infinite == ["discrete_loss"]:
            log.warning(
                "discrete_loss is %s in epoch %d: left blank. The discretised supernet overflows; the search itself does not.",
                logged.pop("discrete_loss"), epoch + 1,
            )  # fmt: skip
        elif infinite:
            name = next(name for name in infinite if name != "discrete_loss")
            raise DivergedError(
                f"{name} is {logged[name]} in epoch {epoch + 1}: the run in {self.file.path.parent} has diverged; "
                f"{_remedies(module)} and start it anew under another name=."
            )


def _remedies(module: pl.LightningModule) -> str:
    """What to set against divergence."""
    if not isinstance(module, SupernetModule):
        return "lower the learning rate (recipe.optimizer.lr)"
    rates = "lower the learning rate (model.weight_optimizer.lr, arch_optimizer.lr)"
    summed = (spec.auxiliary_skip for spec in module.space.cells.values() if not spec.auxiliary_mean)
    if not any(ramp is not None and ramp(module.architecture.progress).item() for ramp in summed):
        return rates
    return f"{rates}, or set space.auxiliary_mean=true, beside which features grow less from cell to cell,"


def _send(row: Row, trainer: pl.Trainer) -> None:
    for logger in trainer.loggers:
        logger.log_metrics(row, step=int(row["epoch"]))  # type: ignore[arg-type]  # ours take the architecture's text too
