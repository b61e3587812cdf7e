"""One search, from a composed config to report.json."""

import json
import logging
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from rich.console import Console

from nas_lightning.app.axes import (
    MEASURES,
    build_data,
    build_epoch_axes,
    build_module,
    decisions,
    measures,
    user_callbacks,
)
from nas_lightning.app.budget import budget_of_search, budget_record, named
from nas_lightning.app.checkpoints import Checkpoints
from nas_lightning.app.estimate import check_resources
from nas_lightning.app.fit import check_optimizers, fit, make_trainer
from nas_lightning.app.job import Job, is_skipped, lacks_recipe
from nas_lightning.app.loggers import LoggedRun
from nas_lightning.app.naming import method_name
from nas_lightning.app.provenance import provenance
from nas_lightning.app.schema import check_settings
from nas_lightning.app.trainer_settings import check_search_settings
from nas_lightning.build import build
from nas_lightning.callbacks import (
    ArchitectureLog,
    BudgetLog,
    ColumnCheck,
    EarlyStop,
    MetricsFile,
    Owned,
    TemperatureUpdate,
)
from nas_lightning.data import SearchData
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.epochs import Row, epoch_records, read_rows
from nas_lightning.records.files import write_text_atomically
from nas_lightning.records.folder import RunFolder
from nas_lightning.reports.cells import draw_cell
from nas_lightning.reports.figures import plot_search
from nas_lightning.reports.panel import print_found, titled
from nas_lightning.reports.runs import read_metrics
from nas_lightning.selection import Best, Last, selected
from nas_lightning.supernet.compatible import (
    check_arch_start,
    check_auxiliary,
    check_batches,
    check_ends,
    check_kept,
    check_lengths,
    check_side,
    check_skip_dropout,
    check_temperature,
    check_widening,
)
from nas_lightning.supernet.module import SupernetModule
from nas_lightning.tabular import Benchmark, look_up, sources_of

log = logging.getLogger("nas_lightning")


def search(config: DictConfig, job: Job) -> dict[str, Any] | None:
    """Run, or go on with, the search that `config` describes; returns the report.

    In a sweep a finished run is skipped (None); alone it is a UserError.
    """
    if is_skipped(config, job):
        return None
    folder = RunFolder.of(config, job.overrides, job.choices)
    folder.check()
    check_settings(config, job.overrides)
    check_search_settings(config)
    checkpoints = Checkpoints.of(folder, folder.path)
    last = checkpoints.newest()
    # Everything that may refuse its settings is built, and the data read, before anything is written.
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data: SearchData = build_data(config, of_search=True)
    benchmark: Benchmark | None = build(config.benchmark)
    axes = build_epoch_axes(config)
    budget = budget_of_search(config, job, data.num_classes, data.image_size)
    cost = None if budget is None else budget.penalty(config.budget.weight)
    module = build_module(config, data.num_classes, data.class_weights, cost)
    check_optimizers(module)
    _check_together(config, data, axes, module)
    method = named(method_name(job.choices, folder.config, job.folders), budget)
    logged = LoggedRun.of(folder.path, folder.config, "search", {**job.choices, "method": method})
    metrics = MetricsFile(folder.path / "metrics.csv")
    architectures = ArchitectureLog(benchmark, folder.path / "architecture.csv")
    own = user_callbacks(config.callbacks)
    measured = measures(axes, own, config.trainer.compile)
    callbacks = [Owned(job.lock), TemperatureUpdate(axes["sched"]), *decisions(axes), architectures, *measured, *own]
    callbacks += [] if budget is None or cost is None else [BudgetLog(cost, budget.limits)]
    trainer = make_trainer(config, logged, checkpoints, callbacks, metrics, _judges(axes, own, metrics, architectures))
    images = _images_of(data, trainer)
    check_resources(trainer, module, data)
    if last is None:
        _announce(folder, job, method)
    folder.write_config()
    rows = fit(trainer, folder.path, last, module, data)
    records = epoch_records(rows, read_rows(folder.path / "architecture.csv"))
    record, words = selected(axes["selection"] or Last(), records)
    genotype = record.genotype
    report = {
        **_asked_for(config, job, method),
        "genotype": json.loads(genotype.to_json()),
        "architecture": str(genotype),
        "final": dict(record.metrics),
        "scores": look_up(benchmark, genotype),
        **({} if budget is None else {"budget": budget_record(budget, *budget.fitting(genotype))}),
        "table": sources_of(benchmark),
        "selection": f"{words}, {module.rule.sentence}",
        **images,
        **totals(rows),
        **provenance(trainer.strategy.root_device, trainer.num_devices),
        "config": folder.config,
    }
    job.lock.check()
    checkpoints.drop_previous()  # before the report, after which nobody looks into the folder again
    _write_results(folder, genotype, report)
    return report


def _announce(folder: RunFolder, job: Job, method: str | None) -> None:
    log.info("Searching in %s", folder.path)
    if lacks_recipe(job.choices):
        protocol = job.choices["protocol"]
        log.info("protocol=%s has no recipe of %s in this space: the space's own is used.", protocol, method)


def _check_together(config: DictConfig, data: SearchData, axes: dict[str, Any], module: SupernetModule) -> None:
    """UserError for the first choices that cannot be had together; reads no images but the size of one."""
    check_side(module.space, data.image_size)
    epochs = config.trainer.max_epochs
    check_lengths(epochs, axes)
    check_arch_start(module.arch_start, epochs, module.bilevel, axes["stages"])
    check_kept(module.space, axes["stages"])
    check_temperature(module.architecture, axes["sched"])
    check_auxiliary(module.space, config.model.discretise)
    check_skip_dropout(module.space)
    check_widening(module.supernet, axes["stages"])
    check_batches(config.trainer.graphs, data.batch_growth is not None)
    check_ends(module.space, axes["stop"], axes["selection"])


def _images_of(data: SearchData, trainer: pl.Trainer) -> dict[str, Any]:
    """For the report; reads the images."""
    split = data.split_record()
    data.check_devices(trainer.num_devices)
    if split["caution"]:
        log.warning(split["caution"])
    if split["test_images"] is None:
        log.warning(
            "Dataset %s has no test images: what this search finds cannot be tested on images that it has not used. "
            "dataset.test_fraction=0.2 would hold some out.",
            data.dataset.name,
        )
    return {"split": split, "num_classes": data.num_classes, "image_size": data.image_size}


def _judges(
    axes: dict[str, Any], own: list[pl.Callback], metrics: MetricsFile, architectures: ArchitectureLog
) -> list[pl.Callback]:
    """What looks at the rows of the finished epochs while the search goes on."""
    judges: list[pl.Callback] = []
    if axes["stop"] is not None:
        judges.append(EarlyStop(axes["stop"], metrics, architectures))
    if isinstance(axes["selection"], Best) and {*map(type, own)} <= {*MEASURES.values()}:  # others may log in any epoch
        judges.append(ColumnCheck(axes["selection"], metrics, architectures))
    return judges


def _asked_for(config: DictConfig, job: Job, method: str | None) -> dict[str, Any]:
    """The part of the report that is known before the search. `choices` has the option of each group, `method` the name of
    what they make together."""
    return {
        "schema": 1,
        "kind": "search",
        "experiment": str(config.name),
        "method": method,
        **{group: job.choices.get(group) for group in ("space", "dataset", "relaxation", "sched")},
        "choices": {group: choice for group, choice in job.choices.items() if not group.startswith("hydra/")},
        "seed": config.seed,
        "overrides": job.overrides,
    }


def totals(rows: list[Row]) -> dict[str, Any]:
    """Epochs and the seconds spent in them, over all the pieces of an interrupted run."""
    clocks = ("seconds", "processor_seconds")
    return {"epochs": len(rows), **{clock: round(sum(float(row[clock]) for row in rows), 3) for clock in clocks}}


def _write_results(folder: RunFolder, genotype: Genotype, report: dict[str, Any]) -> None:
    """The report comes last: a folder with a report is whole."""
    write_text_atomically(folder.path / "genotype.json", genotype.to_json() + "\n")
    draw_cell(genotype, folder.path / "cell")
    plot_search(read_metrics(folder.path / "metrics.csv"), folder.path / "entropy", titled(report))
    folder.write_report(report)
    print_found(report, folder.path, Console())
