"""A user's own images: a tree of class folders, or a zip of one."""

import logging
import os
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import PurePosixPath
from typing import Literal

import torch

from nas_lightning.data.cache import cache_folder, check_cache, decode_once
from nas_lightning.data.decode import (
    Decoder,
    StreamedImages,
    chosen_side,
    find_broken,
    named,
    native_side,
    refusal,
    sampled_sizes,
)
from nas_lightning.data.images import Images, ImageSet, Splits, channel_statistics, check_settings
from nas_lightning.data.split import check_fraction, hold_out
from nas_lightning.errors import UserError, check_flag, is_number
from nas_lightning.image_tree import (
    TEST_NAMES,
    TRAIN_NAMES,
    BrokenImage,
    ImageTree,
    check_class_size,
    check_named,
    open_tree,
)

_log = logging.getLogger(__name__)

_STREAMED_STATISTICS = 2000
_UNBALANCED = 3  # times as many images of one class as of another


@dataclass(frozen=True)
class Folder:
    """Images in `<root>/<class>/` or `<root>/train/<class>/`; `root` is a folder or a .zip, which is never unpacked.

    Splits may be called train or training and test, testing, val, valid or validation, in any case. Classes are the folder
    names in sorted order, also for the test images. Images are ordered so that every stretch
    holds the classes in proportion: a split by index is therefore balanced too.

    root: relative to the working directory.
    test_root: test images, laid out alike; without it, `<root>/test`, or else `<root>/val`, beside `<root>/train`.
    test_fraction: without either of those, the share of each class that is held out as test images; null for none.
    image_size: centre square scaled to this side in pixels; `auto` chooses one, see `chosen_side`; null keeps images that all
        have one size, and refuses others.
    flip: whether a mirrored image still belongs to its class.
    memory_limit_gb: decoded training plus test images above this many 10^9 bytes are decoded batch by batch; below,
        they take N*3*S*S bytes, and with test_fraction twice that while loading.
    cache: folder that keeps decoded images which fit in memory for the next run: `auto` is the user's cache folder, null
        keeps nothing.
    skip_broken: leave out, and count, images that cannot be decoded, instead of refusing the data set. Where images are
        decoded batch by batch this costs a look at all of them at the start.
    """

    root: str = ""
    test_root: str | None = None
    test_fraction: float | None = None
    image_size: int | Literal["auto"] | None = "auto"
    padding: int | None = None
    flip: bool = True
    memory_limit_gb: float = 4.0
    cache: str | None = "auto"
    skip_broken: bool = False
    name: str = "folder"

    def __post_init__(self) -> None:
        check_named(self.root)
        check_settings(None if self.image_size == "auto" else self.image_size, self.padding, self.flip)
        check_cache(self.cache)
        check_flag("dataset.skip_broken", self.skip_broken)
        if not (is_number(self.memory_limit_gb) and self.memory_limit_gb >= 0):
            raise UserError(
                f"dataset.memory_limit_gb={self.memory_limit_gb} is no size of 0 or more; give 0 to keep nothing in memory."
            )
        if self.test_fraction is not None:
            check_fraction("dataset.test_fraction", self.test_fraction)

    @property
    def num_classes(self) -> int:
        return len(self._train_files)

    @cached_property
    def side(self) -> int:
        if isinstance(self.image_size, int):
            return self.image_size
        if self.image_size is None:
            return native_side(self._tree, self._train_paths)
        side = chosen_side(self._sizes)
        _log.info("%s: images of %d pixels, as dataset.image_size=auto chooses.", self.root, side)
        return side

    def summary(self, is_weighted: bool = False) -> list[str]:
        """What a reader should know before anything is trained, line by line; no image is decoded.

        is_weighted: whether the loss weights the classes.
        """
        test_tree, test_files = self._test_files(tuple(self._train_files))
        counts = {name: len(paths) for name, paths in self._train_files.items()}
        lines = [f"{self.root}: {sum(counts.values()):,} images of {len(counts)} classes, used at {self.side} pixels."]
        lines += [f"  {count:7,} {name}" for name, count in counts.items()]
        if self.skip_broken:
            lines.append(
                "Those that cannot be decoded are still among these; they are named and left out when they are read."
            )
        (narrow, low), (wide, high) = (tuple(map(end, zip(*self._sizes, strict=True))) for end in (min, max))
        if (narrow, low) != (wide, high):
            lines.append(
                f"They are {narrow} to {wide} pixels wide and {low} to {high} high; the largest centred square is used."
            )
        if test_files:
            tested = sum(map(len, test_files.values()))
            lines.append(f"{tested:,} test images are in {test_tree.place}, apart from these.")
        elif self.test_fraction is not None:
            lines.append(
                f"{self.test_fraction:.0%} of each class are held out as test images, which nothing is trained on."
            )
        rarest, commonest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        if counts[commonest] > _UNBALANCED * counts[rarest]:
            remedy = "they are weighted" if is_weighted else "data.balance=true weights them"
            lines.append(
                f"The classes are unbalanced: {counts[commonest]:,} of {commonest}, {counts[rarest]:,} of {rarest}; {remedy}."
            )
        return lines

    def load(self, progress: bool) -> Splits:
        classes = tuple(self._train_files)
        test_tree, test_files = self._test_files(classes)
        files = [*self._train_files.values(), *test_files.values()]
        gigabytes = sum(map(len, files)) * 3 * self.side**2 / 1e9
        streamed = gigabytes > self.memory_limit_gb
        if streamed:
            _log.info(
                "%s would take %.2f GB in memory, over dataset.memory_limit_gb=%s: it is decoded batch by batch, "
                "by as many processes a loader as data.num_workers says.", self.root, gigabytes, self.memory_limit_gb,
            )  # fmt: skip
        parts = [self._image_set(self._tree, self._train_files, classes, streamed, progress)]
        if test_files:
            parts.append(self._image_set(test_tree, test_files, classes, streamed, progress))
        train, *tests = self._whole(parts)
        self._check_classes(train)
        test = tests[0] if tests else None
        held_out = self.test_fraction if test is None else None
        if held_out is not None:
            train, test = hold_out(train, held_out)
        return Splits(train, test, *channel_statistics(train, _STREAMED_STATISTICS if streamed else None), held_out)

    @cached_property
    def _tree(self) -> ImageTree:
        return open_tree(self.root, "dataset.root")

    @cached_property
    def _train_files(self) -> dict[str, list[PurePosixPath]]:
        return self._tree.class_images(self._tree.class_parent(TRAIN_NAMES))

    @property
    def _train_paths(self) -> list[PurePosixPath]:
        return [*chain.from_iterable(self._train_files.values())]

    @cached_property
    def _sizes(self) -> list[tuple[int, int]]:
        return sampled_sizes(self._tree, self._train_paths)

    def _test_files(self, classes: tuple[str, ...]) -> tuple[ImageTree, dict[str, list[PurePosixPath]]]:
        """The tree and class -> files of the test images; no classes where there are no test images."""
        if self.test_root is not None:
            tree = open_tree(self.test_root, "dataset.test_root")
            parent = tree.class_parent(TEST_NAMES)
            same_place = os.path.realpath(self.test_root) == os.path.realpath(self.root)
            if same_place and parent == self._tree.class_parent(TRAIN_NAMES):
                raise UserError(
                    f"dataset.test_root={self.test_root} holds the training images; give others, or null and "
                    "dataset.test_fraction=0.2 to hold some out."
                )
        else:
            tree = self._tree
            train = tree.class_parent(TRAIN_NAMES)
            beside = tree.split_folder(train.parent, TEST_NAMES)
            if train.name.lower() not in TRAIN_NAMES or beside is None:
                return tree, {}
            parent = beside
        files = tree.class_images(parent)
        for name in files:
            if name not in classes:
                raise UserError(
                    f"the test class folder {tree.place / parent / name} has no counterpart among the training classes "
                    f"{', '.join(classes[:10])}{', ...' if len(classes) > 10 else ''}; rename or remove it."
                )
        return tree, files

    def _image_set(
        self,
        tree: ImageTree,
        files: dict[str, list[PurePosixPath]],
        classes: tuple[str, ...],
        streamed: bool,
        progress: bool,
    ) -> tuple[ImageSet, dict[int, BrokenImage]]:
        """The images of `files`, and which of them are broken by position; streamed ones are looked at only to be skipped."""
        placed = [
            (position / len(paths), classes.index(name), path)
            for name, paths in files.items()
            for position, path in enumerate(paths)
        ]
        placed.sort()
        paths = tuple(path for _, _, path in placed)
        labels = torch.tensor([label for _, label, _ in placed])
        decoder = Decoder(tree, self.side, resize=self.image_size is not None)
        if streamed:
            broken = find_broken(tree, paths, progress) if self.skip_broken else {}
            return StreamedImages(decoder, paths, labels, classes), broken
        pixels, broken = decode_once(decoder, paths, cache_folder(self.cache), progress)
        return Images(pixels, labels, classes), broken

    def _whole(self, parts: list[tuple[ImageSet, dict[int, BrokenImage]]]) -> list[ImageSet]:
        """The parts without their broken images; UserError that names these unless they are to be skipped."""
        everything: dict[int, BrokenImage] = {}
        count = 0
        for images, broken in parts:
            everything |= {count + position: each for position, each in broken.items()}
            count += len(images)
        if not everything:
            return [images for images, _ in parts]
        if not self.skip_broken:
            raise refusal(everything, count)
        _log.warning("%s cannot be decoded and are left out (dataset.skip_broken=true).", named(everything, count))
        return [
            images.subset(
                torch.tensor([index for index in range(len(images)) if index not in broken], dtype=torch.int64)
            )
            for images, broken in parts
        ]

    def _check_classes(self, train: ImageSet) -> None:
        """UserError for a class that cannot have an image in both halves of a search."""
        counts = torch.bincount(train.labels, minlength=len(train.classes)).tolist()
        for name, count in zip(train.classes, counts, strict=True):
            check_class_size(name, self.root, count)
