"""Cutting a set of images into parts, reproducibly and on record."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from nas_lightning.data.images import ImageSet, Splits
from nas_lightning.errors import UserError, is_number, is_whole

SplitMode = Literal["seed", "index", "file"]

# Of so few images a class can be missing in one part by chance.
_EXPECTED_IMAGES = 2

# Held-out images must never move between the training and the other side, so no run seed enters here.
_HOLD_OUT_SEED = 0


def check_fraction(name: str, fraction: float) -> None:
    if not (is_number(fraction) and 0 < fraction < 1):
        raise UserError(f"{name}={fraction} is no share of the images; give a number between 0 and 1, both excluded.")


def image_order(count: int, mode: SplitMode, seed: int) -> Tensor:
    """0..count-1 as they are cut: a permutation drawn from `seed`, or the data set's own order."""
    if mode == "seed":
        return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return torch.arange(count)


def split_indices(count: int, fraction: float, mode: SplitMode, seed: int) -> tuple[Tensor, Tensor]:
    """Indices 0..count-1 in two parts, the first of round(count * fraction).

    `index` cuts the data set's own order (DARTS family); `seed` cuts a permutation drawn from `seed`.
    """
    order, first = image_order(count, mode, seed), round(count * fraction)
    return order[:first], order[first:]


def read_split(path: str, names: tuple[str, str], count: int) -> tuple[Tensor, Tensor]:
    """The two lists of indices 0..count-1 that the JSON file `path` has under `names`, in its order.

    A list is of whole numbers, or as AutoDL-Projects writes its `cifar-split.txt`: ["int", ["0", "5", ...]]. The two share no
    image; images in neither are left out. UserError for anything else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"data.split_file={path} cannot be read as JSON ({' '.join(str(error).split())}); give a file such as "
            f'{{"{names[0]}": [0, 5], "{names[1]}": [1, 2]}}.'
        ) from error
    parts = []
    for name in names:
        numbers = _plain(content.get(name) if isinstance(content, dict) else None)
        if numbers is None or not all(is_whole(number, 0) and number < count for number in numbers):
            raise UserError(
                f'data.split_file={path} has no list "{name}" of indices from 0 to {count - 1}; give the file that was made '
                "for this data set."
            )
        parts.append(numbers)
    if len({*parts[0], *parts[1]}) < len(parts[0]) + len(parts[1]):
        raise UserError(f"data.split_file={path} names an image twice; each may be in one of the two lists, once.")
    return torch.tensor(parts[0], dtype=torch.int64), torch.tensor(parts[1], dtype=torch.int64)


def _plain(values: Any) -> list[Any] | None:
    """`values` if it is a list, that of AutoDL-Projects' ["int", [...]] as numbers."""
    if not isinstance(values, list):
        return None
    if len(values) == 2 and values[0] == "int" and isinstance(values[1], list):
        return [
            int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 19 else None for text in values[1]
        ]
    return values


def check_mixed(labels: Tensor, parts: tuple[Tensor, Tensor]) -> None:
    """UserError where `parts` have different classes, as the halves of a set have that is sorted by class.

    labels: int64 [N]. Classes of too few images to tell are left out.
    """
    counts = torch.stack([torch.bincount(labels[part].cpu(), minlength=int(labels.max()) + 1) for part in parts])
    share = counts.sum(1).min() / counts.sum()
    told = counts.sum(0) * share >= _EXPECTED_IMAGES
    apart = told & (counts.min(0).values == 0)
    if 3 * counts[:, apart].sum() > counts[:, told].sum():
        raise UserError(
            f"data.split=index would give {int(apart.sum())} of the {int(told.sum())} classes to one part alone, for the "
            "images are sorted by class; set data.split=seed."
        )


def take(indices: Tensor, count: int | None, name: str) -> Tensor:
    """The first `count` of `indices` (all for None); `name` is the setting that asks for them."""
    if count is not None and not (is_whole(count, 2) and count <= len(indices)):
        raise UserError(
            f"{name}={count} cannot be had: that part of the images holds {len(indices)}; "
            f"give 2 to {len(indices)}, or null for all."
        )
    return indices[:count]


def hold_out(images: ImageSet, fraction: float) -> tuple[ImageSet, ImageSet]:
    """Training and test images for a data set without test images: always the same `fraction` is held out.

    A smaller fraction of the same images is a part of a larger one.
    """
    check_fraction("dataset.test_fraction", fraction)
    train, test = held_out_indices(len(images), fraction)
    return images.subset(train), images.subset(test)


def held_out_indices(count: int, fraction: float) -> tuple[Tensor, Tensor]:
    """Indices 0..count-1 that are kept and that are held out, round(count * fraction), each in order; always the same."""
    held_out, kept = split_indices(count, fraction, "seed", _HOLD_OUT_SEED)
    return kept.sort().values, held_out.sort().values


def fingerprint(indices: Tensor) -> str:
    """SHA-256 of the indices as little-endian int64, in hexadecimal."""
    return hashlib.sha256(indices.numpy().astype("<i8").tobytes()).hexdigest()


def class_counts_fingerprint(splits: Splits) -> str:
    """`fingerprint` of the number of images of each class, held-out ones included: equal wherever `hold_out` cuts them."""
    held_out = [] if splits.test is None or splits.test_fraction is None else [splits.test.labels]
    labels = torch.cat([splits.train.labels, *held_out]).cpu()
    return fingerprint(torch.bincount(labels, minlength=len(splits.train.classes)))
