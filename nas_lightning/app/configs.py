"""Where this package's configs are: a wheel carries them, a checkout has them beside the package."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

_PACKAGE = Path(__file__).resolve().parent.parent

INSTALLED = (_PACKAGE / "conf").is_dir()
"""Whether the package comes from a wheel."""

CONFIGS = (_PACKAGE if INSTALLED else _PACKAGE.parent) / "conf"


def defaults_of(program: str) -> list[Any]:
    """The groups that the program's config begins with, {group: None} where nothing is chosen."""
    listed = _read(CONFIGS / f"{program}.yaml")["defaults"]
    return [*listed, *defaults_of("train")] if "train" in listed else list(listed)


def with_keys_of_run(program: str, overrides: Sequence[str]) -> list[str]:
    """`evaluate run=` takes the run's data set: a dataset.<key> that the default one lacks is added, as Hydra wants by `+`."""
    given = [override.partition("=")[0] for override in overrides]  # with the + of those that have it
    if program != "evaluate" or "run" not in given or "dataset" in given:
        return list(overrides)
    (dataset,) = (entry["dataset"] for entry in defaults_of(program) if isinstance(entry, dict) and "dataset" in entry)
    default = _read(CONFIGS / "dataset" / f"{dataset}.yaml")
    return [
        f"+{override}" if section == "dataset" and key and key not in default else override
        for override, (section, _, key) in zip(overrides, (name.partition(".") for name in given), strict=True)
    ]


def _read(config: Path) -> Any:
    return yaml.safe_load(config.read_text(encoding="utf-8"))
