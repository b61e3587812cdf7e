"""What every evaluation has: checks of what is asked for, and its report. Imports no torch."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nas_lightning.app.job import Job
from nas_lightning.app.trainer_settings import check_run_settings
from nas_lightning.errors import UserError, check_flag, is_number
from nas_lightning.escapes import visible
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.folder import ELSEWHERE
from nas_lightning.records.received import received_json
from nas_lightning.reports.runs import is_search

log = logging.getLogger("nas_lightning")


@dataclass(frozen=True)
class Sizes:
    """The data set's name, its classes, and the side of its images in pixels."""

    dataset: str | None
    num_classes: int
    image_size: int


def check_asked(config: DictConfig) -> None:
    """UserError for settings that no evaluation takes."""
    check_flag("train", config.train)
    named_baselines(config)
    if config.mac_limit is not None and not is_number(config.mac_limit):
        raise UserError(
            f"mac_limit must be a number of multiply-adds, or null for no warning, got {config.mac_limit!r}."
        )
    if (config.run is None) == (config.genotype is None):
        raise UserError("give either run=<folder of a finished search> or genotype=<name, text or file>.")
    if config.run is not None and os.path.isfile(str(config.run)):
        raise UserError(f"run={config.run} is a file, not the folder of a search; give it as genotype={config.run}.")
    if config.run is not None and not os.path.isdir(str(config.run)):
        raise UserError(
            f"run={config.run} is no folder of a search, and no finished one matches; give one with report.json."
        )
    check_run_settings(config)
    if config.trainer.get("strategy") is not None:
        raise UserError("trainer=ddp is for searches: a network is trained on one device; use trainer=default.")


def caution_of_a_training(config: DictConfig) -> None:
    """Where run= is a training, whose network is not that of these settings."""
    try:
        kind = None if config.run is None else received_json(Path(str(config.run)) / "report.json")["kind"]
    except (OSError, ValueError, KeyError, TypeError):  # said where it is needed
        return
    if kind == "evaluation":
        log.warning(
            "run=%s is a training: this is of its architecture in a network of these settings, not of what was trained there "
            "(its report.json).",
            visible(str(config.run)),
        )


def origin(config: DictConfig) -> dict[str, Any]:
    """`method` and `search` for the report: what found the architecture of run=, where the report there says it.

    To be asked before a training, after which the folder may be gone.
    """
    try:
        report = {} if config.run is None else received_json(Path(str(config.run)) / "report.json")
        method, search = report.get("method"), report["search"] if report.get("kind") == "evaluation" else report
        known = {key: search.get(key) for key in ("seed", "overrides", "commit")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # its genotype.json is all that is needed
        return {}
    return {"method": method, "search": known} if isinstance(method, str) and is_search(known) else {}


def named_baselines(config: DictConfig) -> tuple[str, ...]:
    """The names that config.baselines holds, as a list or a text with commas; () where it is true, false or empty.

    UserError for what is none of these, and where they would do nothing.
    """
    asked: Any = OmegaConf.to_container(config)
    baselines = asked["baselines"]
    check_flag("pretrained", config.pretrained)
    if isinstance(baselines, bool) or baselines == []:
        if config.pretrained:
            raise UserError("pretrained=true is for networks of torchvision; name some, as in baselines=[resnet18].")
        return ()
    names = [name.strip() for name in baselines.split(",")] if isinstance(baselines, str) else baselines
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(
            "baselines must be true or false, or names of torchvision's networks as in [resnet18,mobilenet_v3_small], got "
            f"{baselines!r}."
        )
    if not config.train:
        raise UserError(
            f"baselines must be true or false where nothing is trained, got {baselines!r}; add train=true to have networks of "
            "torchvision beside the found one."
        )
    return tuple(dict.fromkeys(names))


def check_unchanged(genotype: Genotype, folder: Path) -> None:
    """The same run= or file may hold another architecture by now: refuse to go on training with it."""
    trained = folder / "genotype.json"
    if trained.exists() and any(folder.rglob("last.ckpt")) and Genotype.read(trained) != genotype:
        raise UserError(
            f"{folder} holds the interrupted training of another genotype ({trained}); give that one to go on, delete the "
            f"folder to start anew, or give {ELSEWHERE}."
        )


def evaluation_report(
    config: DictConfig,
    job: Job,
    sizes: Sizes,
    found: Genotype,
    networks: Mapping[str, dict[str, Any]],
    table: Sequence[str],
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """networks: what is known of each, that of `found` under this name. table: what the benchmark's scores were read from."""
    return {
        "schema": 1,
        "kind": "evaluation",
        "experiment": str(config.name),
        **{group: job.choices.get(group) for group in ("space", "recipe")},
        "dataset": sizes.dataset,
        "num_classes": sizes.num_classes,
        "image_size": sizes.image_size,
        "seed": config.seed,
        "overrides": job.overrides,
        "genotype": json.loads(found.to_json()),
        **networks["found"],
        "table": table,
        "networks": networks,
        **training,
        "config": OmegaConf.to_container(config, resolve=True),
    }
