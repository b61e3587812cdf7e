"""Labelled images as every data set hands them over. Letters: N images, B batch, S side in pixels."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from nas_lightning.errors import UserError, check_flag, is_whole
from nas_lightning.image_tree import check_image_size

Colour = tuple[float, float, float]

_STATISTICS_PIXELS = 2**20  # at once; each becomes an int64


class ImageSet(Protocol):
    """N square RGB images of side `side` with class labels, wherever they are kept.

    labels: int64 [N], in 0..len(classes)-1. classes: the class names.
    """

    @property
    def labels(self) -> Tensor: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def side(self) -> int: ...
    def __len__(self) -> int: ...

    def batches(self, indices: Sequence[Tensor], num_workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        """For each int64 [B] of `indices` (on the CPU): uint8 [B, 3, S, S] and int64 [B]."""
        ...

    def subset(self, indices: Tensor) -> "ImageSet": ...

    def to(self, device: torch.device) -> "ImageSet":
        """Keep the images on `device`, if they are held in memory at all; else make batches ready for copying there."""
        ...


@dataclass(frozen=True, eq=False)
class Images:
    """Images held as one tensor, N*3*S*S bytes. pixels: uint8 [N, 3, S, S]; labels: int64 [N]."""

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        count, channels, *sides = (*self.pixels.shape, *[0] * (4 - self.pixels.dim()))
        square = channels == 3 and len(sides) == 2 and sides[0] == sides[1]
        kinds = self.pixels.dtype, self.labels.dtype
        if not square or self.labels.shape != (count,) or kinds != (torch.uint8, torch.int64):
            raise UserError(
                f"dataset: images are uint8 [N, 3, S, S] and labels int64 [N], got {kinds[0]} {[*self.pixels.shape]} and "
                f"{kinds[1]} {[*self.labels.shape]}; see docs/extending.md."
            )

    @property
    def side(self) -> int:
        return self.pixels.shape[-1]

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, indices: Sequence[Tensor], num_workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Slices of the tensor; there is nothing that workers could do."""
        order_N = copy_ahead(torch.cat(list(indices)), self.labels.device)
        for index_B in order_N.split([len(index_B) for index_B in indices]):
            yield self.pixels[index_B], self.labels[index_B]

    def subset(self, indices: Tensor) -> "Images":
        return Images(self.pixels[indices], self.labels[indices], self.classes)

    def to(self, device: torch.device) -> "Images":
        return Images(self.pixels.to(device), self.labels.to(device), self.classes)


@dataclass(frozen=True)
class Splits:
    """What `Dataset.load` returns; mean and std are per channel, for pixel values scaled to [0, 1].

    test_fraction: the share of all images that is held out as `test`; None where the test images are the data set's own.
    """

    train: ImageSet
    test: ImageSet | None
    mean: Colour
    std: Colour
    test_fraction: float | None = None


class Dataset(Protocol):
    """A frozen dataclass of settings that can load its images.

    name: for the report. padding: width of the random crop's black border in pixels. flip: whether a mirrored image
    is still of its class. side: of the loaded images; `num_classes` and `side` are known without loading them.
    `official_test = True` beside those says that the test images are the published ones, on which results are compared;
    `published_order = True` that all images are in the order of the published files, as lists of them count.
    """

    @property
    def name(self) -> str: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def side(self) -> int: ...
    @property
    def padding(self) -> int | None: ...
    @property
    def flip(self) -> bool: ...

    def load(self, progress: bool) -> Splits:
        """Read, decode and resize everything; `progress` shows a bar where that takes long. Raises UserError."""
        ...


def check_splits(dataset: Dataset, loaded: object) -> None:
    """UserError where `loaded` is not what `dataset` has said of its images: their side and classes."""
    name = f"dataset {dataset.name}"
    if not isinstance(loaded, Splits):
        raise UserError(f"{name}: load gives {type(loaded).__name__}, no Splits; see docs/extending.md.")
    for images in filter(None, (loaded.train, loaded.test)):
        if images.side != dataset.side:
            raise UserError(
                f"{name}: its images have side {images.side} where it says {dataset.side}; correct its class."
            )
        lowest, highest = images.labels.aminmax() if len(images) else (0, 0)
        if not 0 <= lowest <= highest < dataset.num_classes:
            raise UserError(
                f"{name}: its labels go from {int(lowest)} to {int(highest)} where it says num_classes="
                f"{dataset.num_classes}, from 0; correct its class."
            )
        if len(images.classes) != dataset.num_classes:
            raise UserError(
                f"{name}: it names {len(images.classes)} classes where it says num_classes={dataset.num_classes}; correct its "
                "class."
            )


def copy_ahead(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`; a GPU is given the copy to do in its turn, from page-locked memory, and not waited for."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def check_settings(image_size: int | None, padding: int | None, flip: bool) -> None:
    """Reject nonsense in the settings that all data sets share."""
    check_flag("dataset.flip", flip)
    check_image_size(image_size)
    if padding is not None and not is_whole(padding, 0):
        raise UserError(
            f"dataset.padding={padding} is no number of pixels; give 0 or more pixels, or null for image_size/8."
        )


def check_root(root: str) -> None:
    """Reject what names no folder: to YAML a number is none, and null would be looked for as a folder called None."""
    if not isinstance(root, str | Path) or root == "":
        raise UserError(f"dataset.root={root!r} is no folder; give the path of one, such as ./{root or 'data'}.")


def check_download(root: str, place: str) -> None:
    """UserError where `root` names a folder that is not there: misspelt, it would be made and filled.

    place: where a data set is looked for, and made, unless another is named.
    """
    if Path(root) != Path(place) and not os.path.isdir(root):
        raise UserError(
            f"dataset.root={root} does not exist (looked for {Path(root).absolute()}); give the folder that has the data set, "
            "or make this one to have it downloaded there."
        )


def resize(pixels: Tensor, side: int) -> Tensor:
    """Resize uint8 [N, 3, S, S] to `side` x `side`, bilinear with antialiasing, as Pillow does."""
    if pixels.shape[-2:] == (side, side):
        return pixels
    return F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False, antialias=True)


def channel_statistics(images: ImageSet, at_most: int | None = None) -> tuple[Colour, Colour]:
    """Mean and standard deviation of each channel over all pixels, scaled to [0, 1], from exact counts of the values.

    `at_most` takes that many evenly spaced images instead of all. A constant channel gets the deviation 1/255, so
    that normalising stays finite.
    """
    count = len(images) if at_most is None else min(at_most, len(images))
    sample = torch.arange(count) * len(images) // count
    histogram = torch.zeros(3, 256, dtype=torch.float64)
    for pixels, _ in images.batches(sample.split(max(1, _STATISTICS_PIXELS // images.side**2)), num_workers=0):
        for channel in range(3):
            histogram[channel] += torch.bincount(pixels[:, channel].flatten(), minlength=256)
    value = torch.arange(256) / 255
    share = histogram / histogram.sum(1, keepdim=True)
    mean = share @ value.double()
    std = ((share * (value - mean[:, None]) ** 2).sum(1)).sqrt().clamp_min(1 / 255)
    return _colour(mean), _colour(std)


def _colour(values: Tensor) -> Colour:
    red, green, blue = values.tolist()
    return red, green, blue
