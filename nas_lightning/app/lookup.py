"""`evaluate.py run=FOLDER` of NAS-Bench-201: from the search's records, the table and arithmetic; imports no torch.

Only what needs no judgement is answered here. Everything else is left to `evaluate`, also what is to be refused, so that there
is one sentence for it.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from nas_lightning.app.configs import CONFIGS
from nas_lightning.app.evaluation import Sizes, evaluation_report, origin
from nas_lightning.app.job import Job
from nas_lightning.app.provenance import provenance
from nas_lightning.build import build
from nas_lightning.costs import nb201_cost
from nas_lightning.errors import UserError, is_whole
from nas_lightning.genotypes.base import Genotype
from nas_lightning.genotypes.nb201 import check_nb201
from nas_lightning.records.folder import RunFolder
from nas_lightning.records.overrides import key_of
from nas_lightning.records.received import received_json, received_yaml
from nas_lightning.reports.evaluation import print_evaluation
from nas_lightning.saved import is_within_limits
from nas_lightning.tabular import look_up, sources_of

_READ = ("run", "name", "run_dir", "seed", "benchmark.path")
"""The overrides that are understood here, beside the default space by its name."""


def recorded(config: DictConfig, job: Job) -> dict[str, Any] | None:
    """The report of the evaluation, written and printed as `evaluate` does it; None where it takes `evaluate`.

    config has passed `check_asked`.
    """
    if not _is_look_up(config, job):
        return None
    known = _recorded(Path(str(config.run)), job.choices.get("space"))
    folder = Path(config.run_dir)
    if known is None or (folder / "genotype.json").exists():
        return None
    genotype, dataset, sizes = known
    config.dataset = OmegaConf.merge(
        dataset, {"normalisation": config.normalisation} if "normalisation" in dataset else {}
    )
    cost = nb201_cost(genotype, config.space.C, config.space.N, sizes.num_classes, sizes.image_size)
    benchmark = build(config.benchmark)
    network = {"architecture": str(genotype), **asdict(cost), "scores": look_up(benchmark, genotype)}
    run = RunFolder.of(config, job.overrides)
    run.write_config()
    training = {"selection": "table only", **provenance()}
    report = evaluation_report(config, job, sizes, genotype, {"found": network}, sources_of(benchmark), training)
    report |= origin(config)
    job.lock.check()
    run.write_report(report)
    print_evaluation(report, run.report, config.mac_limit)
    return report


def _is_look_up(config: DictConfig, job: Job) -> bool:
    asked = ((key_of(override), override.partition("=")[2]) for override in job.overrides)
    space = job.choices.get("space")
    return (
        config.train is False
        and isinstance(config.name, str)
        and isinstance(config.run, str)
        and all(key in _READ or (key == "space" and value == space) for key, value in asked)
        and not any(override.startswith("~") for override in job.overrides)
        and (CONFIGS / "space" / f"{space}.yaml").exists()
        and config.space._target_ == "nas_lightning.spaces.NB201"
        and config.space.stem == "cifar"
    )


def _recorded(run: Path, space: str | None) -> tuple[Genotype, dict[str, Any], Sizes] | None:
    """What a finished search of the space has recorded: the architecture, the settings of its data set, and the latter's sizes.
    None where anything is missing or unusual; the folder may be anybody's."""
    try:
        genotype = Genotype.read(run / "genotype.json")
        check_nb201(genotype, str(run))
        report, dataset = received_json(run / "report.json"), received_yaml(run / "config.yaml")["dataset"]
        sizes = Sizes(str(dataset["_target_"]).rpartition(".")[2].lower(), report["num_classes"], report["image_size"])
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return None
    is_sized = is_whole(sizes.num_classes, 2) and is_whole(sizes.image_size, 4) and sizes.image_size % 4 == 0
    return (genotype, dataset, sizes) if genotype.space == space and is_sized and _is_ours(dataset) else None


def _is_ours(dataset: dict[str, Any]) -> bool:
    """Whether it has the keys of one of our yamls, each value of the type that is there; what is null or auto there is a number
    or a text."""
    for file in (CONFIGS / "dataset").glob("*.yaml"):
        own = yaml.safe_load(file.read_text())
        if own["_target_"] == dataset["_target_"]:
            chosen = (int, str)
            kinds = {key: chosen if value in (None, "auto") else type(value) for key, value in own.items()}
            fits = all(
                key in kinds and (value is None or isinstance(value, kinds[key])) for key, value in dataset.items()
            )
            return fits and own.keys() == dataset.keys() and is_within_limits(dataset, "dataset")
    return False
