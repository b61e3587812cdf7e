"""What a saved folder names, without running what it names: classes of one table, with plain values of their types.

A folder may come from anybody, and a `_target_` can be any function of any installed package.
"""

import inspect
import pkgutil
from typing import Any, Literal, get_type_hints

from nas_lightning.errors import UserError
from nas_lightning.plain import fits

Group = Literal["space", "dataset"]

_CLASSES: dict[Group, tuple[str, ...]] = {
    "space": ("nas_lightning.spaces.NB201", "nas_lightning.spaces.DARTS"),
    "dataset": tuple(
        f"nas_lightning.data.{name}"
        for name in ("Cifar10", "Cifar100", "Digits", "Fake", "Folder", "ImageNet", "ImageNet16_120", "Svhn")
    ),
}
# A few characters could otherwise ask for a network or an image of any size.
_MOST = {"N": 100, "num_cells": 100, "image_size": 4_096, "resize": 4_096, "padding": 4_096}
_MOST_OF_OTHERS: dict[Group, int] = {"space": 1_000, "dataset": 1_000_000}


def check_saved(settings: Any, group: Group, place: object, remedy: str) -> dict[str, Any]:
    """`settings` as a class of `group` takes them, `_target_` included; UserError with `remedy` for anything else.

    place: the file that they are from. Nothing is imported but what the table names. Values are plain and of the parameters'
    types; OmegaConf would interpolate what has a `${`, and miss what is `???`.
    """

    def refused(fault: str) -> UserError:
        return UserError(f"{place}: {group} {fault}; {remedy}")

    if not isinstance(settings, dict):
        raise refused("holds no settings")
    target = settings.get("_target_")
    if target not in _CLASSES[group]:
        raise refused(f"is {target!r}, of which nothing is run: it is none of nas_lightning's own classes")
    made = pkgutil.resolve_name(_CLASSES[group][_CLASSES[group].index(target)])
    kinds = {name: kind for name, kind in get_type_hints(made.__init__).items() if name != "return"}
    for name, value in settings.items():
        if name == "_target_":
            continue
        if name not in kinds or name not in inspect.signature(made).parameters:
            raise refused(f"has {name!r}, which is no setting of {made.__name__}")
        if not fits(value, kinds[name]) or not _is_within(value, _MOST.get(name, _MOST_OF_OTHERS[group])):
            raise refused(f"has {name}={value!r}, which is no value of this setting")
    return dict(settings)


def build_saved(settings: Any, group: Group, place: object, remedy: str) -> Any:
    """The object that `check_saved` allows; what its class refuses is raised as it was."""
    values = check_saved(settings, group, place, remedy)
    return pkgutil.resolve_name(values.pop("_target_"))(**values)


def is_within_limits(settings: dict[str, Any], group: Group) -> bool:
    """Whether each value is plain and not too large, whatever class takes it."""
    return all(_is_within(value, _MOST.get(name, _MOST_OF_OTHERS[group])) for name, value in settings.items())


def _is_within(value: Any, most: int) -> bool:
    if isinstance(value, dict):
        return _is_within([*value.values()], most)
    if isinstance(value, list | tuple):
        return len(value) <= 100 and all(_is_within(each, most) for each in value)
    if isinstance(value, str):
        return value.isprintable() and "${" not in value and value != "???"
    return value is None or -most <= value <= most  # nan is not
