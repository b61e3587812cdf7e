"""What the search would find if it ended now."""

import logging

import pytorch_lightning as pl

from nas_lightning.benchmarks import Benchmark
from nas_lightning.errors import UserError
from nas_lightning.genotype import Genotype
from nas_lightning.module import SupernetModule

log = logging.getLogger("nas_lightning")


def look_up(benchmark: Benchmark | None, genotype: Genotype) -> dict[str, float]:
    """The benchmark's scores in percent; none without a benchmark, or where a partial table lacks the architecture."""
    if benchmark is None:
        return {}
    try:
        return benchmark.query(genotype)
    except UserError as error:
        log.warning("No score: %s", error)
        return {}


class ArchitectureLog(pl.Callback):
    """Logs each epoch's derived architecture: `skip_connects`, and `table/<key>` (percent) where a benchmark is given."""

    def __init__(self, benchmark: Benchmark | None) -> None:
        self.benchmark = benchmark

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SupernetModule)
        genotype = pl_module.genotype()
        chosen = [choice.operation for choices in genotype.cells.values() for choice in choices]
        scores = {f"table/{key}": value for key, value in look_up(self.benchmark, genotype).items()}
        pl_module.log_dict({"skip_connects": float(chosen.count("skip_connect")), **scores}, logger=False)
