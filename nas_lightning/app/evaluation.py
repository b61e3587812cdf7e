"""What every evaluation has: checks of what is asked for, its report, and what it prints. Imports no torch."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nas_lightning.app.job import Job
from nas_lightning.app.trainer_settings import check_run_settings
from nas_lightning.errors import UserError, check_flag, is_number
from nas_lightning.escapes import visible
from nas_lightning.genotypes.base import Genotype
from nas_lightning.reports.runs import SCORE_NAMES, is_tabulated


@dataclass(frozen=True)
class Sizes:
    """The data set's name, its classes, and the side of its images in pixels."""

    dataset: str | None
    num_classes: int
    image_size: int


def check_asked(config: DictConfig) -> None:
    """UserError for settings that no evaluation takes."""
    for key in ("train", "baselines"):
        check_flag(key, config[key])
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


def check_unchanged(genotype: Genotype, folder: Path) -> None:
    """The same run= or file may hold another architecture by now: refuse to go on training with it."""
    trained = folder / "genotype.json"
    if trained.exists() and any(folder.rglob("last.ckpt")) and Genotype.read(trained) != genotype:
        raise UserError(
            f"{folder} holds the interrupted training of another genotype ({trained}); give that one to go on, delete the "
            "folder to start anew, or give name=<another name>."
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


def print_evaluation(report: Mapping[str, Any], place: Path, mac_limit: int | None) -> None:
    """The architectures, a table of what is known of each, and where `report` is."""
    networks = report["networks"]
    scores = report["scores"]
    headings = {key: f"{name} %" for key, name in SCORE_NAMES.items() if key in scores} or {key: key for key in scores}
    trained = "test_accuracy" in report
    title = Text(visible(f"{report['space']}, {report['dataset']}"))
    table = Table(title=title, title_justify="left", collapse_padding=True, pad_edge=False)  # within 80 columns
    if scores and not is_tabulated(report["dataset"]):
        table.caption = Text("% of the table: if trained on the images of that name, not on these")
        table.caption_justify = "left"
    table.add_column("network")
    accuracies = ["trained here, test %"] if trained else []
    for heading in ("parameters", "multiply-adds", *accuracies, *headings.values()):
        table.add_column(Text(visible(heading)), justify="right")
    console = Console()

    def say(sentence: str) -> None:
        console.print(Text(visible(sentence)), soft_wrap=True)

    for name, network in networks.items():
        say(f"{name.replace('_', ' ')}: {network['architecture']}")
        accuracy = [f"{100 * network['test_accuracy']:.2f}"] if trained else []
        looked_up = [f"{network['scores'][key]:.2f}" if key in network["scores"] else "" for key in headings]
        table.add_row(
            Text(visible(name.replace("_", " "))),
            f"{network['params']:,}",
            f"{network['macs']:,}",
            *accuracy,
            *looked_up,
        )
    console.print(table)
    if mac_limit is not None:
        macs = report["macs"]
        verdict = "within" if macs <= mac_limit else "WARNING: beyond"
        say(f"{macs:,} multiply-adds: {verdict} the limit of {mac_limit:,}.")
    say(f"Written to {place}")
