"""What a found architecture is worth: its tabulated accuracies and, if asked for, its training from scratch.

What the table alone answers is in `lookup`, which needs no torch.
"""

import logging
import os
import re
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from nas_lightning.app.axes import build_data
from nas_lightning.app.budget import Budget, budget_record, kept_record, limits_of_training
from nas_lightning.app.checkpoints import Checkpoints
from nas_lightning.app.evaluation import Sizes, check_asked, check_unchanged, evaluation_report, named_baselines, origin
from nas_lightning.app.job import Job
from nas_lightning.app.provenance import provenance
from nas_lightning.app.schema import check_settings
from nas_lightning.app.trainings import names_dataset, train_all
from nas_lightning.build import build, build_axis
from nas_lightning.costs import budget_sentence
from nas_lightning.data import ImageNetData, TrainData
from nas_lightning.errors import UserError
from nas_lightning.escapes import visible
from nas_lightning.genotypes.base import Genotype
from nas_lightning.genotypes.texts import read_genotype
from nas_lightning.records.files import write_text_atomically
from nas_lightning.records.folder import RunFolder
from nas_lightning.records.received import parsed_table, received_log, received_yaml
from nas_lightning.reports.evaluation import print_evaluation
from nas_lightning.reports.model_card import model_card
from nas_lightning.saved import check_saved
from nas_lightning.spaces import SearchSpace
from nas_lightning.tabular import Benchmark, look_up, sources_of
from nas_lightning.training.cost import network_cost
from nas_lightning.training.export import check_export, export_network
from nas_lightning.training.references import check_names, described, reference_cost, reference_network

log = logging.getLogger("nas_lightning")

_IS_PATH = re.compile(r"[^|()\[\]{}'\"\n]*(/[^|()\[\]{}'\"\n]*|\.[A-Za-z]\w{0,9})")


def evaluate(config: DictConfig, job: Job) -> dict[str, Any] | None:
    """Score the architecture of `config.run` or `config.genotype`; returns the report.

    With config.train it is trained, beside the space's baselines (a random architecture, a collapsed one) or the networks of
    torchvision that config.baselines asks for, each in a folder of its own, and the test accuracies are compared. A finished
    training in the same folder is skipped in a sweep (None), exported with config.export, and a UserError otherwise;
    scores alone are simply looked up again. Without config.train no image is read.
    """
    check_evaluation(config, job)
    dataset = _take_dataset_of_run(config, job)
    folder = RunFolder.of(config, job.overrides, job.choices)
    limits, asked = limits_of_training(config, job), config.space.copy()
    kept = kept_record(folder.path, limits, asked.get("C")) if config.train else None
    space = _space(config, kept)
    if config.train and folder.is_finished and (config.export or job.in_sweep):
        folder.check_reported()
        if config.export:
            _export(config, space, folder.path)
        log.info("%s is finished: skipped.", folder.path)
        return None
    if config.train:
        folder.check()
        Checkpoints.of(folder, folder.path / "found").newest()  # refuses those of other settings
    found, found_by = _genotype(config, space), origin(config)
    check_unchanged(found, folder.path)
    drawn = torch.Generator().manual_seed(config.seed)
    candidates = {"found": found, **(space.baselines(drawn) if config.train and config.baselines is True else {})}
    data: TrainData | ImageNetData = build_data(config, of_search=False)
    budget = Budget.of(limits, asked, data.num_classes, data.image_size)
    fits = None if budget is None else kept or _within(budget, found, config.train)
    space = _space(config, fits)
    benchmark: Benchmark | None = build(config.benchmark)
    networks = {name: _described(config, space, genotype, data, benchmark) for name, genotype in candidates.items()}
    references = named_baselines(config)
    networks |= {name: _of_torchvision(config, name, data) for name in references}
    training: dict[str, Any] = {"selection": "table only", **provenance()}
    if config.train:
        makers = {name: partial(space.network, genotype, data.num_classes) for name, genotype in candidates.items()}
        others = {name: partial(reference_network, name, data.num_classes, config.pretrained) for name in references}
        training = train_all(config, job, folder, found, makers, others, data, networks, fits)
    else:
        folder.write_config()
    report = evaluation_report(
        config, job, Sizes(dataset, data.num_classes, data.image_size), found, networks, sources_of(benchmark), training
    )
    report |= found_by | ({} if fits is None else {"budget": fits})
    job.lock.check()
    if config.train:
        write_text_atomically(folder.path / "MODEL_CARD.md", model_card(report, str(folder.path)))
    folder.write_report(report)
    print_evaluation(report, folder.report, config.mac_limit)
    if config.export:
        _export(config, space, folder.path)
    return report


def check_evaluation(config: DictConfig, job: Job) -> None:
    """UserError for what can be seen without an architecture and images."""
    check_export(config.export, config.train)
    check_asked(config)
    check_names(named_baselines(config))
    check_settings(config, job.overrides)


def _space(config: DictConfig, fits: dict[str, Any] | None) -> SearchSpace:
    """The space of config.space, which gets the width of the budget's record `fits`."""
    if fits is not None:
        config.space.C = fits["C"]
    space: SearchSpace = build_axis(config, "space", SearchSpace)
    return space


def _within(budget: Budget, found: Genotype, train: bool) -> dict[str, Any]:
    """How the network keeps the budget; one that is trained is made narrower for it, or refused."""
    if not train:
        return budget_record(budget, budget.width, budget.costs(found, budget.width))
    width, costs = budget.fitting(found)
    budget.check(costs, "the found architecture has")
    record = budget_record(budget, width, costs)
    log.info("The network has %s.", budget_sentence(record))
    return record


def _described(
    config: DictConfig,
    space: SearchSpace,
    genotype: Genotype,
    data: TrainData | ImageNetData,
    benchmark: Benchmark | None,
) -> dict[str, Any]:
    """What is known of an architecture without its training."""
    cost = network_cost(space, genotype, data.num_classes, data.image_size, config.train)
    return {"architecture": str(genotype), **asdict(cost), "scores": look_up(benchmark, genotype)}


def _of_torchvision(config: DictConfig, name: str, data: TrainData | ImageNetData) -> dict[str, Any]:
    cost = reference_cost(name, data.num_classes, data.image_size)
    return {"architecture": described(name, config.pretrained), **asdict(cost), "scores": {}}


def _take_dataset_of_run(config: DictConfig, job: Job) -> str | None:
    """Unless dataset= names another, the data set of the search, with what dataset.<key>= changes; returns its name.

    How its colours are normalised is the recipe's choice, not the search's. The search may be anybody's: its data set is one
    of ours with plain values, or it is refused.
    """
    own = job.choices.get("data", "train") != "train"  # a data module that comes with a data set of its own
    if config.run is None or own or names_dataset(job):
        return job.choices.get("dataset")
    saved = Path(str(config.run)) / "config.yaml"
    try:
        searched = received_yaml(saved)["dataset"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"run={config.run} is no folder of a search, {saved} cannot be read ({error}); give the folder with report.json."
        ) from error
    remedy = "name the data set on the command line, as in dataset=cifar10 or, of a class of yours, dataset=mine."
    searched = check_saved(searched, "dataset", saved, remedy)
    overrides = (
        override.lstrip("+") for override in job.overrides
    )  # Hydra wants + for what the default data set lacks
    changed = OmegaConf.from_dotlist([override for override in overrides if override.startswith("dataset.")])
    recipes = {"normalisation": config.normalisation} if "normalisation" in searched else {}
    config.dataset = OmegaConf.merge(searched, recipes, changed.get("dataset", {}))
    return str(searched["_target_"]).rpartition(".")[2].lower()


def _genotype(config: DictConfig, space: SearchSpace) -> Genotype:
    given = str(config.run if config.genotype is None else config.genotype)
    if config.run is not None:
        path = Path(given) / "genotype.json"
        if not os.path.exists(path):
            raise UserError(f"run={given} holds no genotype.json; let its search finish, or give genotype=.")
        genotype = Genotype.read(path)
        space.check(genotype, str(path))
        return genotype
    if os.path.exists(given) and not os.path.isdir(given):  # unlike Path.exists it takes texts longer than any name
        genotype, where = _from_file(Path(given), space)
        log.info("The architecture is that of %s.", visible(where))
        return genotype
    try:
        genotype, where = read_genotype(given, space)
        if where not in ("", "genotype"):
            log.info("The architecture is that of %s.", where)
        return genotype
    except UserError:
        if os.path.isdir(given):
            raise UserError(
                f"genotype={given} is a folder; give a file in it, or run={given} for the result of a search."
            ) from None
        if _IS_PATH.fullmatch(given):
            raise UserError(f"{given} cannot be read (there is no such file); give the path of one.") from None
        raise


def _from_file(path: Path, space: SearchSpace) -> tuple[Genotype, str]:
    """The architecture of a file, the last of several, and where it is."""
    real = Path(os.path.realpath(path))  # named by the user, so a link is meant
    try:
        text = received_log(real)
        cell = _last_cell(parsed_table(text)) if path.suffix == ".csv" else None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); give a text of at most 32 MiB, or the end of it.") from error
    if path.suffix == ".py":
        text = re.sub(r"(?m)^[ \t]*#.*$", "", text)
    place = str(path) if cell is None else f"the last epoch in {path}"
    try:
        genotype, where = read_genotype(text if cell is None else cell, space, place)
    except UserError as error:
        if str(path) in str(error):
            raise
        raise UserError(f"{path} holds no genotype.json and no architecture's text: {error}") from error
    return genotype, where or place


def _last_cell(lines: list[list[str]]) -> str | None:
    """The architecture in the last line of a metrics.csv or architecture.csv, None in another table."""
    if len(lines) < 2 or "architecture" not in lines[0]:
        return None
    if len(lines[-1]) != len(lines[0]):
        raise ValueError("its last line is not whole")
    return lines[-1][lines[0].index("architecture")]


def _export(config: DictConfig, space: SearchSpace, folder: Path) -> None:
    export = config.export
    log.info("Exported to %s.", export_network(folder, export.format, space, export.get("preprocess", False)))
