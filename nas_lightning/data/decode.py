"""Image files to uint8 tensors: all at once into memory, or batch by batch in workers."""

import io
import os
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from nas_lightning.data.image_tree import ImageTree
from nas_lightning.data.workers import batches_of
from nas_lightning.errors import UserError

_CHUNK = 256
_MAX_THREADS = 8
# Threads pay only where decoding (which releases the interpreter lock) outweighs Python's share of each image:
# with 32x32 JPEGs of 1 kB two threads are slower than one.
_BYTES_WORTH_A_THREAD = 4096

_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, Image.DecompressionBombError)


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
        """uint8 [3, S, S]. Greyscale, palette and 16-bit images become RGB; transparency is dropped."""
        data = self.tree.read(path)
        try:
            with Image.open(io.BytesIO(data)) as image:
                rgb = _to_rgb(image)
        except _PILLOW_ERRORS as error:
            raise _undecodable(self.tree, path, error) from error
        if rgb.size != (self.side, self.side):
            if not self.resize:
                raise UserError(
                    f"the image {path} in {self.tree.place} is {rgb.width}x{rgb.height} where the first one is "
                    f"{self.side}x{self.side}; give dataset.image_size to bring all images to one size."
                )
            rgb = _centre_square(rgb).resize((self.side, self.side), Image.Resampling.BILINEAR)
        return np.asarray(rgb).transpose(2, 0, 1)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow would clip at 255 instead of scaling
        grey = np.asarray(image).astype(np.int64) // 257
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _centre_square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _undecodable(tree: ImageTree, path: PurePosixPath, error: Exception) -> UserError:
    reason = "no image that Pillow knows" if isinstance(error, Image.UnidentifiedImageError) else error
    return UserError(f"the image {path} in {tree.place} cannot be decoded ({reason}); repair or remove it.")


def native_side(tree: ImageTree, path: PurePosixPath) -> int:
    """Side of the first image, for a data set whose images are kept as they are."""
    try:
        with Image.open(io.BytesIO(tree.read(path))) as image:
            width, height = image.size
    except _PILLOW_ERRORS as error:
        raise _undecodable(tree, path, error) from error
    if width != height:
        raise UserError(
            f"the image {path} in {tree.place} is {width}x{height}, not square; give dataset.image_size to resize all."
        )
    return width


def decode_all(decoder: Decoder, paths: Sequence[PurePosixPath], progress: bool) -> Tensor:
    """uint8 [N, 3, S, S] of all `paths`, with a progress bar on a terminal."""
    pixels = np.empty((len(paths), 3, decoder.side, decoder.side), np.uint8)

    def fill(start: int) -> int:
        chunk = paths[start : start + _CHUNK]
        for offset, path in enumerate(chunk):
            pixels[start + offset] = decoder(path)
        return len(chunk)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, transient=True, disable=not (progress and get_console().is_terminal)) as bar,
        ThreadPoolExecutor(_threads(decoder.tree, paths)) as pool,
    ):
        what = f"Decoding {decoder.tree.place.name} ({pixels.nbytes / 1e9:.2f} GB in memory)"
        task = bar.add_task(what, total=len(paths))
        chunks = [pool.submit(fill, start) for start in range(0, len(paths), _CHUNK)]
        try:
            for chunk in as_completed(chunks):
                bar.advance(task, chunk.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return torch.from_numpy(pixels)


def _threads(tree: ImageTree, paths: Sequence[PurePosixPath]) -> int:
    sample = paths[:: max(1, len(paths) // 16)]
    mean_bytes = sum(len(tree.read(path)) for path in sample) / len(sample)
    return 1 if mean_bytes < _BYTES_WORTH_A_THREAD else min(_MAX_THREADS, os.cpu_count() or 1)


@dataclass(frozen=True, eq=False)
class StreamedImages(TorchDataset[Any]):
    """Images decoded each time they are needed, for sets that do not fit in memory.

    labels: int64 [N]. An image that cannot be decoded raises UserError when its batch comes up. Each worker holds up to
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
        yield from batches_of(loader)

    def subset(self, indices: Tensor) -> "StreamedImages":
        paths = tuple(self.paths[index] for index in indices.tolist())
        return replace(self, paths=paths, labels=self.labels[indices])

    def to(self, device: torch.device) -> "StreamedImages":
        return replace(self, pinned=device.type == "cuda")


def _as_is(batch: Any) -> Any:
    return batch
