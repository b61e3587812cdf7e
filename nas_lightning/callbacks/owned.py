"""A run that was paused must not write into a folder that is another's by now."""

import pytorch_lightning as pl

from nas_lightning.records.lock import FolderLock


class Owned(pl.Callback):
    """Asks `lock` at every epoch's end, before anything of the epoch is written; comes before the callbacks that write."""

    def __init__(self, lock: FolderLock) -> None:
        self.lock = lock

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.lock.check()
