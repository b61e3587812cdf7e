"""ImageNet, or any image folder, at full resolution: torchvision's transforms in worker processes.

Letters: B batch, S side in pixels.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import v2

from nas_lightning.data.datamodules import SizedDataModule, at_least
from nas_lightning.data.decode import all_broken, find_broken, named, read_rgb
from nas_lightning.data.images import Colour, Splits, check_root
from nas_lightning.data.workers import batches_of
from nas_lightning.errors import UserError, check_flag, check_whole, is_number
from nas_lightning.image_tree import TRAIN_NAMES, BrokenImage, ImageTree, open_tree
from nas_lightning.streams import stream_seed

_log = logging.getLogger(__name__)

_VAL_NAMES = ("val", "valid", "validation")  # ImageNet's test images have no classes

MEAN: Colour = (0.485, 0.456, 0.406)
STD: Colour = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImageNet:
    """`root`, a folder or a zip, holds train/<class>/<image> and val/<class>/<image>, with the same classes in both.

    They may be called training, and valid or validation, in any case.

    num_classes: of the folder (ImageNet: 1000); known here, so that networks can be counted without the images.
    image_size: side S of the images that the network sees. resize: side to which the short side of a test image is
    scaled before its centre is cut out. flip: mirror half of the training images. colour_jitter: of brightness, contrast,
    saturation and hue. skip_broken: leave out, and count, images that cannot be decoded, by a look at all of them at the
    start; otherwise the first one that comes up ends the run with the names of all.
    """

    root: str = ""
    num_classes: int = 1000
    image_size: int = 224
    resize: int = 256
    flip: bool = True
    colour_jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.2)
    skip_broken: bool = False

    name: ClassVar[str] = "imagenet"
    padding: ClassVar[int] = 0  # crops are cut out of the image, not out of a border

    def __post_init__(self) -> None:
        for key, value in (("num_classes", self.num_classes), ("image_size", self.image_size), ("resize", self.resize)):
            check_whole(f"dataset.{key}", value, 2)
        if self.root != "":  # without images a network is counted
            check_root(self.root)
        check_flag("dataset.flip", self.flip)
        check_flag("dataset.skip_broken", self.skip_broken)
        if self.resize < self.image_size:
            raise UserError(f"dataset.resize={self.resize} must not be below dataset.image_size={self.image_size}.")
        jitter = self.colour_jitter
        if (
            not isinstance(jitter, list | tuple)
            or len(jitter) != 4
            or not all(is_number(j) and 0 <= j <= 1 for j in jitter)
        ):
            raise UserError(f"dataset.colour_jitter must be four numbers from 0 to 1, got {jitter!r}.")

    @property
    def side(self) -> int:
        return self.image_size

    def load(self, progress: bool) -> Splits:
        """What a search would ask for: refused, since these images are never all in memory."""
        raise UserError(
            "dataset=imagenet is for training by recipe=imagenet_... alone; for anything else give its folder as "
            "dataset=folder dataset.root=PATH dataset.image_size=..."
        )

    def train_transform(self) -> Callable[[Image.Image], Tensor]:
        *others, hue = self.colour_jitter
        return v2.Compose(
            [
                v2.RandomResizedCrop(self.image_size),
                v2.RandomHorizontalFlip(0.5 if self.flip else 0.0),
                v2.ColorJitter(*others, hue=min(hue, 0.5)),
                *self._to_normalised(),
            ]
        )

    def test_transform(self) -> Callable[[Image.Image], Tensor]:
        return v2.Compose([short_side_and_centre(self.resize, self.image_size), *self._to_normalised()])

    def _to_normalised(self) -> list[Any]:
        return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]


def short_side_and_centre(resize: int, side: int) -> Callable[[Image.Image], Image.Image]:
    """Scales the short side to `resize` pixels, bilinear and antialiased, and cuts out the centre of `side`."""
    return v2.Compose([v2.Resize(resize), v2.CenterCrop(side)])


@dataclass(frozen=True)
class _Part:
    """The images of a split: paths below `tree.place`, in the order of their classes, and the number of each one's class."""

    tree: ImageTree
    paths: list[PurePosixPath]
    labels: list[int]
    classes: list[str]

    @classmethod
    def of(cls, tree: ImageTree, parent: PurePosixPath, skip_broken: bool) -> "_Part":
        files = tree.class_images(parent)
        paths = [path for each in files.values() for path in each]
        labels = [label for label, each in enumerate(files.values()) for _ in each]
        broken = find_broken(tree, paths, progress=True) if skip_broken else {}
        if broken:
            _log.warning("%s cannot be decoded and are left out (dataset.skip_broken=true).", named(broken, len(paths)))
        kept = [index for index in range(len(paths)) if index not in broken]
        return cls(tree, [paths[index] for index in kept], [labels[index] for index in kept], list(files))

    def __len__(self) -> int:
        return len(self.paths)


class _Labelled(TorchDataset[Any]):
    """(transformed image, label). An image that cannot be decoded is a UserError as a value: see `_collate`."""

    def __init__(self, part: _Part, transform: Callable[[Image.Image], Tensor]) -> None:
        self.part = part
        self.transform = transform

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> tuple[Tensor, int] | UserError:
        try:
            return self.transform(read_rgb(self.part.tree, self.part.paths[index])), self.part.labels[index]
        except BrokenImage as error:
            return error


def _collate(items: list[tuple[Tensor, int] | UserError]) -> tuple[Tensor, Tensor] | UserError:
    """A batch, or what makes one impossible: see `batches_of`."""
    images, labels = [], []
    for item in items:
        if isinstance(item, UserError):
            return item
        images.append(item[0])
        labels.append(item[1])
    return torch.stack(images), torch.tensor(labels)


class _EpochLoader:
    """(float32 [B, 3, S, S], int64 [B]): a new order and new workers each epoch, all seeded by (seed, epoch, role)."""

    def __init__(
        self, images: _Labelled, batch_size: int, num_workers: int, seed: int, epoch: Callable[[], int], shuffled: bool
    ) -> None:
        self.images = images
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.epoch = epoch
        self.shuffled = shuffled

    def __len__(self) -> int:
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + (rest > 0 and not self._drops_single(rest))

    def _drops_single(self, rest: int) -> bool:
        return self.shuffled and rest == 1  # batch statistics need two images

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # A generator function: Lightning makes iterators before it has advanced (or restored) its epoch.
        role = "imagenet-train" if self.shuffled else "imagenet-test"
        loader: DataLoader[Any] = DataLoader(
            self.images,
            self.batch_size,
            shuffle=self.shuffled,
            num_workers=self.num_workers,
            collate_fn=_collate,
            pin_memory=torch.cuda.is_available(),
            drop_last=self._drops_single(len(self.images) % self.batch_size),
            generator=torch.Generator().manual_seed(stream_seed(self.seed, self.epoch(), role)),
        )
        try:
            yield from batches_of(loader)
        except BrokenImage as error:
            raise all_broken(error, self.images.part.tree, self.images.part.paths) from error


class ImageNetData(SizedDataModule):
    """Training images by RandomResizedCrop, flip and colour jitter; test images (val/) by resize and centre crop.

    num_workers: processes that decode and transform. With the same number a run that goes on is the same to the bit.
    """

    dataset: ImageNet

    def __init__(
        self, dataset: ImageNet, batch_size: int = 128, seed: int = 0, num_workers: int = 8, test_batch_size: int = 256
    ) -> None:
        if not isinstance(dataset, ImageNet):
            raise UserError(
                "data=imagenet reads dataset=imagenet alone; give the images' folder as its dataset.root=PATH."
            )
        super().__init__(dataset, batch_size, seed, num_workers)
        self.test_batch_size = at_least("data.test_batch_size", test_batch_size, 1)

    @property
    def normalisation(self) -> tuple[Colour, Colour]:
        """Mean and standard deviation of each channel, of values in [0, 1]."""
        return MEAN, STD

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels; looks into the folders."""
        return tuple(self.folders[0].classes)

    @property
    def resize(self) -> int:
        return self.dataset.resize

    @cached_property
    def folders(self) -> tuple[_Part, _Part]:
        """Training and test images; UserError where a folder or a class is missing."""
        root = self.dataset.root
        if not root:
            raise UserError(
                "dataset=imagenet needs images; give the folder with train/<class>/ and val/<class>/ as dataset.root."
            )
        tree = open_tree(root, "dataset.root")
        found = {"train": tree.class_parent(TRAIN_NAMES), "val": tree.class_parent(_VAL_NAMES)}
        for (part, parent), names in zip(found.items(), (TRAIN_NAMES, _VAL_NAMES), strict=True):
            if parent.name.lower() not in names:
                raise UserError(
                    f"dataset.root={root!r} has no folder {part}/; give the folder with train/<class>/ and val/<class>/."
                )
        train, test = (_Part.of(tree, parent, self.dataset.skip_broken) for parent in found.values())
        for ours, theirs, part in ((train, test, "val"), (test, train, "train")):
            missing = sorted({*ours.classes} - {*theirs.classes})
            if missing:
                raise UserError(
                    f"{tree.place / found[part]} lacks {len(missing)} of the classes ({', '.join(missing[:5])}"
                    f"{', ...' if len(missing) > 5 else ''}); train and val must have the same class folders."
                )
        if len(train.classes) != self.dataset.num_classes:
            raise UserError(
                f"{tree.place / found['train']} has {len(train.classes)} class folders, but dataset.num_classes="
                f"{self.dataset.num_classes}; complete the folder or set dataset.num_classes={len(train.classes)}."
            )
        return train, test

    def split_record(self) -> dict[str, Any]:
        """What the report says about the split."""
        train, test = self.folders
        return {"mode": "train/val", "train_images": len(train), "test_images": len(test)}

    def train_dataloader(self) -> _EpochLoader:
        images = _Labelled(self.folders[0], self.dataset.train_transform())
        return _EpochLoader(images, self.batch_size, self.num_workers, self.seed, self._epoch, shuffled=True)

    def val_dataloader(self) -> _EpochLoader:
        images = _Labelled(self.folders[1], self.dataset.test_transform())
        return _EpochLoader(images, self.test_batch_size, self.num_workers, self.seed, self._epoch, shuffled=False)

    def test_dataloader(self) -> _EpochLoader:
        return self.val_dataloader()
