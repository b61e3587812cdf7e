"""The progress of a run: a line an epoch and, on a terminal, a live bar below them with the time left."""

import time
from functools import cached_property

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import Tensor

# metric -> how it is shown, in 80 columns together; "table" is the test accuracy on the data set of the search, if the table
# has that
_SHOWN = {
    "entropy": ("entropy", "{:.3f}"),
    "temperature": ("t", "{:.2g}"),
    "discrete_accuracy": ("discrete", "{:.1%}"),
    "table": ("table", "{:.2f}"),
    "train_accuracy": ("train", "{:.1%}"),
    "validation_accuracy": ("validation", "{:.1%}"),
    "test_accuracy": ("test", "{:.1%}"),
}


class Progress(pl.Callback):
    """A line an epoch with entropy, temperature and discretised accuracy; one bar over all batches of all epochs."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._start = 0.0
        self._first_epoch = 0

    @cached_property
    def console(self) -> Console:
        return Console(stderr=True)  # in the process that prints: a console cannot be copied to it

    @property
    def started(self) -> bool:
        """Whether what a checkpoint holds is restored and the first epoch has begun."""
        return self._start > 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start, self._first_epoch = time.monotonic(), trainer.current_epoch
        if not (self.console.is_terminal and trainer.is_global_zero):
            return
        self._bar = Bar(
            TextColumn("epoch"), MofNCompleteColumn(), BarColumn(bar_width=24), TimeElapsedColumn(), TextColumn("left"),
            TimeRemainingColumn(), console=self.console,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=trainer.max_epochs, completed=trainer.current_epoch)
        self._bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if self._bar is not None:
            self._bar.update(
                self._task, completed=trainer.current_epoch + (batch_idx + 1) / trainer.num_training_batches
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = {**trainer.callback_metrics, **_looked_up(trainer)}
        shown = "  ".join(f"{n} {f.format(float(metrics[key]))}" for key, (n, f) in _SHOWN.items() if key in metrics)
        done = trainer.current_epoch + 1
        if not (trainer.is_global_zero and trainer.max_epochs):
            return
        left = ""
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
        else:
            rate = (time.monotonic() - self._start) / (done - self._first_epoch)
            left = time.strftime("left %H:%M:%S  ", time.gmtime(rate * (trainer.max_epochs - done)))
        self.console.print(f"epoch {done}/{trainer.max_epochs}  {left}{shown}", highlight=False, soft_wrap=True)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _looked_up(trainer: pl.Trainer) -> dict[str, Tensor]:
    """The column of NAS-Bench-201 that the progress shows: of the data set of the search, if it has that."""
    name = getattr(getattr(getattr(trainer, "datamodule", None), "dataset", None), "name", None)
    found = trainer.callback_metrics.get(f"table/{name}_test_200")
    return {} if found is None else {"table": found}
