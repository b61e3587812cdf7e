"""Whether a plain value, as a yaml or a command line gives it, is of the type of the parameter that it is meant for."""

import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

_UNIONS = (Union, types.UnionType)
_LISTS = (tuple, list, Sequence, Collection, Iterable)
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}


def fits(value: Any, kind: Any) -> bool:
    """A list stands for a tuple, a whole number for a float, and never a truth value for a number.

    A mapping, such as a ramp's settings, holds plain values under names that are not Hydra's.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin in _UNIONS:
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if origin in _LISTS:
        if not isinstance(value, list | tuple):
            return False
        kinds = parts * len(value) if origin is not tuple else parts[:1] * len(value) if ... in parts else parts
        return len(kinds) == len(value) and all(map(fits, value, kinds))
    if origin in (Mapping, dict):
        return isinstance(value, dict) and all(
            isinstance(name, str) and name.isidentifier() and name[0] != "_" and not isinstance(each, dict | list)
            for name, each in value.items()
        )
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind if kind in _WORDS else False


def is_plain(kind: Any) -> bool:
    """Whether values of the type can be written in a yaml, some of them if it is a union.

    What a mapping holds is for its reader to judge.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin in _UNIONS:
        return any(is_plain(part) for part in parts if part is not types.NoneType)
    if origin in _LISTS:
        return all(is_plain(part) for part in parts if part is not ...)
    return origin is Literal or kind in _WORDS


def takes_mapping(kind: Any) -> bool:
    """Whether values of the type may be mappings."""
    origin = get_origin(kind)
    if origin in _UNIONS:
        return any(map(takes_mapping, get_args(kind)))
    return kind is Any or (isinstance(origin or kind, type) and issubclass(origin or kind, Mapping))


def in_words(kind: Any) -> str:
    """What values of the type are, for a sentence: "a number or null"."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in _UNIONS:
        literals = [value for part in parts if get_origin(part) is Literal for value in get_args(part)]
        others = [part for part in parts if get_origin(part) is not Literal]
        if literals and len(others) < len(parts) - 1:
            return in_words(Union[(Literal[tuple(literals)], *others)])
        words = dict.fromkeys(in_words(part) for part in parts if part is types.NoneType or is_plain(part))
        if "a number" in words:
            words.pop("a whole number", None)
        return " or ".join([*(word for word in words if word != "null"), *(["null"] if "null" in words else [])])
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin in (Mapping, dict):
        return "a mapping"
    if origin is tuple and ... not in parts:
        return f"a list of {len(parts)}: {', '.join(map(in_words, parts))}"
    if origin in _LISTS:
        return f"a list, each {in_words(parts[0])}"
    return _WORDS.get(kind, str(kind))
