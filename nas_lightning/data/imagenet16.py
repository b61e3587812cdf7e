"""ImageNet16-120, the third data set of NAS-Bench-201: 16x16 images of ImageNet's first 120 classes."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from nas_lightning.data.folder import Folder
from nas_lightning.data.images import Colour, Images, ImageSet, Splits, check_root, check_settings, resize
from nas_lightning.data.plain_pickle import read_plain_pickle
from nas_lightning.errors import UserError, check_flag
from nas_lightning.image_tree import TRAIN_NAMES, folder_names

_log = logging.getLogger(__name__)

_NATIVE_SIDE = 16
_TRAIN_FILES = tuple(f"train_data_batch_{number}" for number in range(1, 11))
_TEST_FILES = ("val_data",)
_COUNTS = (151_700, 6_000)
# As AutoDL-Projects writes them.
_MEAN: Colour = (122.68 / 255, 116.66 / 255, 104.01 / 255)
_STD: Colour = (63.22 / 255, 61.26 / 255, 65.09 / 255)


@dataclass(frozen=True)
class ImageNet16_120:
    """151,700 training and 6,000 test images (arXiv 1707.08819; its validation images are the test images here).

    root: a folder with the published files `train_data_batch_1` to `_10` and `val_data`, whose labels 1 to 120 are taken, in
        the order of the files; or one with train/<class>/ and val/<class>/ of 120 classes, as for dataset=folder.
    skip_broken: of image files, as for dataset=folder.
    padding: None for an eighth of the side, the 2 pixels of AutoDL-Projects.
    """

    root: str = "data/ImageNet16"
    image_size: int | None = None
    padding: int | None = None
    flip: bool = True
    skip_broken: bool = False

    name: ClassVar[str] = "imagenet16_120"
    num_classes: ClassVar[int] = 120
    official_test: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_root(self.root)
        check_settings(self.image_size, self.padding, self.flip)
        check_flag("dataset.skip_broken", self.skip_broken)

    @property
    def side(self) -> int:
        return self.image_size or _NATIVE_SIDE

    @property
    def published_order(self) -> bool:
        """Whether `root` is read as the published files, and not as folders of images."""
        return not any(name.lower() in TRAIN_NAMES for name in folder_names(Path(self.root)))

    def load(self, progress: bool) -> Splits:
        folder = Path(self.root)
        train: ImageSet
        test: ImageSet
        if self.published_order:
            train, test = (self._of_files(folder, names) for names in (_TRAIN_FILES, _TEST_FILES))
        else:
            train, test = self._of_folder(progress)
        if (len(train), len(test)) != _COUNTS:
            _log.warning(
                "%s holds %d training and %d test images of 120 classes, where ImageNet16-120 has %d and %d.",
                folder, len(train), len(test), *_COUNTS,
            )  # fmt: skip
        return Splits(train, test, _MEAN, _STD)

    def _of_folder(self, progress: bool) -> tuple[ImageSet, ImageSet]:
        images = Folder(self.root, image_size=self.side, skip_broken=self.skip_broken)
        splits = images.load(progress)
        if images.num_classes != self.num_classes or splits.test is None:
            raise UserError(
                f"{self.root}/train has {images.num_classes} class folders and {'no' if splits.test is None else 'its'} "
                f"test images; dataset={self.name} needs {self.num_classes} of ImageNet's, in train/ and in val/."
            )
        return splits.train, splits.test

    def _of_files(self, folder: Path, names: tuple[str, ...]) -> Images:
        missing = [name for name in names if not os.path.isfile(folder / name)]
        if missing:
            raise UserError(
                f"dataset={self.name} lacks {', '.join(missing)} in {folder.absolute()}; put the published files of the 16x16 "
                "images there, or give the folder that has them as dataset.root."
            )
        pixels, labels = zip(*self._batches(folder, names), strict=True)
        together = torch.from_numpy(np.concatenate(pixels))
        classes = tuple(str(number) for number in range(1, self.num_classes + 1))
        return Images(resize(together, self.side), torch.from_numpy(np.concatenate(labels)), classes)

    def _batches(self, folder: Path, names: tuple[str, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of each file the images of our classes, uint8 [N, 3, 16, 16], and their labels from 0."""
        for name in names:
            content = read_plain_pickle(folder / name)
            try:
                data, labels = np.asarray(content["data"]), np.asarray(content["labels"])
                whole = data.shape == (len(labels), 3 * _NATIVE_SIDE**2) and data.dtype == np.uint8
                whole = whole and labels.ndim == 1 and labels.dtype.kind in "iu"
            except (KeyError, TypeError, ValueError):
                whole = False
            if not whole:
                raise UserError(
                    f"{folder / name} holds no `data` of uint8 rows of {3 * _NATIVE_SIDE**2} with as many whole `labels`; give "
                    "the published file of the 16x16 images."
                )
            ours = (labels >= 1) & (labels <= self.num_classes)
            yield data[ours].reshape(-1, 3, _NATIVE_SIDE, _NATIVE_SIDE), labels[ours].astype(np.int64) - 1
