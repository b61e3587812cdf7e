"""The command line's overrides: the key of one, and values as Hydra's grammar takes them.

Imports no torch: a program reads its arguments before it loads anything.
"""

import os
import re
from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any

from nas_lightning.errors import UserError

_PATH_KEYS = ("root", "test_root", "cache", "split_file", "path", "dir", "run_dir")
_SWEEP = re.compile(r"(choice|glob|shuffle|sort|tag)\(")
_NO_TEXT = re.compile(r"[+-]?[\d_.]+(e[+-]?\d+)?|[+-]?(inf|nan)|true|false", re.IGNORECASE)
"""What Hydra reads as a number or a truth value."""


def key_of(override: str) -> str:
    """What an override is of, as it is set, added or deleted: a dotted key, or a config group.

    >>> [key_of(override) for override in ("seed=1", "+budget.params=1e5", "~logger", "a@b=c")]
    ['seed', 'budget.params', 'logger', 'a@b']
    """
    return override.lstrip("+~").partition("=")[0]


def written(value: Any) -> str:
    """A value as on the command line, mappings as Hydra writes them in a sweep.

    >>> written({"start": 1, "end": None})
    '{start:1,end:null}'
    """
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{written(each)}" for name, each in value.items()) + "}"
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


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
