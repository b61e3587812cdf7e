"""What the search would find if it ended now."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytorch_lightning as pl
from torch import Tensor

from nas_lightning.callbacks.epoch_file import EpochFileCallback
from nas_lightning.records.epochs import Row
from nas_lightning.supernet.architecture import Architecture
from nas_lightning.supernet.module import SupernetModule
from nas_lightning.tabular import Benchmark, look_up


class ArchitectureLog(EpochFileCallback):
    """Logs each epoch's derived architecture: `skip_connects`, and `table/<key>` (percent) where a benchmark is given.

    Writes to `path`, one row an epoch, what the figures of a search need: `alpha/<cell>/<edge>/<operation>` and
    `beta/...` of every candidate (six digits), and the derived genotype as JSON in `architecture`.
    """

    def __init__(self, benchmark: Benchmark | None, path: Path) -> None:
        super().__init__(path)
        self.benchmark = benchmark

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SupernetModule)
        genotype = pl_module.genotype()
        chosen = [choice.operation for choices in genotype.cells.values() for choice in choices]
        scores = {f"table/{key}": value for key, value in look_up(self.benchmark, genotype).items()}
        pl_module.log_dict({"skip_connects": float(chosen.count("skip_connect")), **scores}, logger=False)
        architecture = pl_module.architecture
        row: Row = {"epoch": trainer.current_epoch}
        views = architecture.snapshot()
        row |= by_entry("alpha", {name: view.alpha_EO for name, view in views.items()}, architecture)
        row |= by_entry("beta", {name: view.probabilities_EO for name, view in views.items()}, architecture)
        row["architecture"] = json.dumps(json.loads(genotype.to_json()), separators=(",", ":"))
        self.write(row, trainer)


def by_entry(kind: str, values: Mapping[str, Tensor], architecture: Architecture) -> dict[str, float]:
    """`<kind>/<cell>/<edge>/<operation>` -> values_EO of every cell type; what the space has as no candidate is left out."""
    return {
        f"{kind}/{cell}/{edge}/{operation}": float(f"{value:.6g}")
        for cell, values_EO in values.items()
        for edge, (row, candidates) in enumerate(
            zip(values_EO.tolist(), architecture.cells[cell].candidates, strict=True)
        )
        for operation, value, candidate in zip(architecture.cells[cell].operations, row, candidates, strict=True)
        if candidate
    }
