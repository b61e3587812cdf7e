"""Cutting a set of images into parts, reproducibly and on record."""

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from nas_lightning.data.images import ImageSet, Splits
from nas_lightning.errors import UserError, is_number, is_whole

SplitMode = Literal["seed", "index", "file", "nas_bench_201"]

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


def nas_bench_201_halves(dataset: str, names: tuple[str, str], count: int) -> tuple[Tensor, Tensor]:
    """The two halves of indices 0..count-1, each in order, into which NAS-Bench-201's programs cut these images of `dataset`.

    AutoDL-Projects' lists (MIT): CIFAR-10's training images ("train", "valid"), and the test images of CIFAR-100 and
    ImageNet16-120 ("xvalid", "xtest"). UserError for other images.
    """
    text = resources.files("nas_lightning.data").joinpath("nas_bench_201_splits.json").read_text(encoding="utf-8")
    lists = json.loads(text)["lists"]
    own = lists.get(dataset, {"parts": None, "images": None})
    if (own["parts"], own["images"]) != ([*names], count):
        raise UserError(
            f"data.split=nas_bench_201 has no list for the {count:,} {'test' if 'xtest' in names else 'training'} images of "
            f"dataset {dataset}, but for the 50,000 training images of cifar10 and for the test images of cifar100 and "
            "imagenet16_120; set data.split=seed."
        )
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(own["first"]), dtype=np.uint8), count=count)
    is_first = torch.from_numpy(bits.astype(bool))
    return is_first.nonzero().flatten(), (~is_first).nonzero().flatten()


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
    """Training and test images for a data set without test images: always the same `fraction` of each class is held out.

    A smaller fraction of the same images is a part of a larger one.
    """
    check_fraction("dataset.test_fraction", fraction)
    train, test = held_out_indices(images.labels, fraction)
    return images.subset(train), images.subset(test)


def held_out_indices(labels: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """Indices of the images of `labels`, int64 [N], that are kept and that are held out, each in order; always the same.

    Of a class of n images round(n * fraction) are held out, half an image as one.
    """
    ranks, counts = _hold_out_ranks(labels)
    is_held_out = ranks < (counts.double() * fraction + 0.5).floor()
    return (~is_held_out).nonzero().flatten(), is_held_out.nonzero().flatten()


def _hold_out_ranks(labels: Tensor) -> tuple[Tensor, Tensor]:
    """[N] as the how many-th of its class each image is held out, and how many images its class has."""
    labels = labels.cpu()
    order = image_order(len(labels), "seed", _HOLD_OUT_SEED)
    by_class = order[labels[order].argsort(stable=True)]
    counts = torch.bincount(labels)
    ranks = torch.empty_like(labels)
    ranks[by_class] = torch.cat([torch.arange(count) for count in counts.tolist()])
    return ranks, counts[labels]


def fingerprint(indices: Tensor) -> str:
    """SHA-256 of the indices as little-endian int64, in hexadecimal."""
    return hashlib.sha256(indices.numpy().astype("<i8").tobytes()).hexdigest()


def hold_out_fingerprint(splits: Splits) -> str:
    """`fingerprint` of how as many images of each class are held out: equal wherever `hold_out` holds the same ones out."""
    held_out = [] if splits.test is None or splits.test_fraction is None else [splits.test.labels]
    labels = torch.cat([splits.train.labels, *held_out]).cpu()
    return fingerprint(torch.stack(_hold_out_ranks(labels.sort().values)))
