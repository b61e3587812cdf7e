"""One search, from a composed config to report.json."""

import json
import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from nas_lightning.app.fit import check_optimizers, check_run_settings, fit, make_trainer
from nas_lightning.app.job import Job
from nas_lightning.app.loggers import LoggedRun
from nas_lightning.app.provenance import provenance
from nas_lightning.build import build
from nas_lightning.callbacks import ArchitectureLog, TemperatureUpdate, look_up
from nas_lightning.data import SearchData
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.epochs import Row
from nas_lightning.records.files import write_text_atomically
from nas_lightning.records.folder import RunFolder
from nas_lightning.reports.cells import draw_cell
from nas_lightning.reports.figures import plot_search
from nas_lightning.reports.panel import PANEL_WIDTH, summary_panel
from nas_lightning.reports.runs import read_metrics
from nas_lightning.search.module import SupernetModule
from nas_lightning.tabular import Benchmark

log = logging.getLogger("nas_lightning")


def search(config: DictConfig, job: Job) -> dict[str, Any] | None:
    """Run, or go on with, the search that `config` describes; returns the report.

    In a sweep a finished run is skipped (None); alone it is a UserError.
    """
    folder = RunFolder(Path(config.run_dir), OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
    if job.in_sweep and folder.is_finished:
        log.info("%s is finished: skipped.", folder.path)
        return None
    folder.check()
    check_run_settings(config)
    for key in ("gradient_clip_val", "accumulate_grad_batches"):
        if config.trainer.get(key):
            raise UserError(
                f"trainer.{key} does not act on manual optimisation; use model.weight_clip and data.batch_size."
            )
    # Everything that may refuse its settings is built, and the data read, before anything is written.
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data: SearchData = build(config.data)
    benchmark: Benchmark | None = build(config.benchmark)
    callbacks = [TemperatureUpdate(build(config.sched)), ArchitectureLog(benchmark, folder.path / "architecture.csv")]
    module: SupernetModule = build(config.model, num_classes=data.num_classes)
    check_optimizers(module)
    logged = LoggedRun.of(folder.path, folder.config, "search", job.choices)
    trainer = make_trainer(config, logged, callbacks)
    split = data.split_record()
    data.check_devices(trainer.num_devices)
    folder.write_config()
    rows = fit(trainer, folder.path, module, data)
    genotype = module.genotype()
    report = {
        "schema": 1,
        "kind": "search",
        "experiment": str(config.name),
        **{group: job.choices.get(group) for group in ("method", "space", "dataset", "relaxation", "sched")},
        "seed": config.seed,
        "overrides": job.overrides,
        "genotype": json.loads(genotype.to_json()),
        "architecture": str(genotype),
        "final": {name: value for name, value in rows[-1].items() if name != "architecture"},
        "scores": look_up(benchmark, genotype),
        "selection": f"the architecture of the last epoch, {module.rule.sentence}",
        "split": split,
        **totals(rows),
        **provenance(trainer.strategy.root_device, trainer.num_devices),
        "config": folder.config,
    }
    _write_results(folder, genotype, report)
    return report


def totals(rows: list[Row]) -> dict[str, Any]:
    """Epochs and the seconds spent in them, over all the pieces of an interrupted run."""
    return {"epochs": len(rows), "seconds": round(sum(float(row["seconds"]) for row in rows), 3)}


def _write_results(folder: RunFolder, genotype: Genotype, report: dict[str, Any]) -> None:
    """The report comes last: a folder with a report is whole."""
    write_text_atomically(folder.path / "genotype.json", genotype.to_json() + "\n")
    draw_cell(genotype, folder.path / "cell")
    title = "{method} on {space}, {dataset}, seed {seed}".format(**report)
    plot_search(read_metrics(folder.path / "metrics.csv"), folder.path / "entropy", title)
    folder.write_report(report)
    console = Console()
    console.print(summary_panel(report, folder.path))
    if console.width < PANEL_WIDTH:  # the panel has broken both over several lines, where they cannot be copied
        console.print(f"Architecture {report['architecture']}\nFiles in {folder.path}", soft_wrap=True, highlight=False)
