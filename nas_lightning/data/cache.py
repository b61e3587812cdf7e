"""Decoded images kept on disk: a set of image files is decoded once, not in every run."""

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import PIL.features
import torch
from platformdirs import user_cache_path
from torch import Tensor

from nas_lightning.data.decode import Decoder, decode_all
from nas_lightning.errors import UserError
from nas_lightning.image_tree import BrokenImage
from nas_lightning.records.files import replace_atomically

_log = logging.getLogger(__name__)

# Raise it whenever the decoder would make other pixels of the same file.
_FORMAT = 2


def check_cache(setting: str | None) -> None:
    """Reject what names no folder."""
    if setting is not None and (not isinstance(setting, str) or not setting):
        raise UserError(
            f"dataset.cache={setting!r} is no folder; give auto for the user's cache folder, a folder, or null for no cache."
        )
    if (
        setting not in (None, "auto")
        and os.path.lexists(place := Path(setting).expanduser())
        and not os.path.isdir(place)
    ):
        raise UserError(f"dataset.cache={setting} is no folder but a file; give a folder, which may be new.")


def cache_folder(setting: str | None) -> Path | None:
    """`auto` is the user's cache folder (~/.cache/nas_lightning or below $XDG_CACHE_HOME on Linux); null is none."""
    if setting is None:
        return None
    return user_cache_path("nas_lightning", appauthor=False) if setting == "auto" else Path(setting).expanduser()


def decode_once(
    decoder: Decoder, paths: Sequence[PurePosixPath], folder: Path | None, progress: bool
) -> tuple[Tensor, dict[int, BrokenImage]]:
    """uint8 [N, 3, S, S] of all `paths`: read from `folder` if it holds these images, else decoded and put there.

    Whether it does is told by `fingerprint`. A file of another fingerprint is replaced, so that one source leaves one
    file per size; a damaged one (CRC-32 of the pixels) is replaced with a warning; where `folder` cannot be written, a
    warning is all that happens. Runs at the same time do not meet: each file appears whole. None keeps nothing. The second
    result is the broken images by position; with such, nothing is kept either, for the next run may be able to read them.
    """
    if folder is None:
        return decode_all(decoder, paths, progress)
    file = folder / _file_name(decoder, paths)
    source = fingerprint(decoder, paths)  # before decoding: a file that changes meanwhile belongs to no later run
    kept = _read(file, source, (len(paths), 3, decoder.side, decoder.side))
    if kept is not None:
        return torch.from_numpy(kept), {}
    pixels, broken = decode_all(decoder, paths, progress)
    if not broken:
        _write(file, source, pixels.numpy())
    return pixels, broken


def fingerprint(decoder: Decoder, paths: Sequence[PurePosixPath]) -> str:
    """SHA-256 over everything that the decoded pixels depend on, without reading the images.

    That is the name and `stamp` of each image in order, the decoder's settings, and the versions of this format, of
    Pillow and of its libraries.
    """
    libraries = [PIL.features.version(name) for name in ("libjpeg_turbo", "jpg", "jpg_2000", "avif", "webp", "libtiff")]
    digest = hashlib.sha256(repr((_FORMAT, PIL.__version__, libraries, decoder.side, decoder.resize)).encode())
    for path in paths:
        digest.update(repr((str(path), decoder.tree.stamp(path))).encode())
    return digest.hexdigest()


def _file_name(decoder: Decoder, paths: Sequence[PurePosixPath]) -> str:
    """Tells places, parts (train, test) and sizes apart; the place's own name is for the reader."""
    place = decoder.tree.place.resolve()
    texts = [str(path) for path in paths]
    part = os.path.commonpath([min(texts), max(texts)])  # of all, for those between share their beginning
    key = repr((str(place), part, decoder.side, decoder.resize))
    return f"{place.stem[:80]}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"


def _read(file: Path, source: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """The pixels in `file`, if it has them for this `source`. The zip format's CRC-32 is checked while reading."""
    try:
        with np.load(file) as kept:
            if kept["source"] != source:
                return None
            pixels: np.ndarray = kept["pixels"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # a damaged file can make zipfile and numpy raise anything, MemoryError included
        name = type(error).__name__  # not its text: numpy's advises to load what may be anybody's code
        _log.warning("The decoded images kept in %s cannot be read (%s); they are decoded again.", file, name)
        return None
    if pixels.shape != shape or pixels.dtype != np.uint8:
        _log.warning("The decoded images kept in %s are damaged (%s); they are decoded again.", file, pixels.shape)
        return None
    return pixels


def _write(file: Path, source: str, pixels: np.ndarray) -> None:
    try:
        with replace_atomically(file) as temporary:
            np.savez(temporary, source=np.array(source), pixels=pixels)
    except UserError as error:
        _log.warning(
            "The decoded images cannot be kept in %s (%s), so the next run decodes them again; "
            "give a folder with %.2f GB to spare as dataset.cache, or null for no cache.",
            file.parent, getattr(error.__cause__, "strerror", None) or error.__cause__, pixels.nbytes / 1e9,
        )  # fmt: skip
