"""The schema of a composed config: each value is of the type of the parameter that it is for, each key is read by something.

The types are those of the constructors that the config names, ours, PyTorch's, Lightning's and a user's alike, so that nothing
is written down twice; ranges are the constructors' own affair.
"""

import difflib
import inspect
import math
import pkgutil
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_type_hints

from omegaconf import DictConfig, OmegaConf

from nas_lightning.errors import UserError, brief
from nas_lightning.plain import fits, in_words, is_plain, takes_mapping

_PROGRAMS_OWN: dict[str, Any] = {
    "name": str | int,
    "run_dir": str,
    "normalisation": str | None,
    "family.normalisation": str | None,
}
"""Key -> type, of what no constructor takes and no program checks itself."""

_RECIPE = ("optimizer", "scheduler", "label_smoothing", "auxiliary_weight", "drop_path")
_HYDRAS: dict[str, Any] = {
    "_partial_": bool,
    "_recursive_": bool,
    "_convert_": Literal["none", "partial", "object", "all"],
}
_FACTORIES = ("lr", "optimizer", "scheduler", "arch_optimizer", "weight_optimizer", "weight_scheduler")
"""Names of what is made later, of what is known by then: `_partial_: true` in its yaml."""

_MADE = ("model", "data", "trainer", "benchmark")
_READ_AS_THEY_ARE = ("hydra", "callbacks")  # sections whose keys the user names
_LARGEST = {bool: 1.0, int: 2**63 - 1, float: 3.4e38}  # whole numbers of 64 bits, others of 32
_ELSEWHERE = {
    "epochs": "trainer.max_epochs",
    "learning_rate": "model.weight_optimizer.lr",
    "gpus": "trainer.devices",
    "lambda": "sched.lam",
    "data_dir": "dataset.root",
    "output_dir": "run_dir",
}
"""What other programs call it -> the key here."""
_REFERENCE = re.compile(r"\$\{(?:oc\.select:)?([\w.]+)")


def check_settings(config: DictConfig, overrides: Sequence[str]) -> None:
    """UserError for the first value that cannot be meant, or key that nothing reads.

    overrides: of the command line; what they add (`+key=value`) must be read by a constructor or by another key.
    """
    raw: Any = OmegaConf.to_container(config, resolve=False)
    values: Any = OmegaConf.to_container(config, resolve=True)
    for key, value in _leaves(values):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{_source(raw, key)}={value} is no number that can be used; give a finite one.")
        if value == "???":
            raise UserError(f"{key} is ???, which stands for a value that is missing; give one.")
        if isinstance(value, int | float) and abs(value) > _LARGEST[type(value)]:
            raise UserError(
                f"{_source(raw, key)}={value} is larger than any number PyTorch computes with; give a smaller one."
            )
    for key, kind in _PROGRAMS_OWN.items():
        value = OmegaConf.select(config, key)
        _check_type(key, OmegaConf.to_object(value) if OmegaConf.is_config(value) else value, kind, value is None)
    for space, strength in _items(values.get("strengths")):  # those of the other spaces are read by nothing
        _check_type(f"strengths.{space}", strength, float, False)
    for key in _MADE:
        if isinstance(values.get(key), dict) and "_target_" not in values[key]:
            raise UserError(f"{key} names no class; choose a yaml of the group {key}, or give it a _target_.")
    for key, node in _nodes(values):
        if not isinstance(node.get("_target_", ""), str):
            raise UserError(f"{key}._target_ must be the name of a class, got {brief(node['_target_'])}.")
    for key, node in _constructed(values):
        for name in (name for name in _HYDRAS if name in node):
            _check_type(f"{key}.{name}", node[name], _HYDRAS[name], False)
        is_logger = key.partition(".")[0] == "logger"
        if node.get("_partial_") and not is_logger and key.rpartition(".")[2] not in _FACTORIES:
            raise UserError(f"{key}._partial_=true makes no object where one is needed; drop it.")
        if key == "model" or node.get("_partial_"):  # others are made by Hydra, whose refusal is made a sentence
            _check_names(key, node)
        for name, kind, has_none in parameters(node["_target_"]):
            if name in node and is_plain(kind):
                _check_type(_source(raw, f"{key}.{name}"), node[name], kind, has_none)
            elif isinstance(node.get(name), dict) and "_target_" not in node[name] and not takes_mapping(kind):
                place = _source(raw, f"{key}.{name}")
                raise UserError(f"{place} names no class; choose a yaml of its group, or give it a _target_.")
    references = {match for _, value in _leaves(raw) for match in _REFERENCE.findall(str(value))}
    if isinstance(values.get("recipe"), dict):
        for name in values["recipe"]:
            if name not in _RECIPE and f"recipe.{name}" not in references:
                raise _unread(f"recipe.{name}", raw)
    for override in overrides:
        if override.startswith("+"):
            _check_read(override.lstrip("+"), raw, values, references)


def _items(node: Any) -> list[tuple[str, Any]]:
    return list(node.items()) if isinstance(node, dict) else []


def _leaves(values: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(key, value), of lists too."""
    if isinstance(values, dict):
        for name, value in values.items():
            yield from _leaves(value, f"{key}.{name}".lstrip("."))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from _leaves(value, f"{key}[{number}]")
    else:
        yield key, values


def _nodes(values: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, node) of all mappings, in lists too."""
    if isinstance(values, dict):
        yield key, values
        for name, value in values.items():
            yield from _nodes(value, f"{key}.{name}".lstrip("."))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from _nodes(value, f"{key}[{number}]")


def _constructed(values: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Those that name a class or a function."""
    return ((place, node) for place, node in _nodes(values, key) if isinstance(node.get("_target_"), str))


def _check_names(key: str, node: dict[str, Any]) -> None:
    """UserError for a setting that the class or function does not have."""
    try:
        parameters = inspect.signature(pkgutil.resolve_name(node["_target_"])).parameters
    except Exception:  # said when it is built
        return
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return
    for name in node:
        if name[0] != "_" and name not in parameters:
            raise UserError(
                f"{key}: {node['_target_'].rpartition('.')[2]} has no setting {name}; correct or drop {key}.{name}."
            )


def parameters(target: str) -> Iterator[tuple[str, Any, bool]]:
    """(name, type, whether it may be null) of the parameters of known types."""
    try:
        made = pkgutil.resolve_name(target)
        made = made.__init__ if isinstance(made, type) else made  # type: ignore[misc]
        hints, parameters = get_type_hints(made), inspect.signature(made).parameters
    except Exception:  # what cannot be found or has no signature is said when it is built
        return
    for name, parameter in parameters.items():
        # A flag is known by its default where it has no annotation, as in some releases of PyTorch.
        kind = hints.get(name, bool if isinstance(parameter.default, bool) else None)
        if kind is not None and parameter.kind is not parameter.VAR_KEYWORD:
            yield name, kind, parameter.default is None


def _check_type(key: str, value: Any, kind: Any, has_none: bool) -> None:
    if fits(value, kind) or (has_none and value is None) or next(_constructed(value), None):
        return
    text = ""
    if type(value) in (int, float, bool) and fits("", kind):
        text = f"; to mean the text, quote it twice: {key}=\"'{value}'\""
    raise UserError(f"{key} must be {in_words(kind)}, got {brief(value)}{text}.")


def _source(raw: Any, key: str) -> str:
    """Where the value of `key` is written: interpolations such as ${trainer.graphs} are followed to their end."""
    node, at = raw, ""
    for number, part in enumerate(parts := re.findall(r"[^.\[\]]+", key)):
        at = f"{at}[{part}]" if isinstance(node, list) else f"{at}.{part}".lstrip(".")
        node = node[int(part)] if isinstance(node, list) else node.get(part) if isinstance(node, dict) else None
        reference = re.fullmatch(r"\$\{([\w.]+)\}", node) if isinstance(node, str) else None
        if reference and not reference[1].startswith("."):
            return _source(raw, ".".join([reference[1], *parts[number + 1 :]]))
    return at


def _check_read(added: str, raw: Any, values: dict[str, Any], references: set[str]) -> None:
    key, _, text = added.partition("=")
    if re.search(r"[@/]", key) or any(reference == key or reference.startswith(f"{key}.") for reference in references):
        return
    first, *rest = key.split(".")
    is_option = not rest and isinstance(values.get(first), dict) and not text.startswith("{")  # of a group
    if is_option or first in _READ_AS_THEY_ARE:
        return
    node: Any = values
    for part in (first, *rest):
        if not isinstance(node, dict) or "_target_" in node:
            return  # its constructor takes the key or refuses it
        node = node.get(part)
    if next(_constructed(node), None) is None:
        raise _unread(key, raw)


def _unread(key: str, raw: Any) -> UserError:
    return UserError(f"{key} is read by nothing; {nearest(key, raw)}")


def nearest(key: str, raw: Any, groups: Sequence[str] = ()) -> str:
    """The key that was probably meant instead of `key`, in words: of a similar spelling, or of the same name elsewhere.

    raw: the config as it is written. groups: names of config groups, which may be meant too.
    """
    known = [each for each, _ in _leaves(raw) if each != key and not each.startswith(f"{key}.")]
    name = key.rpartition(".")[2]
    namesakes = [_source(raw, each) for each in known if each.rpartition(".")[2] == name]
    has_section = any(each.startswith(f"{key.partition('.')[0]}.") for each in known)
    near = (
        [other for other in (_ELSEWHERE.get(name),) if other in known]
        or (namesakes if has_section and len({*namesakes}) == 1 else [])
        or difflib.get_close_matches(key, [*known, *groups], 1, 0.8)
        or namesakes
        or difflib.get_close_matches(key, known, 1)
    )
    return f"did you mean {near[0]}?" if near else "correct the name, or drop it."
