"""Image files to uint8 tensors: all at once into memory, or batch by batch in workers."""

import io
import logging
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, features
from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from nas_lightning.data.workers import batches_of
from nas_lightning.errors import UserError
from nas_lightning.image_tree import REPAIR, BrokenImage, ImageTree

_log = logging.getLogger(__name__)

_CHUNK = 256
_MAX_THREADS = 8
# Threads pay only where decoding (which releases the interpreter lock) outweighs Python's share of each image:
# with 32x32 JPEGs of 1 kB two threads are slower than one.
_BYTES_WORTH_A_THREAD = 4096

_HEIF = frozenset({".heic", ".heif", ".hif"})
_FEATURES = {"avif": {".avif", ".avifs"}, "jpg_2000": {".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"}}
_ORIENTATION, _BITS_PER_SAMPLE = 0x0112, 258  # tags of EXIF and of TIFF
_SIDES = (128, 96, 64, 32)  # multiples of what every stem and its reductions halve
_LOOKED_AT = 200  # images, for their size
_NAMED = 10  # broken images in a sentence

PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Decoder:
    """Reads images of `tree` as RGB squares of `side` pixels.

    Where `resize` is set, the largest centred square of each image is scaled (bilinear, antialiased); otherwise an
    image of another size is an error.
    """

    tree: ImageTree
    side: int
    resize: bool

    def __call__(self, path: PurePosixPath) -> np.ndarray:
        """uint8 [3, S, S]; BrokenImage for one that cannot be decoded. See `read_rgb`."""
        rgb = read_rgb(self.tree, path)
        if rgb.size != (self.side, self.side):
            if not self.resize:
                raise UserError(
                    f"the image {path} in {self.tree.place} is {rgb.width}x{rgb.height} where the first one is "
                    f"{self.side}x{self.side}; give dataset.image_size to bring all images to one size."
                )
            rgb = centred_square(rgb, self.side)
        return np.asarray(rgb).transpose(2, 0, 1)


def read_rgb(tree: ImageTree, path: PurePosixPath) -> Image.Image:
    """The image as every reader has it: upright by its EXIF orientation, in 8-bit RGB; BrokenImage if it cannot be had.

    16 bits become the upper 8, in grey as Pillow has it for colours; 12 bits of a TIFF likewise. Floats are of 0 to 1.
    Greyscale and palettes become RGB; transparency is dropped.
    """
    try:
        with _opened(tree, path) as image:
            image.load()
            return to_rgb(image)
    except PILLOW_ERRORS as error:
        raise _undecodable(tree, path, error) from error


def _opened(tree: ImageTree, path: PurePosixPath) -> Image.Image:
    return open_image(io.BytesIO(tree.read(path)), path.suffix)


def open_image(file: str | os.PathLike[str] | BinaryIO, suffix: str) -> Image.Image:
    """Pillow's `open`, for HEIC too; raises one of PILLOW_ERRORS. suffix: of the file's name."""
    if suffix.lower() in _HEIF:
        _reads_heif()
    return Image.open(file)


@cache
def _reads_heif() -> bool:
    """Whether Pillow reads HEIC from now on, by the extra `heif`."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def to_rgb(image: Image.Image) -> Image.Image:
    """As `read_rgb` says; raises one of PILLOW_ERRORS."""
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0] if image.mode.startswith("I;16") else 16
    image = _upright(image)
    if image.mode.startswith("I"):  # Pillow would clip at 255 instead of scaling
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() >= 2**bits:
            raise ValueError(
                f"its integers go from {values.min()} to {values.max()}, beyond the 0 to {2**bits - 1} of {bits} bits"
            )
        grey = values >> bits - 8
    elif image.mode == "F":
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):
            raise ValueError(f"its floats go from {values.min():g} to {values.max():g}, not from 0 to 1")
        grey = np.rint(255 * values)
    else:
        return image.convert("RGB")
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = image.getexif().get(_ORIENTATION, 1) != 1
    except PILLOW_ERRORS:  # EXIF that cannot be read says nothing of the orientation, and the image may be whole
        return image
    return ImageOps.exif_transpose(image) if turned else image


def centred_square(image: Image.Image, side: int) -> Image.Image:
    """The largest centred square, scaled to `side` pixels: bilinear, antialiased."""
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    return image.crop((left, top, left + short, top + short)).resize((side, side), Image.Resampling.BILINEAR)


def _undecodable(tree: ImageTree, path: PurePosixPath, error: Exception) -> BrokenImage:
    """What is wrong with the image, with what would have to be installed to read the file."""
    return error if isinstance(error, BrokenImage) else BrokenImage(tree.place, path, reason_of(error, path.suffix))


def reason_of(error: Exception, suffix: str) -> str:
    """What is wrong with an image whose name ends in `suffix`, by one of PILLOW_ERRORS."""
    suffix, reason = suffix.lower(), str(error)
    if isinstance(error, Image.UnidentifiedImageError):
        reason = "no image that Pillow knows"
        if suffix in _HEIF and not _reads_heif():
            reason = "HEIC, which Pillow reads by pip install pillow-heif"
        for feature, suffixes in _FEATURES.items():
            if suffix in suffixes and not features.check(feature):
                reason = f"this Pillow was built without {feature}; install Pillow's wheel, 11.3 or later"
    return reason


def native_side(tree: ImageTree, paths: Sequence[PurePosixPath]) -> int:
    """Side of the first image that can be opened, for a data set whose images are kept as they are."""
    broken = {}
    for number, path in enumerate(paths):
        try:
            with _opened(tree, path) as image:
                width, height = image.size
        except PILLOW_ERRORS as error:
            broken[number] = _undecodable(tree, path, error)
            continue
        if width != height:
            raise UserError(
                f"the image {path} in {tree.place} is {width}x{height}, not square; give dataset.image_size to resize all."
            )
        return width
    raise refusal(broken, len(paths))


def sampled_sizes(tree: ImageTree, paths: Sequence[PurePosixPath]) -> list[tuple[int, int]]:
    """Width and height of at most 200 images, evenly spaced, without broken ones; a UserError names these if all are."""
    sizes, broken = [], {}
    for number in range(0, len(paths), -(-len(paths) // _LOOKED_AT)):
        try:
            with _opened(tree, paths[number]) as image:
                sizes.append(image.size)
        except PILLOW_ERRORS as error:
            broken[number] = _undecodable(tree, paths[number], error)
    if not sizes:
        raise refusal(broken, len(broken))
    return sizes


def chosen_side(sizes: Sequence[tuple[int, int]]) -> int:
    """Side for images of these sizes that nobody has given one.

    The largest of 128, 96, 64 and 32 pixels for which at most a tenth of the images would be enlarged; 32 where none is. Their
    own where all are squares of one of these sizes, or of a smaller multiple of 4, which every space halves twice.
    """
    width, height = sizes[0]
    fits = width in _SIDES or (width < _SIDES[-1] and width % 4 == 0)
    if len({*sizes}) == 1 and width == height and fits:
        return width
    shortest = sorted(map(min, sizes))[len(sizes) // 10]
    return next((side for side in _SIDES if side <= shortest), _SIDES[-1])


def refusal(broken: dict[int, BrokenImage], count: int) -> UserError:
    """One sentence that names the broken images among `count`; those that it has no room for are in the log."""
    if len(broken) == 1:
        return next(iter(broken.values()))
    return UserError(f"{named(broken, count)} cannot be decoded; {REPAIR.replace('it,', 'them,')}")


def named(broken: dict[int, BrokenImage], count: int) -> str:
    """`2 of 90 images (root/a/1.png: why, root/b/7.png: why)`."""
    lines = sorted(f"{each.place / each.path}: {each.reason}" for each in broken.values())
    if len(lines) > _NAMED:
        for line in lines:
            _log.warning("Broken image %s.", line)
        lines[_NAMED:] = [f"and {len(lines) - _NAMED} more, all named in the log"]
    return f"{len(broken)} of {count} images ({', '.join(lines)})"


def decode_all(
    decoder: Decoder, paths: Sequence[PurePosixPath], progress: bool
) -> tuple[Tensor, dict[int, BrokenImage]]:
    """uint8 [N, 3, S, S] of all `paths`, and which are broken, whose pixels are 0; with a progress bar on a terminal."""
    pixels = np.zeros((len(paths), 3, decoder.side, decoder.side), np.uint8)

    def fill(index: int, path: PurePosixPath) -> None:
        pixels[index] = decoder(path)

    what = f"Decoding {decoder.tree.place.name} ({pixels.nbytes / 1e9:.2f} GB in memory)"
    broken = _for_each(decoder.tree, paths, fill, what, progress)
    return torch.from_numpy(pixels), broken


def find_broken(tree: ImageTree, paths: Sequence[PurePosixPath], progress: bool) -> dict[int, BrokenImage]:
    """The broken images, by their position in `paths`; decodes all."""
    what = f"Looking for broken images in {tree.place.name}"
    return _for_each(tree, paths, lambda _, path: read_rgb(tree, path), what, progress)


def all_broken(first: BrokenImage, tree: ImageTree, paths: Sequence[PurePosixPath]) -> UserError:
    """The sentence on all broken images of `paths` when one has come up in a batch."""
    _log.warning("%s/%s is broken: looking through all %d images for more.", first.place, first.path, len(paths))
    broken = find_broken(tree, paths, progress=True)
    return refusal(broken or {0: first}, len(paths))


def _for_each(
    tree: ImageTree,
    paths: Sequence[PurePosixPath],
    act: Callable[[int, PurePosixPath], object],
    what: str,
    progress: bool,
) -> dict[int, BrokenImage]:
    """`act` on each of `paths` in threads; those for which it raises BrokenImage."""
    broken: dict[int, BrokenImage] = {}

    def act_on(start: int) -> int:
        chunk = paths[start : start + _CHUNK]
        for index, path in enumerate(chunk, start):
            try:
                act(index, path)
            except BrokenImage as error:
                broken[index] = error
        return len(chunk)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, transient=True, disable=not (progress and get_console().is_terminal)) as bar,
        ThreadPoolExecutor(_threads(tree, paths)) as pool,
    ):
        task = bar.add_task(what, total=len(paths))
        chunks = [pool.submit(act_on, start) for start in range(0, len(paths), _CHUNK)]
        try:
            for chunk in as_completed(chunks):
                bar.advance(task, chunk.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return broken


def _threads(tree: ImageTree, paths: Sequence[PurePosixPath]) -> int:
    sample = paths[:: max(1, len(paths) // 16)]
    sizes = [0]
    for path in sample:
        with suppress(BrokenImage):
            sizes.append(len(tree.read(path)))
    mean_bytes = sum(sizes) / len(sample)
    return 1 if mean_bytes < _BYTES_WORTH_A_THREAD else min(_MAX_THREADS, os.cpu_count() or 1)


@dataclass(frozen=True, eq=False)
class StreamedImages(TorchDataset[Any]):
    """Images decoded each time they are needed, for sets that do not fit in memory.

    labels: int64 [N]. When an image that cannot be decoded comes up in a batch, all are looked through, and a UserError names
    the broken ones. Each worker holds up to
    two batches ready, B*3*S*S bytes each. pinned: batches come in page-locked memory, from which a GPU copies unawaited.
    """

    decoder: Decoder
    paths: tuple[PurePosixPath, ...]
    labels: Tensor
    classes: tuple[str, ...]
    pinned: bool = False

    @property
    def side(self) -> int:
        return self.decoder.side

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor] | UserError:
        try:
            pixels = np.stack([self.decoder(self.paths[index]) for index in indices])
        except UserError as error:
            return error  # raised by `batches_of`
        return torch.from_numpy(pixels), self.labels[indices]

    def batches(self, indices: Sequence[Tensor], num_workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        loader: DataLoader[Any] = DataLoader(
            self,
            batch_sampler=[index_B.tolist() for index_B in indices],
            collate_fn=_as_is,
            num_workers=num_workers,
            pin_memory=self.pinned,
            generator=torch.Generator(),  # else the workers' seeds are drawn from the global random state
        )
        try:
            yield from batches_of(loader)
        except BrokenImage as error:
            raise all_broken(error, self.decoder.tree, self.paths) from error

    def subset(self, indices: Tensor) -> "StreamedImages":
        paths = tuple(self.paths[index] for index in indices.tolist())
        return replace(self, paths=paths, labels=self.labels[indices])

    def to(self, device: torch.device) -> "StreamedImages":
        return replace(self, pinned=device.type == "cuda")


def _as_is(batch: Any) -> Any:
    return batch
