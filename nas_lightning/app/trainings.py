"""The trainings of an evaluation: every network from scratch by one recipe, and its numbers on the test images."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch import nn

from nas_lightning.app.budget import BUDGET_FILE
from nas_lightning.app.checkpoints import Checkpoints
from nas_lightning.app.estimate import check_training
from nas_lightning.app.fit import check_optimizers, fit, make_trainer
from nas_lightning.app.job import Job
from nas_lightning.app.loggers import LoggedRun
from nas_lightning.app.provenance import provenance
from nas_lightning.app.search import totals
from nas_lightning.app.unseen import check_unseen
from nas_lightning.build import build
from nas_lightning.callbacks import BestWeights, Owned
from nas_lightning.data import ImageNetData, TrainData
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.epochs import Row
from nas_lightning.records.files import write_text_atomically
from nas_lightning.records.folder import RunFolder
from nas_lightning.reports.cells import draw_cell
from nas_lightning.training.classwise import classwise
from nas_lightning.training.export import file_bytes, save_weights
from nas_lightning.training.interface import Interface, kept_names
from nas_lightning.training.latency import WORDS as LATENCY
from nas_lightning.training.latency import latencies
from nas_lightning.training.module import NetworkModule

log = logging.getLogger("nas_lightning")

Data = TrainData | ImageNetData
Maker = Callable[[], nn.Module]


def train_all(
    config: DictConfig,
    job: Job,
    folder: RunFolder,
    found: Genotype,
    makers: Mapping[str, Maker],
    references: Mapping[str, Maker],
    data: Data,
    networks: dict[str, dict[str, Any]],
    fits: dict[str, Any] | None,
) -> dict[str, Any]:
    """Train what each of `makers` makes, of which "found" is that of `found`, and each of `references`.

    references: of no cells, so that the recipe's drop path is not theirs. networks: each one's numbers are added there. fits:
    the record of a budget, for a training that goes on. Returns what the report says about the training.
    """
    # Everything that may refuse its settings is built, and the data read, before anything is written.
    modules = {name: _module(config, make, data, config.recipe.drop_path) for name, make in makers.items()}
    modules |= {name: _module(config, make, data, 0.0) for name, make in references.items()}
    runs = {name: LoggedRun.of(folder.path / name, folder.config, "train", job.choices) for name in modules}
    checkpoints = {name: Checkpoints.of(folder, folder.path / name) for name in modules}
    best = {name: [BestWeights("validation_accuracy")] if data.valid_fraction else [] for name in modules}
    trainers = {
        name: make_trainer(config, run, checkpoints[name], [Owned(job.lock), *best[name]]) for name, run in runs.items()
    }
    data.setup("fit")
    split = data.split_record() | _caution(config, job, data)
    tested = split.get("valid_images", split["test_images"])
    for name, module in modules.items():
        images = split["train_images"], tested
        check_training(trainers[name], module, name, data.image_size, data.batch_size, images)
    last = {name: each.newest() for name, each in checkpoints.items()}
    _begin(folder, found, fits)
    by_class = {}
    for name, module in modules.items():
        log.info("Training the network in %s.", folder.path / name)
        rows = fit(trainers[name], folder.path / name, last[name], module, data)
        numbers, by_class[name] = _numbers(rows, best[name], trainers[name], module, data)
        networks[name] |= numbers
    for name, milliseconds in latencies({n: module.network for n, module in modules.items()}, data.image_size).items():
        networks[name] |= {"file_bytes": file_bytes(modules[name].network), "latency_ms": milliseconds}
    interface = Interface(data.image_size, kept_names(data.classes), data.normalisation, data.resize)
    save_weights(modules["found"].network, folder.path, interface)
    for each in checkpoints.values():
        each.drop_previous()  # before the report, after which nobody looks into the folder again
    chosen = "best validated" if data.valid_fraction else "last"
    return {
        "selection": f"test accuracy of the {chosen} epoch",
        "split": split,
        "normalisation": interface.normalisation,
        "classes": interface.classes,
        "resize": interface.resize,
        "classwise": by_class["found"],
        "latency": LATENCY,
        **provenance(trainers["found"].strategy.root_device),
    }


def _begin(folder: RunFolder, found: Genotype, fits: dict[str, Any] | None) -> None:
    folder.write_config()
    if fits is not None:
        write_text_atomically(folder.path / BUDGET_FILE, json.dumps(fits) + "\n")
    write_text_atomically(folder.path / "genotype.json", found.to_json() + "\n")
    draw_cell(found, folder.path / "cell")


def _numbers(
    rows: list[Row], best: list[BestWeights], trainer: pl.Trainer, module: NetworkModule, data: Data
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the report says of a trained network, and that by class. `module` has the weights that are kept then: the last
    epoch's, or those of `best`."""
    row, validated = rows[-1], {}
    for each in best:
        module.load_state_dict(each.weights)
        row, validated = rows[each.epoch], {"validation_accuracy": each.value, "best_epoch": each.epoch}
    tested = _tested(trainer, module, data)
    accuracy, balanced = tested.pop("test_accuracy"), tested.pop("balanced_accuracy")
    numbers = {
        "test_accuracy": row.get("test_accuracy", accuracy),  # not in the rows where these are of validation images
        "train_accuracy": row["train_accuracy"],
        "balanced_accuracy": balanced,
        **validated,
        **totals(rows),
    }
    return numbers, tested


def _tested(trainer: pl.Trainer, module: NetworkModule, data: Data) -> dict[str, Any]:
    """What `classwise` says of the trained network: of one more pass over the test images, so that no checkpoint has it."""
    torch.manual_seed(module.seed)  # of operations that draw noise
    batches: Any = trainer.predict(module, data.test_dataloader())
    predicted, labels = (torch.cat(parts).cpu() for parts in zip(*batches, strict=True))
    return classwise(predicted, labels, data.num_classes)


def _caution(config: DictConfig, job: Job, data: Data) -> dict[str, str]:
    """What the report's `split` says beside the numbers; UserError for test images that the search has used."""
    if config.run is None or not isinstance(data, TrainData):  # ImageNet's test images are always its own
        return {}
    caution = check_unseen(Path(str(config.run)), config.dataset, names_dataset(job), data.splits)
    if caution is None:
        return {}
    log.warning(caution)
    return {"caution": caution}


def names_dataset(job: Job) -> bool:
    """Whether the command line chooses a data set."""
    return any(override.startswith("dataset=") for override in job.overrides)


def _module(config: DictConfig, make: Maker, data: Data, drop_path: float) -> NetworkModule:
    pl.seed_everything(config.seed, workers=True, verbose=False)  # the same start for each network
    recipe = config.recipe
    module = NetworkModule(
        make(),
        build(recipe.optimizer),
        build(recipe.scheduler),
        config.seed,
        label_smoothing=recipe.label_smoothing,
        auxiliary_weight=recipe.auxiliary_weight,
        drop_path=drop_path,
        class_weights=data.class_weights,
        validates="validation" if data.valid_fraction else "test",
    )
    check_optimizers(module)
    return module
