"""A user's own images: a tree of class folders, or a zip of one."""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import torch

from nas_lightning.data.cache import cache_folder, check_cache, decode_once
from nas_lightning.data.decode import Decoder, StreamedImages, native_side
from nas_lightning.data.image_tree import ImageTree, open_tree
from nas_lightning.data.images import Images, ImageSet, Splits, channel_statistics, check_settings
from nas_lightning.data.split import check_fraction, hold_out
from nas_lightning.errors import UserError, is_number

_log = logging.getLogger(__name__)

_TRAIN = ("train",)
_TEST = ("test", "val")
_STREAMED_STATISTICS = 2000


@dataclass(frozen=True)
class Folder:
    """Images in `<root>/<class>/` or `<root>/train/<class>/`; `root` is a folder or a .zip, which is never unpacked.

    Classes are the folder names in sorted order, also for the test images. Images are ordered so that every stretch
    holds the classes in proportion: a split by index is therefore balanced too.

    root: relative to the working directory.
    test_root: test images, laid out alike; without it, `<root>/test` or `<root>/val` beside `<root>/train`.
    test_fraction: without either of those, the share of the images that is held out as test images; null for none.
    image_size: centre square scaled to this side in pixels; null keeps images that all have one size.
    flip: whether a mirrored image still belongs to its class.
    memory_limit_gb: decoded training plus test images above this many 10^9 bytes are decoded batch by batch; below,
        they take N*3*S*S bytes, and with test_fraction twice that while loading.
    cache: folder that keeps decoded images which fit in memory for the next run: `auto` is the user's cache folder, null
        keeps nothing.
    """

    root: str = ""
    test_root: str | None = None
    test_fraction: float | None = None
    image_size: int | None = None
    padding: int | None = None
    flip: bool = True
    memory_limit_gb: float = 4.0
    cache: str | None = "auto"
    name: str = "folder"

    def __post_init__(self) -> None:
        if not self.root:
            raise UserError(
                "dataset=folder needs images; give a folder or zip with <class>/<image> as dataset.root=PATH."
            )
        check_settings(self.image_size, self.padding, self.flip)
        check_cache(self.cache)
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
        return self.image_size or native_side(self._tree, self._train_files[min(self._train_files)][0])

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
        train = self._image_set(self._tree, self._train_files, classes, streamed, progress)
        test: ImageSet | None = None
        if test_files:
            test = self._image_set(test_tree, test_files, classes, streamed, progress)
        elif self.test_fraction is not None:
            train, test = hold_out(train, self.test_fraction)
        return Splits(train, test, *channel_statistics(train, _STREAMED_STATISTICS if streamed else None))

    @cached_property
    def _tree(self) -> ImageTree:
        return open_tree(self.root, "dataset.root")

    @cached_property
    def _train_files(self) -> dict[str, list[PurePosixPath]]:
        return self._tree.class_images(self._tree.class_parent(_TRAIN))

    def _test_files(self, classes: tuple[str, ...]) -> tuple[ImageTree, dict[str, list[PurePosixPath]]]:
        """The tree and class -> files of the test images; no classes where there are no test images."""
        if self.test_root is not None:
            tree = open_tree(self.test_root, "dataset.test_root")
            parent = tree.class_parent(_TEST)
        else:
            tree = self._tree
            train = tree.class_parent(_TRAIN)
            beside = [train.parent / name for name in _TEST if tree.folders.get(train.parent / name)]
            if train.name not in _TRAIN or not beside:
                return tree, {}
            parent = beside[0]
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
    ) -> ImageSet:
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
            return StreamedImages(decoder, paths, labels, classes)
        return Images(decode_once(decoder, paths, cache_folder(self.cache), progress), labels, classes)
