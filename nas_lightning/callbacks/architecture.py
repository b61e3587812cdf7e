"""What the search would find if it ended now."""

import pytorch_lightning as pl

from nas_lightning.benchmarks import Benchmark
from nas_lightning.module import SupernetModule


class ArchitectureLog(pl.Callback):
    """Logs each epoch's derived architecture: `skip_connects`, and `table/<key>` (percent) where a benchmark is given."""

    def __init__(self, benchmark: Benchmark | None) -> None:
        self.benchmark = benchmark

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SupernetModule)
        genotype = pl_module.genotype()
        chosen = [choice.operation for choices in genotype.cells.values() for choice in choices]
        pl_module.log("skip_connects", float(chosen.count("skip_connect")))
        if self.benchmark is not None:
            pl_module.log_dict({f"table/{key}": value for key, value in self.benchmark.query(genotype).items()})
