"""Pickles of arrays in plain containers, read without running anything that a pickle names."""

import io
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from nas_lightning.errors import UserError

_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")


class _Refused(Exception):
    """The name of what a pickle asks for."""


class _Dtype:
    """Stands for numpy.dtype while reading."""

    def __init__(self, name: object, *_: object) -> None:
        kind = name.lstrip("<>|=") if isinstance(name, str) else None
        if kind not in _NUMBERS:
            raise _Refused(f"an array of {name!r}")
        self.numpy = np.dtype(kind)

    def __setstate__(self, state: Any) -> None:
        self.numpy = self.numpy.newbyteorder(state[1])


class _Array:
    """Stands for an array while reading; `values` is the array."""

    values: np.ndarray

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if isinstance(data, str):  # how Python 2 wrote bytes
            data = data.encode("latin1")
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise _Refused("an array of objects")
        self._fill(data, shape, dtype, "F" if fortran else "C")

    def _fill(self, data: Any, shape: Any, dtype: _Dtype, order: Any) -> None:
        if math.prod(shape) * dtype.numpy.itemsize != len(data):
            raise ValueError(f"an array of shape {shape} from {len(data)} bytes")
        self.values = np.frombuffer(data, dtype.numpy).reshape(shape, order=order)


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _from_buffer(data: Any, dtype: _Dtype, shape: Any, order: str) -> _Array:
    array = _Array()
    array._fill(bytes(data), shape, dtype, order)
    return array


def _encoded(text: str, encoding: str) -> bytes:
    """How protocols up to 2 write bytes in Python 3."""
    return text.encode("latin1")


def _never(*_: object) -> NoReturn:
    raise _Refused("numpy.ndarray called as a function")


_STANDINS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _never,
    ("_codecs", "encode"): _encoded,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _PlainUnpickler(pickle.Unpickler):
    """Gives our own stand-ins for the few names that numpy's arrays are written with; any other name is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STANDINS:
            raise _Refused(f"{module}.{name}")
        return _STANDINS[module, name]


def read_plain_pickle(path: Path) -> Any:
    """What `path` holds: containers, numbers and texts, with arrays of numbers as numpy arrays, alone or in dictionaries.

    A pickle is a program: the standard reader calls whatever it names. This one calls nothing but the stand-ins above, so
    that a file from anywhere can be read. UserError, with the name, for a pickle that asks for anything else, and for what is
    no pickle or damaged.
    """
    try:
        content = _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        return _plain(content)
    except _Refused as error:
        raise UserError(
            f"{path} is a pickle that holds {error}, where only arrays of numbers and plain containers are read (anything "
            "else could run code); give the published file."
        ) from error
    except Exception as error:  # a damaged pickle can make the reader raise anything, MemoryError included
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read as a pickle of arrays ({reason}); give the published file.") from error


def _plain(content: Any) -> Any:
    if isinstance(content, _Array):
        return content.values
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    return content
