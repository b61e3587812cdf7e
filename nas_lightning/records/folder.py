"""The folder of a run: its name, whether it may be used, and the report that ends it.

Imports no torch: a program names folders before it loads anything.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha1
from pathlib import Path
from typing import Any, Self

import yaml
from omegaconf import DictConfig, OmegaConf

from nas_lightning.errors import UserError
from nas_lightning.records.files import write_text_atomically
from nas_lightning.records.overrides import key_of
from nas_lightning.records.received import received_json

ELSEWHERE = "another name= or run_dir="
"""Where else a run may be written, for the end of a refusal."""

FAILURE = "failed.txt"
"""In the folder of a sweep's failed job, of a study's failed trial, or of any run that has diverged: its cause, one sentence.
Gone once the run trains again or is finished."""

# They say where results go or how they are shown, not what is computed.
_FREE_KEYS = (
    "run_dir", "logger", "benchmark", "selection", "export", "dataset.cache", "data.dataset.cache", "data.progress",
    "data.num_workers",
)  # fmt: skip
_AUGMENTING_WORKERS = "nas_lightning.data.ImageNetData"  # each of its workers has random numbers of its own
_OPTION = (
    "option/"  # before a config group among a run's settings: its option, which a refusal names; values are compared
)


def folder_name(override_dirname: str) -> str:
    """A run's folder name from Hydra's override_dirname: one path component, at most 120 characters, "default" if empty.

    Where it would be longer a hash stands for the longest of the overrides: the short ones (method, space, seed) are what
    a sweep's folders are told apart by.
    """
    safe = re.sub(r"[^\w=.,+-]+", "_", override_dirname).strip("_.") or "default"
    if len(safe) <= 120:
        return safe
    overrides = safe.split(",")
    while len(overrides) > 1 and len(",".join(overrides)) > 109:
        overrides.remove(max(overrides, key=len))
    return f"{','.join(overrides)[:109]}-{sha1(override_dirname.encode()).hexdigest()[:10]}"


def note_failure(folder: Path, cause: str) -> None:
    """For the table that ends the sweep, and for anyone who looks later; nothing where the folder holds a finished run."""
    if RunFolder(folder, {}).is_finished:
        return
    with suppress(UserError):  # where it cannot be written, what is said of it is all there is
        write_text_atomically(folder / FAILURE, " ".join(cause.split()) + "\n")


def forget_failure(folder: Path) -> None:
    with suppress(OSError):
        (folder / FAILURE).unlink(missing_ok=True)


class _Dumper(yaml.SafeDumper):
    """Without aliases, which are not read again."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class RunFolder:
    """`path`: config.yaml, checkpoints/, metrics.csv, genotype.json, figures and, written last, report.json.

    A folder without report.json is an unfinished run: the same command goes on with it.

    asked: dotted keys and groups that the user has set. derived: those whose values follow from others. choices: the option of
    every config group. All only for naming in a refusal what the user knows.
    """

    def __init__(
        self,
        path: Path,
        config: Mapping[str, Any],
        asked: Sequence[str] = (),
        derived: Sequence[str] = (),
        choices: Mapping[str, str | None] | None = None,
    ) -> None:
        self.path = path
        self.config = dict(config)
        self._asked, self._derived = tuple(asked), tuple(derived)
        self._options = options_among_settings(choices or {})

    @classmethod
    def of(cls, config: DictConfig, overrides: Sequence[str], choices: Mapping[str, str | None] | None = None) -> Self:
        """The folder of a composed config, of the command line's overrides and what is chosen of each group."""
        plain: Any = OmegaConf.to_container(config, resolve=True)
        values = flat(OmegaConf.to_container(config, resolve=False))
        derived = [key for key, value in values.items() if isinstance(value, str) and "${" in value]
        return cls(Path(config.run_dir), plain, [key_of(text) for text in overrides], derived, choices)

    @property
    def report(self) -> Path:
        return self.path / "report.json"

    @property
    def is_finished(self) -> bool:
        return self.report.exists()

    def check(self) -> None:
        """Raise UserError where the folder holds a finished run. Whose an unfinished one is, its checkpoints say."""
        if self.is_finished:
            raise UserError(
                f"{self.path} holds a finished run (see its report.json); delete the folder to run it again, or write "
                f"the new run elsewhere by {ELSEWHERE}."
            )

    def check_reported(self) -> None:
        """UserError where the finished run in the folder is not one of this configuration.

        What only another version's configs have tells nothing, and the images of an evaluation are those of its search unless
        asked for. A report that cannot be read is left to those who read results.
        """
        try:
            report = received_json(self.report)
            before = flat(report["config"])
            is_evaluation = report.get("kind") == "evaluation"
            if is_evaluation and "budget" in report:  # which has set the width
                before["space.C"] = report["budget"]["C_asked"]
            options = options_among_settings(report.get("choices", {}))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        if is_evaluation:
            before = {key: value for key, value in before.items() if "dataset" not in key.split(".")}
        now = flat(self.config)
        told = {key: value for key, value in before.items() if _meets(key, now)}
        self.check_same({key: value for key, value in now.items() if not _meets(key, told)} | told | options)

    def write_config(self) -> None:
        write_text_atomically(self.path / "config.yaml", yaml.dump(self.config, Dumper=_Dumper, sort_keys=False))

    @property
    def settings(self) -> dict[str, Any]:
        """By their dotted key, those that must not change when the run goes on; beside them the option of each group."""
        return self._fixed(flat(self.config)) | self._options

    def check_same(self, settings: Mapping[str, Any]) -> None:
        """UserError where a run with these settings, as `settings` has them, cannot go on with this configuration."""
        before, now = self._fixed(settings), self._fixed(flat(self.config))
        flags_of_now = {key: False for key, value in now.items() if isinstance(value, bool)}
        before = flags_of_now | before  # off in a version that did not have them
        different = [key for key in {*before, *now} if before.get(key) != now.get(key)]
        if different:
            groups = self._changed_groups(settings)
            changed = groups | {k: (before.get(k), now.get(k)) for k in different if not is_among(k, groups)}
            key = min(
                changed, key=lambda name: (*self._unfamiliarity(name), name not in groups, name != "method", name)
            )
            old, new = ("null" if value is None else value for value in changed[key])
            more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
            state = "a finished" if self.is_finished else "an interrupted"
            raise UserError(
                f"{self.path} holds {state} run with {key}={old}, now it is {new}{more}; "
                f"set it back to go on, delete the folder to start anew, or give {ELSEWHERE}."
            )

    def _changed_groups(self, settings: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Config group -> its option in a run with these settings, and now."""
        return {
            key.removeprefix(_OPTION): (settings[key], option)
            for key, option in self._options.items()
            if key in settings and settings[key] != option
        }

    def _fixed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        data = self.config.get("data")
        workers = isinstance(data, Mapping) and data.get("_target_") == _AUGMENTING_WORKERS
        free = [key for key in _FREE_KEYS if not (workers and key == "data.num_workers")]
        return {k: value for k, value in settings.items() if not (k.startswith(_OPTION) or is_among(k, free))}

    def _unfamiliarity(self, key: str) -> tuple[bool, bool]:
        return not is_among(key, self._asked), is_among(key, self._derived)

    def write_report(self, report: Mapping[str, Any]) -> None:
        write_text_atomically(self.report, json.dumps(report, indent=2, allow_nan=False) + "\n")


def options_among_settings(choices: Mapping[str, str | None]) -> dict[str, str | None]:
    """The options of config groups as `RunFolder.settings` has them, without Hydra's own groups and what may change."""
    own = [group for group in choices if not re.search("[@/]", group) and not is_among(group, _FREE_KEYS)]
    return {f"{_OPTION}{group}": choices[group] for group in own}


def is_among(key: str, keys: Iterable[str]) -> bool:
    """Whether it is one of `keys` or below one."""
    return any(key == each or key.startswith(f"{each}.") for each in keys)


def _meets(key: str, keys: Iterable[str]) -> bool:
    """Whether it is one of `keys`, below one or above one."""
    return any(is_among(key, [each]) or is_among(each, [key]) for each in keys)


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """The values of a config by their dotted key."""
    if not isinstance(config, Mapping):
        return {prefix: config}
    return {k: v for key, value in config.items() for k, v in flat(value, f"{prefix}.{key}".lstrip(".")).items()}
