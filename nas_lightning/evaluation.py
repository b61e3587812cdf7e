"""What a found architecture is worth: its tabulated accuracies and, if asked for, its training from scratch."""

import json
import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from nas_lightning.benchmarks import Benchmark
from nas_lightning.callbacks import look_up
from nas_lightning.cli import Job, build
from nas_lightning.data import TrainData
from nas_lightning.errors import UserError
from nas_lightning.genotype import Genotype
from nas_lightning.loggers import LoggedRun
from nas_lightning.module import NetworkModule
from nas_lightning.provenance import provenance
from nas_lightning.reports.runs import SCORE_NAMES
from nas_lightning.run import RunFolder
from nas_lightning.search import totals
from nas_lightning.spaces import SearchSpace
from nas_lightning.training import check_optimizers, check_run_settings, fit, make_trainer

log = logging.getLogger("nas_lightning")


def evaluate(config: DictConfig, job: Job) -> dict[str, Any] | None:
    """Score the architecture of `config.run` or `config.genotype`; returns the report.

    With config.train it is trained beside the space's baselines (a random architecture, a collapsed one), each in a
    folder of its own, and the test accuracies of the last epoch are compared. A finished training in the same folder
    is skipped in a sweep (None) and a UserError alone; scores alone are simply looked up again.
    """
    _check(config)
    dataset = _take_dataset_of_run(config, job)
    folder = RunFolder(Path(config.run_dir), OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
    if config.train:
        if job.in_sweep and folder.is_finished:
            log.info("%s is finished: skipped.", folder.path)
            return None
        folder.check()
    space: SearchSpace = build(config.space)
    candidates = {"found": _genotype(config, space)}
    if config.train:
        candidates |= space.baselines(torch.Generator().manual_seed(config.seed))
    benchmark: Benchmark | None = build(config.benchmark)
    data: TrainData = build(config.data)
    modules = {name: _module(config, space, genotype, data) for name, genotype in candidates.items()}
    runs = {name: LoggedRun.of(folder.path / name, folder.config, "train", job.choices) for name in candidates}
    trainers = {name: make_trainer(config, run) for name, run in runs.items()} if config.train else {}
    split = data.split_record() if config.train else {}
    folder.write_config()
    networks: dict[str, dict[str, Any]] = {}
    for name, genotype in candidates.items():
        networks[name] = {
            "architecture": str(genotype),
            "params": sum(parameter.numel() for parameter in modules[name].network.parameters()),
            "scores": look_up(benchmark, genotype),
        }
        if config.train:
            networks[name] |= _train(trainers[name], folder.path / name, modules[name], data)
    report = {
        "schema": 1,
        "kind": "evaluation",
        "space": job.choices.get("space"),
        "dataset": dataset,
        "seed": config.seed,
        "overrides": job.overrides,
        "genotype": json.loads(candidates["found"].to_json()),
        **networks["found"],
        "networks": networks,
        "selection": "test accuracy of the last epoch" if config.train else "table only",
        "split": split,
        **provenance(trainers["found"].strategy.root_device if config.train else torch.device("cpu")),
        "config": folder.config,
    }
    folder.write_report(report)
    _print(report, folder.report)
    return report


def _check(config: DictConfig) -> None:
    if not isinstance(config.train, bool):
        raise UserError(f"train must be true or false, got {config.train!r}.")
    if (config.run is None) == (config.genotype is None):
        raise UserError("give either run=<folder of a finished search> or genotype=<genotype.json or architecture text>.")
    check_run_settings(config)


def _take_dataset_of_run(config: DictConfig, job: Job) -> str | None:
    """Unless dataset= names another, the data set of the search, with what dataset.<key>= changes; returns its name."""
    if config.run is None or any(override.startswith("dataset=") for override in job.overrides):
        return job.choices.get("dataset")
    saved = Path(config.run) / "config.yaml"
    try:
        searched = yaml.safe_load(saved.read_text())["dataset"]
        name = str(searched["_target_"]).rpartition(".")[2].lower()
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(
            f"run={config.run} is no folder of a search, {saved} cannot be read ({error}); give the folder with report.json."
        ) from error
    changed = OmegaConf.from_dotlist([o for o in job.overrides if o.startswith("dataset.")])
    config.dataset = OmegaConf.merge(searched, changed.get("dataset", {}))
    return name


def _genotype(config: DictConfig, space: SearchSpace) -> Genotype:
    if config.run is not None:
        path = Path(config.run) / "genotype.json"
        if not path.exists():
            raise UserError(f"run={config.run} holds no genotype.json; let its search finish, or give genotype=.")
        genotype = Genotype.read(path)
    elif (path := Path(config.genotype)).suffix == ".json":
        genotype = Genotype.read(path)
    else:
        return space.parse(config.genotype)
    if genotype.space != space.name:
        raise UserError(f"{path} is an architecture of the space {genotype.space!r}, not {space.name}; give space=.")
    return genotype


def _module(config: DictConfig, space: SearchSpace, genotype: Genotype, data: TrainData) -> NetworkModule:
    pl.seed_everything(config.seed, workers=True, verbose=False)  # the same start for each network
    network = space.network(genotype, data.num_classes)
    module = NetworkModule(network, build(config.recipe.optimizer), build(config.recipe.scheduler), config.seed)
    check_optimizers(module)
    return module


def _train(trainer: pl.Trainer, folder: Path, module: NetworkModule, data: TrainData) -> dict[str, Any]:
    log.info("Training the network in %s.", folder)
    rows = fit(trainer, folder, module, data)
    return {
        "test_accuracy": rows[-1]["test_accuracy"],
        "train_accuracy": rows[-1]["train_accuracy"],
        **totals(rows),
    }


def _print(report: dict[str, Any], place: Path) -> None:
    networks = report["networks"]
    scores = report["scores"]
    headings = {key: f"{name} %" for key, name in SCORE_NAMES.items() if key in scores} or {key: key for key in scores}
    trained = "test_accuracy" in report
    table = Table(title=f"{report['space']}, {report['dataset']}", title_justify="left")
    table.add_column("network")
    for heading in ("parameters", *(["trained here, test %"] if trained else []), *headings.values()):
        table.add_column(heading, justify="right")
    console = Console()
    for name, network in networks.items():
        console.print(f"{name.replace('_', ' ')}: {network['architecture']}", soft_wrap=True, highlight=False)
        accuracy = [f"{100 * network['test_accuracy']:.2f}"] if trained else []
        looked_up = [f"{network['scores'][key]:.2f}" if key in network["scores"] else "" for key in headings]
        table.add_row(name.replace("_", " "), f"{network['params']:,}", *accuracy, *looked_up)
    console.print(table)
    console.print(f"Written to {place}", soft_wrap=True)
