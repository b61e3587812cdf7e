"""The folder of a run: its name, whether it may be used, and the report that ends it.

Imports no torch: a program names folders before it loads anything.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from glob import glob
from hashlib import sha1
from pathlib import Path
from typing import Any, Self

import yaml
from omegaconf import DictConfig, OmegaConf

from nas_lightning.errors import UserError
from nas_lightning.records.files import write_text_atomically

FAILURE = "failed.txt"
"""In the folder of a sweep's failed job: its cause, one sentence. The next launch of the job removes it."""

# They say where results go or how they are shown, not what is computed.
_FREE_KEYS = (
    "run_dir", "logger", "benchmark", "selection", "export", "dataset.cache", "data.dataset.cache", "data.progress",
    "data.num_workers",
)  # fmt: skip
_AUGMENTING_WORKERS = "nas_lightning.data.ImageNetData"  # each of its workers has random numbers of its own

_PATH_KEYS = ("root", "test_root", "cache", "split_file", "path", "dir", "run_dir")
_SWEEP = re.compile(r"(choice|glob|shuffle|sort|tag)\(")
_NO_TEXT = re.compile(r"[+-]?[\d_.]+(e[+-]?\d+)?|[+-]?(inf|nan)|true|false", re.IGNORECASE)
"""What Hydra reads as a number or a truth value."""


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


def quote_values(arguments: Sequence[str]) -> list[str]:
    """Put paths, and the value of genotype=, in Hydra's quotes: its grammar refuses the ~ of a benchmark string, the brackets
    of a Genotype(...), and blanks, = and , of a path. The ~ of a home folder is expanded.

    A path is the value of run= and of every key that ends in one of `_PATH_KEYS`. Nothing in the name of what exists is
    interpolated: it may be named by anybody. UserError for a path that would act on the terminal, to which Hydra prints it.

    In a multirun a comma separates paths, unless the whole text is there; in Hydra's quotes everything is as Hydra takes it.

    >>> quote_values(["genotype=|none~0|+|none~0|none~1|", "train=true", "dataset.root=My photos (2)"])
    ["genotype='|none~0|+|none~0|none~1|'", 'train=true', "dataset.root='My photos (2)'"]
    """
    is_sweep = any(argument in ("-m", "--multirun") for argument in arguments)
    return [_quoted_argument(argument, is_sweep) for argument in arguments]


def _quoted_argument(argument: str, is_sweep: bool) -> str:
    key, _, value = argument.partition("=")
    name = key.lstrip("+")
    is_architecture = name in ("run", "genotype")
    if not value or not (is_architecture or name.rpartition(".")[2] in _PATH_KEYS):
        return argument
    if value[0] in "'\"" and not os.path.exists(value):  # in Hydra's quotes already
        value = re.sub(r"(?<!\\)((?:\\\\)*)\$\{", r"\1\\${", value) if is_architecture else value
        return f"{key}={value}"
    value = os.path.expanduser(value)
    if is_architecture:
        texts = _alternatives(name, value)
    elif os.path.exists(value):
        texts = [value]
    elif value == "null" or "${" in value or (is_sweep and _SWEEP.match(value)):
        return f"{key}={value}"
    else:
        is_one = not is_sweep or name.startswith("hydra.")
        texts = [value] if is_one else [os.path.expanduser(text) for text in value.split(",")]
    for text in texts:
        if not text.isprintable() and (name != "genotype" or os.path.exists(text)):
            raise UserError(f"{name}={text} has characters that cannot be printed; rename it.")
    return f"{key}={','.join(text if text == 'null' else quoted(text, not is_architecture) for text in texts)}"


def _alternatives(key: str, value: str) -> list[str]:
    """The values of a sweep over `key`: a comma separates them, but for one inside brackets or an existing path's name.

    A pattern such as run=runs/table6/* stands for the folders of finished searches that it matches.
    """
    if os.path.exists(value):  # unlike Path.exists it takes texts longer than any name
        return [value]
    if key == "run" and (found := [path for path in sorted(glob(value)) if _is_finished_search(Path(path))]):
        return found
    parts, depth = [""], 0
    for character in value:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return [text.replace("\\'", "'") for text in parts]


def _is_finished_search(folder: Path) -> bool:
    """Not an evaluation, whose metrics.csv lie in the folders of its networks."""
    return all(os.path.exists(folder / name) for name in ("genotype.json", "report.json", "metrics.csv"))


def quoted(text: str, is_path: bool) -> str:
    """As Hydra's grammar takes a text: as it is where that can be, and a path for no number; folder names stay shorter."""
    if re.fullmatch(r"[\w./-]+", text, re.ASCII) and not (is_path and _NO_TEXT.fullmatch(text)):
        return text
    literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # OmegaConf's escape
    literal = re.sub(r"(\\*)'", r"\1\1\\'", literal)  # Hydra's, and below
    return "'" + re.sub(r"(\\+)\Z", r"\1\1", literal) + "'"


class _Dumper(yaml.SafeDumper):
    """Without aliases, which are not read again."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class RunFolder:
    """`path`: config.yaml, checkpoints/, metrics.csv, genotype.json, figures and, written last, report.json.

    A folder without report.json is an unfinished run: the same command goes on with it.

    asked: dotted keys that the user has set. derived: those whose values follow from others. Both only for naming in a refusal
    what the user knows.
    """

    def __init__(
        self, path: Path, config: Mapping[str, Any], asked: Sequence[str] = (), derived: Sequence[str] = ()
    ) -> None:
        self.path = path
        self.config = dict(config)
        self._asked, self._derived = tuple(asked), tuple(derived)

    @classmethod
    def of(cls, config: DictConfig, overrides: Sequence[str]) -> Self:
        """The folder of a composed config, of the command line's overrides."""
        plain: Any = OmegaConf.to_container(config, resolve=True)
        values = flat(OmegaConf.to_container(config, resolve=False))
        derived = [key for key, value in values.items() if isinstance(value, str) and "${" in value]
        return cls(Path(config.run_dir), plain, [text.lstrip("+~").partition("=")[0] for text in overrides], derived)

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
                "the new run elsewhere by another name= or run_dir=."
            )

    def write_config(self) -> None:
        write_text_atomically(self.path / "config.yaml", yaml.dump(self.config, Dumper=_Dumper, sort_keys=False))

    @property
    def settings(self) -> dict[str, Any]:
        """By their dotted key, those that must not change when the run goes on."""
        return self._fixed(flat(self.config))

    def check_same(self, settings: Mapping[str, Any]) -> None:
        """UserError where a run with these settings, by their dotted key, cannot go on with this configuration."""
        before, now = self._fixed(settings), self.settings
        different = [key for key in {*before, *now} if before.get(key) != now.get(key)]
        if different:
            key = min(different, key=self._unfamiliarity)
            more = f" (and {len(different) - 1} more)" if len(different) > 1 else ""
            state = "a finished" if self.is_finished else "an interrupted"
            raise UserError(
                f"{self.path} holds {state} run with {key}={before.get(key)}, now it is {now.get(key)}{more}; "
                "set it back to go on, delete the folder to start anew, or give another name= or run_dir=."
            )

    def _fixed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        data = self.config.get("data")
        workers = isinstance(data, Mapping) and data.get("_target_") == _AUGMENTING_WORKERS
        free = [key for key in _FREE_KEYS if not (workers and key == "data.num_workers")]
        return {key: value for key, value in settings.items() if not _is_among(key, free)}

    def _unfamiliarity(self, key: str) -> tuple[bool, bool, str]:
        return not _is_among(key, self._asked), _is_among(key, self._derived), key

    def write_report(self, report: Mapping[str, Any]) -> None:
        write_text_atomically(self.report, json.dumps(report, indent=2, allow_nan=False) + "\n")


def _is_among(key: str, keys: Iterable[str]) -> bool:
    """Whether it is one of `keys` or below one."""
    return any(key == each or key.startswith(f"{each}.") for each in keys)


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """The values of a config by their dotted key."""
    if not isinstance(config, Mapping):
        return {prefix: config}
    return {k: v for key, value in config.items() for k, v in flat(value, f"{prefix}.{key}".lstrip(".")).items()}
