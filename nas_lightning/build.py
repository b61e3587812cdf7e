"""From a part of the config to the object that it names."""

import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from typing import Any, Protocol

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig

from nas_lightning.errors import UserError


def build(node: Any, **arguments: Any) -> Any:
    """hydra.utils.instantiate with plain containers; what the constructor refuses is raised as it was."""
    for place, target in _targets(node):
        _check_target(place, target)
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
        remedy = "correct them on the command line or in the yaml"
        key = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE)
        place = f"{key[1]}: " if key else ""
        if unknown:
            reason = "{} has no setting {}".format(*unknown.groups())
            if key:  # which a method may have set, for the class that it chooses
                remedy = f"drop it by ~{key[1]}.{unknown[2]}, or choose what has it"
        raise UserError(
            f"{place}{_named_in(error) or node.get('_target_')} refuses its settings ({reason}); {remedy}."
        ) from error


def build_axis(config: DictConfig, group: str, protocol: type) -> Any:
    """The object that the config group `group` names, None where it is null; UserError unless it is of `protocol`.

    The yaml of a group may be a user's own, and so may the class that it names.
    """
    return None if config[group] is None else build_choice(config[group], group, protocol)


def build_choice(node: Any, place: str, protocol: type) -> Any:
    """The object that `node` names, at the key `place` of the config; UserError unless it is of `protocol`."""
    target = target_of(node, place)
    if node.get("_partial_"):
        raise UserError(
            f"{place}: _partial_ makes no {protocol.__name__} of {target}; drop it from the yaml of {place}."
        )
    try:
        built = build(node)
    except UserError as error:
        # Python's own words for a class that leaves a method of its base out.
        abstract = re.search(r"abstract class .*? abstract methods? (.*?)\)", str(error))
        if abstract is not None:
            missing = ", ".join(re.findall(r"\w+", abstract[1]))
            raise UserError(f"{place}: {target} lacks {missing}; see docs/extending.md.") from error
        if place not in str(error):
            raise UserError(f"{place}: {error}") from error
        raise
    check_choice(built, place, protocol)
    return built


def target_of(node: Any, place: str) -> str:
    """The class or function that `node`, at the key `place`, names; UserError where it names none."""
    target = node.get("_target_") if isinstance(node, DictConfig) else None
    if not isinstance(target, str):
        raise UserError(
            f"{place}={node} names no class; choose a yaml of the group {place.partition('.')[0]}, or give it a _target_."
        )
    _check_target(place, target)
    return target


def check_choice(made: Any, place: str, protocol: type) -> None:
    """UserError unless `made`, at the key `place` of the config, is of `protocol`.

    A Protocol is kept by what has its members, its methods taking as many arguments, unless it is a choice of another axis:
    axes may be called alike. Other classes are kept by their instances.
    """
    kind, name = type(made), f"{type(made).__module__}.{type(made).__qualname__}"
    if Protocol not in protocol.__bases__:
        if not isinstance(made, protocol):
            raise UserError(
                f"{place}: {name} is no {_public_name(protocol)}; derive it from that class, see docs/extending.md."
            )
    elif missing := [member for member in _members(protocol) if not hasattr(made, member)]:
        raise UserError(
            f"{place}: {name} lacks {', '.join(missing)}, which every {protocol.__name__} has; see docs/extending.md."
        )
    elif _ours(kind) and _ours(kind) != _ours(protocol):
        raise UserError(
            f"{place}: {name} is no {protocol.__name__}, it belongs elsewhere; name one of the group {place}."
        )
    for member, wanted in inspect.getmembers(protocol, inspect.isfunction):
        if member in _members(protocol):
            _check_arguments(getattr(made, member), wanted, f"{place}: {name}", member)


def _check_arguments(method: Any, wanted: Any, who: str, member: str) -> None:
    """UserError unless `method` takes the arguments of the protocol's method `wanted`, by position, and can do without those
    that have a default there."""
    parameters = list(inspect.signature(wanted).parameters.values())[1:]
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    try:
        signature = inspect.signature(method)
        signature.bind(*required)
        signature.bind(*parameters)
    except TypeError as error:
        names = ", ".join(parameter.name for parameter in parameters)
        raise UserError(
            f"{who}: its {member} cannot be called with ({names}): {error}; see docs/extending.md."
        ) from error
    except ValueError:  # built in, without a signature
        return


def _targets(node: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """(key, `_target_`) of `node` and of everything within."""
    if isinstance(node, DictConfig | ListConfig):
        place = node._get_full_key(None) or place
    if isinstance(node, DictConfig | dict):
        if isinstance(node.get("_target_"), str):
            yield place, node["_target_"]
        parts: Any = node.items()
    else:
        parts = enumerate(node) if isinstance(node, ListConfig | list) else ()
    for key, part in parts:
        yield from _targets(part, f"{place}.{key}".lstrip("."))


def _check_target(place: str, target: str) -> None:
    try:
        found = pkgutil.resolve_name(target)  # Hydra's own look-up prints what it did not find
    except Exception as error:  # whatever the import of a user's module raises
        reason = " ".join(str(error).split())
        raise UserError(
            f"{place}: _target_={target} cannot be found ({reason}); correct the yaml of {place}, or put the module on "
            "PYTHONPATH."
        ) from error
    if not callable(found):
        raise UserError(f"{place}: _target_={target} is no class, nor a function; correct the yaml of {place}.")


def _named_in(error: InstantiationException) -> str | None:
    """The class or function, maybe of a part within, that Hydra says it has called."""
    called = re.search(r"Error in call to target '([\w.]+)'", str(error))
    return called[1] if called else None


def _ours(kind: type) -> str | None:
    """The folder of this package that `kind` is from; None for a user's own."""
    package, _, rest = kind.__module__.partition(".")
    return rest.partition(".")[0] if package == __package__ else None


def _public_name(kind: type) -> str:
    """As it is imported: classes are defined in a module below the package that offers them."""
    package = kind.__module__.rpartition(".")[0]
    return f"{package if hasattr(sys.modules[package], kind.__name__) else kind.__module__}.{kind.__name__}"


def _members(protocol: type) -> list[str]:
    """The public members that a protocol asks for, bases included."""
    names: dict[str, None] = {}
    for base in protocol.__mro__:
        if base.__module__ in ("builtins", "typing", "abc"):
            continue
        own = {*vars(base), *vars(base).get("__annotations__", {})}
        names |= dict.fromkeys(sorted(name for name in own if not name.startswith("_") or name == "__call__"))
    return list(names)
