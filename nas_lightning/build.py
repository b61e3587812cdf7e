"""From a part of the config to the object that it names."""

import pkgutil
import re
from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from nas_lightning.errors import UserError


def build(node: Any, **arguments: Any) -> Any:
    """hydra.utils.instantiate with plain containers; what the constructor refuses is raised as it was."""
    try:
        return hydra.utils.instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from None
        # A library's own refusal: its last words and the place in the config.
        reason = str(error.__cause__ or error).strip().splitlines()[0].rstrip(":")
        unknown = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", reason)
        if unknown:
            reason = "{} has no setting {}".format(*unknown.groups())
        raise UserError(
            f"{node.get('_target_')} refuses its settings ({reason}); correct them on the command line."
        ) from error


def build_axis(config: DictConfig, group: str, protocol: type) -> Any:
    """The object that the config group `group` names, None where it is null; UserError unless it has `protocol`'s members.

    The yaml of a group may be a user's own, and so may the class that it names.
    """
    node = config[group]
    if node is None:
        return None
    if not isinstance(node, DictConfig) or not isinstance(node.get("_target_"), str):
        raise UserError(f"{group}={node} names no class; choose a yaml of the group {group}, or give it a _target_.")
    target = node._target_
    try:
        pkgutil.resolve_name(target)  # Hydra's own look-up prints what it did not find
    except Exception as error:  # whatever the import of a user's module raises
        reason = " ".join(str(error).split())
        raise UserError(
            f"{group}: _target_={target} cannot be found ({reason}); correct the yaml of {group}, or put the module on "
            "PYTHONPATH."
        ) from error
    built = _built(group, node)
    missing = [name for name in _members(protocol) if not hasattr(built, name)]
    if missing:
        raise UserError(
            f"{group}: {target} lacks {', '.join(missing)}, which every {protocol.__name__} has; see docs/extending.md."
        )
    return built


def _built(group: str, node: DictConfig) -> Any:
    try:
        return build(node)
    except UserError as error:
        # Python's own words for a class that leaves a method of its base out.
        abstract = re.search(r"abstract class .*? abstract methods? (.*?)\)", str(error))
        if abstract is None:
            raise
        missing = ", ".join(re.findall(r"\w+", abstract[1]))
        raise UserError(f"{group}: {node._target_} lacks {missing}; see docs/extending.md.") from error


def _members(protocol: type) -> list[str]:
    """The public members that a protocol or abstract class asks for, bases included."""
    names: dict[str, None] = {}
    for base in protocol.__mro__:
        if base.__module__ in ("builtins", "typing", "abc"):
            continue
        own = {*vars(base), *vars(base).get("__annotations__", {})}
        names |= dict.fromkeys(sorted(name for name in own if not name.startswith("_") or name == "__call__"))
    return list(names)
