"""One search, from a composed config to report.json."""

import json
import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from nas_lightning.benchmarks import Benchmark
from nas_lightning.callbacks import ArchitectureLog, Row, TemperatureUpdate
from nas_lightning.cli import Job, build
from nas_lightning.data import SearchData
from nas_lightning.files import write_text_atomically
from nas_lightning.module import SupernetModule
from nas_lightning.reports.cells import draw_cell
from nas_lightning.reports.figures import plot_search
from nas_lightning.reports.panel import summary_panel
from nas_lightning.reports.runs import read_metrics
from nas_lightning.run import RunFolder, provenance
from nas_lightning.training import check_trainer, fit

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
    check_trainer(config.trainer)
    # Everything that may refuse its settings is built before anything is written.
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data: SearchData = build(config.data)
    schedule = build(config.sched)
    benchmark: Benchmark | None = build(config.benchmark)
    module: SupernetModule = build(config.model, num_classes=data.num_classes)
    split = data.split_record()  # loads the data
    folder.write_config()
    rows = fit(config, folder.path, module, data, [TemperatureUpdate(schedule), ArchitectureLog(benchmark)])
    return _finish(config, job, folder, module, split, benchmark, rows)


def _finish(
    config: DictConfig,
    job: Job,
    folder: RunFolder,
    module: SupernetModule,
    split: dict[str, Any],
    benchmark: Benchmark | None,
    rows: list[Row],
) -> dict[str, Any]:
    genotype = module.genotype()
    write_text_atomically(folder.path / "genotype.json", genotype.to_json() + "\n")
    draw_cell(genotype, folder.path / "cell")
    title = f"{job.choices.get('method')} on {genotype.space}, {job.choices.get('dataset')}, seed {config.seed}"
    plot_search(read_metrics(folder.path / "metrics.csv"), folder.path / "entropy", title)
    final = {name: value for name, value in rows[-1].items() if name != "architecture"}
    report = {
        "schema": 1,
        "kind": "search",
        "experiment": config.name,
        **{group: job.choices.get(group) for group in ("method", "space", "dataset", "relaxation", "sched")},
        "seed": config.seed,
        "overrides": job.overrides,
        "genotype": json.loads(genotype.to_json()),
        "architecture": str(genotype),
        "final": final,
        "scores": {} if benchmark is None else benchmark.query(genotype),
        "selection": "the architecture of the last epoch, each edge's largest alpha",
        "split": split,
        "epochs": len(rows),
        "seconds": round(sum(float(row["seconds"]) for row in rows), 3),
        **provenance(),
        "config": folder.config,
    }
    folder.write_report(report)
    Console().print(summary_panel(report, folder.path))
    return report
