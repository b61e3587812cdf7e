"""Cutting a training set into parts, reproducibly and on record."""

import hashlib
from typing import Literal

import torch
from torch import Tensor

from nas_lightning.data.images import ImageSet
from nas_lightning.errors import UserError, is_number, is_whole

SplitMode = Literal["seed", "index"]

# Held-out test images must never move between the training and the test side, so no run seed enters here.
_HOLD_OUT_SEED = 0


def check_fraction(name: str, fraction: float) -> None:
    if not (is_number(fraction) and 0 < fraction < 1):
        raise UserError(f"{name}={fraction} is no share of the images; give a number between 0 and 1, both excluded.")


def split_indices(count: int, fraction: float, mode: SplitMode, seed: int) -> tuple[Tensor, Tensor]:
    """Indices 0..count-1 in two parts, the first of round(count * fraction).

    `index` cuts the data set's own order (DARTS family); `seed` cuts a permutation drawn from `seed`.
    """
    if mode == "index":
        order = torch.arange(count)
    elif mode == "seed":
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    else:
        raise UserError(f"data.split={mode!r} is no way to split the training images; give seed or index.")
    first = round(count * fraction)
    return order[:first], order[first:]


def take(indices: Tensor, count: int | None, name: str) -> Tensor:
    """The first `count` of `indices` (all for None); `name` is the setting that asks for them."""
    if count is not None and not (is_whole(count, 2) and count <= len(indices)):
        raise UserError(
            f"{name}={count} cannot be had: that part of the training images holds {len(indices)}; "
            f"give 2 to {len(indices)}, or null for all."
        )
    return indices[:count]


def hold_out(images: ImageSet, fraction: float) -> tuple[ImageSet, ImageSet]:
    """Training and test images for a data set without test images: always the same `fraction` is held out."""
    check_fraction("dataset.test_fraction", fraction)
    test, train = split_indices(len(images), fraction, "seed", _HOLD_OUT_SEED)
    return images.subset(train.sort().values), images.subset(test.sort().values)


def fingerprint(indices: Tensor) -> str:
    """SHA-256 of the indices as little-endian int64, in hexadecimal."""
    return hashlib.sha256(indices.numpy().astype("<i8").tobytes()).hexdigest()
