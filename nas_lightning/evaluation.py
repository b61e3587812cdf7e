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
from nas_lightning.cli import Job, build
from nas_lightning.data import TrainData
from nas_lightning.errors import UserError
from nas_lightning.genotype import Genotype
from nas_lightning.module import NetworkModule
from nas_lightning.reports.runs import SCORE_NAMES
from nas_lightning.run import RunFolder, provenance
from nas_lightning.spaces import SearchSpace
from nas_lightning.training import check_trainer, fit

log = logging.getLogger("nas_lightning")


def evaluate(config: DictConfig, job: Job) -> dict[str, Any] | None:
    """Score the architecture of `config.run` or `config.genotype`; returns the report.

    With config.train it is trained beside the space's baselines (a random architecture, a collapsed one), each in a
    folder of its own, and the test accuracies of the last epoch are compared. A finished training in the same folder
    is skipped in a sweep (None) and a UserError alone; scores alone are simply looked up again.
    """
    if not isinstance(config.train, bool):
        raise UserError(f"train must be true or false, got {config.train!r}.")
    if (config.run is None) == (config.genotype is None):
        raise UserError("give either run=<folder of a finished search> or genotype=<genotype.json or architecture text>.")
    _take_dataset_of_run(config, job)
    folder = RunFolder(Path(config.run_dir), OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
    if config.train:
        if job.in_sweep and folder.is_finished:
            log.info("%s is finished: skipped.", folder.path)
            return None
        folder.check()
        check_trainer(config.trainer)
    space: SearchSpace = build(config.space)
    found = _genotype(config, space)
    candidates = {"found": found}
    if config.train:
        candidates |= space.baselines(torch.Generator().manual_seed(config.seed))
    benchmark: Benchmark | None = build(config.benchmark)
    data: TrainData = build(config.data)
    networks = {name: space.network(genotype, data.num_classes) for name, genotype in candidates.items()}
    results = {
        name: {
            "architecture": str(genotype),
            "params": sum(parameter.numel() for parameter in networks[name].parameters()),
            "scores": {} if benchmark is None else benchmark.query(genotype),
        }
        for name, genotype in candidates.items()
    }
    split = data.split_record() if config.train else {}  # loads the data
    folder.write_config()
    if config.train:
        for name, genotype in candidates.items():
            results[name] |= _train(config, folder.path / name, space, genotype, data)
    report = {
        "schema": 1,
        "kind": "evaluation",
        **{group: job.choices.get(group) for group in ("space", "dataset")},
        "seed": config.seed,
        "overrides": job.overrides,
        "genotype": json.loads(found.to_json()),
        **results["found"],
        "networks": results,
        "selection": "test accuracy of the last epoch" if config.train else "table only",
        "split": split,
        **provenance(),
        "config": folder.config,
    }
    folder.write_report(report)
    console = Console()
    for name, result in results.items():
        console.print(f"{name.replace('_', ' ')}: {result['architecture']}", soft_wrap=True, highlight=False)
    console.print(_table(results, f"{space.name}, {job.choices.get('dataset')}"))
    console.print(f"Written to {folder.report}", soft_wrap=True)
    return report


def _take_dataset_of_run(config: DictConfig, job: Job) -> None:
    if config.run is None or any(override.startswith("dataset") for override in job.overrides):
        return
    saved = Path(config.run) / "config.yaml"
    try:
        searched = yaml.safe_load(saved.read_text())["dataset"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"run={config.run} is no folder of a search: {saved} cannot be read ({error}).") from error
    config.dataset = searched
    job.choices["dataset"] = searched["_target_"].rpartition(".")[2].lower()


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


def _train(
    config: DictConfig, folder: Path, space: SearchSpace, genotype: Genotype, data: TrainData
) -> dict[str, Any]:
    log.info("Training %s in %s.", genotype, folder)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    network = space.network(genotype, data.num_classes)
    module = NetworkModule(network, build(config.recipe.optimizer), build(config.recipe.scheduler), config.seed)
    own = OmegaConf.merge(config, {"run_dir": str(folder)})
    rows = fit(own, folder, module, data)  # type: ignore[arg-type]
    return {
        "test_accuracy": rows[-1]["test_accuracy"],
        "train_accuracy": rows[-1]["train_accuracy"],
        "epochs": len(rows),
        "seconds": round(sum(float(row["seconds"]) for row in rows), 3),
    }


def _table(results: dict[str, dict[str, Any]], title: str) -> Table:
    scores = results["found"]["scores"]
    headings = {key: f"{name} %" for key, name in SCORE_NAMES.items() if key in scores} or {key: key for key in scores}
    trained = "test_accuracy" in results["found"]
    table = Table(title=title, title_justify="left")
    table.add_column("network")
    for heading in ("parameters", *(["trained here, test %"] if trained else []), *headings.values()):
        table.add_column(heading, justify="right")
    for name, result in results.items():
        accuracy = [f"{100 * result['test_accuracy']:.2f}"] if trained else []
        looked_up = [f"{result['scores'][key]:.2f}" for key in headings]
        table.add_row(name.replace("_", " "), f"{result['params']:,}", *accuracy, *looked_up)
    return table
