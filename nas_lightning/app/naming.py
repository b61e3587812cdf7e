"""What a search is called: a method's name where the search is that method, else what it was made of.

A method is a yaml of `conf/method`: choices of options on the axes, and a few values such as `space.partial: 4`. They are read
as data, so that nothing here knows a method; `${...}` in a value is what it leads to in the search. What belongs to a protocol,
such as rates and batch size, or to the size of a space is no part of a name; nor are an option's own numbers, such as
`sched.lam`: reports have them in columns of their own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas_lightning.app.axes import EPOCH_AXES, MODULE_AXES
from nas_lightning.records.folder import flat
from nas_lightning.records.overrides import written

_AXES = [axis for axis in (*MODULE_AXES, *EPOCH_AXES, "arch_optimizer") if axis != "space"]

# Settings of the supernet alone that no method has but by default: a search that sets one is not that method as it is.
_OF_THE_SUPERNET = {"space.auxiliary_mean", "space.skip_dropout"}

_UNKNOWN = object()

Choices = Mapping[str, str | None]
Values = dict[str, Any]


@dataclass(frozen=True)
class _Method:
    """Axis -> option, for every axis (None where nothing is chosen), and the values it sets by their dotted key."""

    options: dict[str, str | None]
    values: Values


def method_name(choices: Choices, config: Mapping[str, Any], folders: Sequence[Path]) -> str | None:
    """The name of the search that `config` describes.

    That of the chosen method where no choice or value of it was overridden; that of another method where all choices and
    values are this one's; else the chosen method with what differs, `edd with relaxation=softmax + penalty=beta_decay`: a
    plus before what stands where the method has nothing. None where `choices` name no method.

    choices: config group -> option, as Hydra reports them. config: resolved. folders: where configs are looked up, in
    Hydra's order.
    """
    yamls = _Yamls(folders)
    own = choices.get("method")
    if own is None:
        return None
    names = [own, *(name for name in yamls.options("method") if name != own)]
    methods = {name: yamls.method(name) for name in names}
    keys = sorted(_OF_THE_SUPERNET | {key for method in methods.values() for key in method.values})
    elsewhere = {key for group in ("protocol", "published") for key in yamls.values_of_all(group)}
    classes = {axis: yamls.classes(axis, choices.get(axis)) for axis in _AXES}
    differences = {}
    for name, method in methods.items():
        compared = [key for key in keys if key in method.values or key not in elsewhere]
        differences[name] = list(_differences(method, compared, choices, config, yamls, classes))
        if not differences[name]:
            return name
    replaced = [_assigned(key, now) for key, before, now in differences[own] if before is not None]
    added = [_assigned(key, now) for key, before, now in differences[own] if before is None]
    return own + (f" with {', '.join(replaced)}" if replaced else "") + (f" + {', '.join(added)}" if added else "")


def _differences(
    method: _Method,
    keys: Sequence[str],
    choices: Choices,
    config: Mapping[str, Any],
    yamls: "_Yamls",
    classes: Mapping[str, Values],
) -> Iterator[tuple[str, Any, Any]]:
    """(axis or key, what the method has there, what the search has), axes first.

    classes: axis -> those of the search's choices, as `_Yamls.classes` has them.
    """
    others = [axis for axis in _AXES if choices.get(axis) != method.options[axis]]
    for axis in others:
        yield axis, method.options[axis], choices.get(axis)
    for axis in (axis for axis in _AXES if axis not in others):
        for key, before in classes[axis].items():
            found, now = _nearest(config, key)
            if now != before and key not in method.values:
                yield found, before, now
    seen = set()
    for wanted in keys:
        if wanted in method.values:
            key, now = _nearest(config, wanted)
            if wanted.partition(".")[0] in others and (key != wanted or now is _UNKNOWN):
                continue  # Another option may have no such setting: then the option says so.
            before = _resolved(method.values[wanted], wanted, config)
        else:
            key, before = yamls.default(wanted, choices)
            now = _at(config, key)
            if _UNKNOWN in (before, now) or _follows_another(before):  # by default a protocol's: no part of a name
                continue
        if before != now and key not in seen:
            seen.add(key)
            yield key, before, now


def _nearest(config: Mapping[str, Any], key: str) -> tuple[str, Any]:
    """`key` and its value, _UNKNOWN where a mapping lacks it; or the key above it that ends there, and its value."""
    node: Any = config
    parts = key.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(node, Mapping):
            return ".".join(parts[:depth]), node
        node = node.get(part, _UNKNOWN)
    return key, node


def _at(config: Mapping[str, Any], key: str) -> Any:
    found, value = _nearest(config, key)
    return value if found == key else _UNKNOWN


def _follows_another(value: Any) -> bool:
    return "${" in str(value)


def _resolved(value: Any, key: str, config: Mapping[str, Any]) -> Any:
    """`value`, a method's at `key`, with what `${...}` in it stands for in this search; _UNKNOWN where it leads nowhere."""
    if not _follows_another(value):
        return value
    tree = OmegaConf.create(_as_text(config))
    try:
        OmegaConf.update(tree, key, value, merge=False, force_add=True)
        found = OmegaConf.select(tree, key)
    except OmegaConfBaseException:
        return _UNKNOWN
    return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found


def _as_text(value: Any) -> Any:
    """A resolved config as OmegaConf takes it for itself: a `${` that is left, as in the name of a folder, is text."""
    if isinstance(value, Mapping):
        return {key: _as_text(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_text(each) for each in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def _assigned(key: str, value: Any) -> str:
    """As on the command line, mappings as Hydra writes them in a sweep: then a table sees what the name tells."""
    return f"~{key}" if value is _UNKNOWN else f"{key}={written(value)}"


class _Yamls:
    """The configs of `folders` as data."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._read: dict[str, dict[str, Any]] = {}

    def options(self, group: str) -> list[str]:
        return sorted({path.stem for folder in self._folders for path in (folder / group).glob("*.yaml")})

    def method(self, name: str) -> _Method:
        start = dict.fromkeys(_AXES) | dict(self._choices("train"))
        options = {axis: start[axis] for axis in _AXES}
        values: Values = {}
        for file in self._lineage("method", name):
            options |= {axis: option for axis, option in self._choices(file) if axis in options}
            values |= _flat(self._content(file))
        return _Method(options, values)

    def classes(self, group: str, option: str | None) -> Values:
        """The classes that the option is made of, by the dotted keys of their `_target_`."""
        return {key: value for key, value in self._values(group, option).items() if key.endswith("._target_")}

    def values_of_all(self, group: str) -> set[str]:
        return {key for option in self.options(group) for key in _flat(self._content(f"{group}/{option}"))}

    def default(self, key: str, choices: Choices) -> tuple[str, Any]:
        """What `key` is where neither a method nor the command line sets it, or the key above it that then has a value."""
        group = key.partition(".")[0]
        found = _flat(self._content("train")) | self._values(group, choices.get(group))
        above = (key.rsplit(".", level)[0] for level in range(key.count(".")))
        return next(((each, found[each]) for each in above if each in found), (key, _UNKNOWN))

    def _values(self, group: str, option: str | None) -> Values:
        """All that the option sets, by the dotted keys of the config."""
        values: Values = {}
        for file in self._lineage(group, option):
            values |= _flat(self._content(file), group)
        return values

    def _lineage(self, group: str, option: str | None) -> list[str]:
        """The files that the option is made of, its own last: those of its group that its defaults name."""
        if option is None:
            return []
        file = f"{group}/{option}"
        named = [entry for entry in self._content(file).get("defaults", []) if isinstance(entry, str)]
        parents = [entry.partition("@")[0] for entry in named if entry != "_self_" and not entry.startswith("/")]
        return [*(each for parent in parents for each in self._lineage(group, parent)), file]

    def _choices(self, file: str) -> Iterator[tuple[str, str | None]]:
        for entry in self._content(file).get("defaults", []):
            if not isinstance(entry, str):
                ((key, option),) = entry.items()
                yield key.removeprefix("override ").partition("@")[0].removeprefix("/"), option

    def _content(self, file: str) -> dict[str, Any]:
        """Of the first folder that has it; nothing where none does."""
        if file not in self._read:
            places = (folder / f"{file}.yaml" for folder in self._folders)
            found = next((place for place in places if place.exists()), None)
            content: Any = None if found is None else OmegaConf.to_container(OmegaConf.load(found))
            self._read[file] = content or {}
        return self._read[file]


def _flat(content: Mapping[str, Any], prefix: str = "") -> Values:
    """The values of a yaml by their dotted key, its defaults list left out."""
    return flat({key: value for key, value in content.items() if key != "defaults"}, prefix)
