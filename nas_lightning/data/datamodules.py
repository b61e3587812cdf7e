"""The LightningDataModules of images held as bytes: for the search and for training a found network from scratch."""

from functools import cached_property
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.combined_loader import CombinedLoader

from nas_lightning.data.augment import Transform
from nas_lightning.data.images import Colour, Dataset, ImageSet, Splits, check_splits
from nas_lightning.data.loader import BatchLoader, Order
from nas_lightning.data.split import SplitMode, check_fraction, fingerprint, split_indices, take
from nas_lightning.errors import UserError, check_flag, is_whole


class _Sizes(Protocol):
    """What is known of a data set before any image is read."""

    @property
    def num_classes(self) -> int: ...
    @property
    def side(self) -> int: ...


class SizedDataModule(pl.LightningDataModule):
    """What all data modules share: sizes known before any image is read, and the trainer's epoch."""

    dataset: _Sizes

    def __init__(self, dataset: _Sizes, batch_size: int, seed: int, num_workers: int) -> None:
        super().__init__()
        self.dataset = dataset
        self.batch_size = at_least("data.batch_size", batch_size, 2)  # batch statistics need two images
        self.seed = seed
        self.num_workers = at_least("data.num_workers", num_workers, 0)

    @property
    def num_classes(self) -> int:
        return self.dataset.num_classes

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return self.dataset.side

    def _epoch(self) -> int:
        return 0 if self.trainer is None else self.trainer.current_epoch


class _DataModule(SizedDataModule):
    """What both share: the loaded data set, its transforms and the trainer's device."""

    dataset: Dataset

    def __init__(self, dataset: Dataset, batch_size: int, seed: int, num_workers: int, progress: bool) -> None:
        super().__init__(dataset, batch_size, seed, num_workers)
        check_flag("data.progress", progress)
        self.progress = progress

    @property
    def normalisation(self) -> tuple[Colour, Colour]:
        """Mean and standard deviation of each channel, of values in [0, 1]; reads the images."""
        return self.splits.mean, self.splits.std

    def prepare_data(self) -> None:
        """Download and decode; under DDP the first process does so while the others wait."""
        _ = self.splits

    @cached_property
    def splits(self) -> Splits:
        """The data set, loaded at the first use."""
        loaded = self.dataset.load(self.progress)
        check_splits(self.dataset, loaded)
        return loaded

    def _transform(self, augment: bool, cutout: int = 0) -> Transform:
        mean, std = self.splits.mean, self.splits.std
        if not augment:
            return Transform(mean, std)
        padding = self.dataset.side // 8 if self.dataset.padding is None else self.dataset.padding
        return Transform(mean, std, padding, self.dataset.flip, cutout)

    @cached_property
    def _train_images(self) -> ImageSet:
        return self.splits.train.to(self._device)

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _loader(
        self,
        images: ImageSet,
        indices: torch.Tensor,
        batch_size: int,
        transform: Transform,
        role: str,
        order: Order,
        num_batches: int | None = None,
    ) -> BatchLoader:
        return BatchLoader(
            images=images,
            indices=indices,
            batch_size=batch_size,
            transform=transform,
            seed=self.seed,
            epoch=self._epoch,
            role=role,
            order=order,
            num_batches=num_batches,
            num_workers=self.num_workers,
            device=self._device,
            rank=0 if self.trainer is None else self.trainer.global_rank,
            world_size=1 if self.trainer is None else self.trainer.world_size,
        )


class SearchData(_DataModule):
    """The training images cut in two: one part for the weights, one for the architecture.

    A training batch is {"train": (x, y), "valid": (x, y)}: a shuffled batch of the training part, and one drawn with
    replacement from the validation part, both augmented. The validation loader goes through at most `discrete_images` of the
    validation part, evenly spaced, in order and unaugmented: the discretised supernet's accuracy of each epoch is measured
    on them. Test images are not touched.

    Args:
        batch_size: of both training loaders, on each device of a search on several.
        seed: the run's seed, for order and augmentation; the split does not depend on it.
        split: `seed` cuts a permutation drawn from `split_seed`; `index` cuts the data set's own order.
        train_fraction: share of the training part, in (0, 1).
        train_images, valid_images: keep only the first so many of each part's order; None keeps all.
        discrete_images: a larger number costs time each epoch; the accuracy's standard error is at most 0.5 / sqrt of it.
        num_workers: processes that decode images which do not fit in memory; unused otherwise.
        valid_batch_size: of the validation loader; batches are of nearly equal size up to this one.
        progress: show a bar while images are decoded.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 64,
        seed: int = 0,
        split: SplitMode = "seed",
        split_seed: int = 0,
        train_fraction: float = 0.5,
        train_images: int | None = None,
        valid_images: int | None = None,
        discrete_images: int = 5000,
        num_workers: int = 0,
        valid_batch_size: int = 256,
        progress: bool = True,
    ) -> None:
        super().__init__(dataset, batch_size, seed, num_workers, progress)
        check_fraction("data.train_fraction", train_fraction)
        self.split = split
        self.split_seed = at_least("data.split_seed", split_seed, 0)
        self.train_fraction = train_fraction
        self.train_images = train_images
        self.valid_images = valid_images
        self.discrete_images = at_least("data.discrete_images", discrete_images, 2)
        self.valid_batch_size = at_least("data.valid_batch_size", valid_batch_size, 1)

    @cached_property
    def parts(self) -> tuple[torch.Tensor, torch.Tensor]:
        """int64 indices into the training images: training part, validation part."""
        count = len(self.splits.train)
        train, valid = split_indices(count, self.train_fraction, self.split, self.split_seed)
        if min(len(train), len(valid)) < 2:
            raise UserError(
                f"data.train_fraction={self.train_fraction} leaves {len(train)} and {len(valid)} of the {count} images "
                f"of dataset {self.dataset.name} for training and validation; each needs 2, so change the fraction."
            )
        train = take(train, self.train_images, "data.train_images")
        return train, take(valid, self.valid_images, "data.valid_images")

    def split_record(self) -> dict[str, Any]:
        """What the report says about the split."""
        train, valid = self.parts
        return {
            "mode": self.split,
            "split_seed": self.split_seed if self.split == "seed" else None,
            "train_fraction": self.train_fraction,
            "train_images": len(train),
            "valid_images": len(valid),
            "discrete_images": min(self.discrete_images, len(valid)),
            "train_sha256": fingerprint(train),
            "valid_sha256": fingerprint(valid),
        }

    def check_devices(self, devices: int) -> None:
        """Raise UserError where that many devices cannot share the images: each needs two for batch statistics."""
        fewest = min(self.discrete_images, *map(len, self.parts))
        if fewest < 2 * devices:
            raise UserError(
                f"trainer.devices={devices} need {2 * devices} images in both parts and in data.discrete_images, but there "
                f"are {fewest}; give more images or fewer devices."
            )

    def setup(self, stage: str) -> None:
        _ = self.parts

    def train_dataloader(self) -> CombinedLoader:
        images, augmented = self._train_images, self._transform(augment=True)
        train_part, valid_part = self.parts
        train = self._loader(images, train_part, self.batch_size, augmented, "search-train", "shuffled")
        # As many batches as the training part gives; the pairing of AutoDL-Projects and, in effect, of DARTS.
        valid = self._loader(
            images, valid_part, self.batch_size, augmented, "search-valid", "replacement", num_batches=len(train)
        )
        return CombinedLoader({"train": train, "valid": valid}, "min_size")

    def val_dataloader(self) -> BatchLoader:
        part = self.parts[1]
        count = min(self.discrete_images, len(part))
        spaced = part[torch.arange(count) * len(part) // count]
        plain = self._transform(augment=False)
        return self._loader(self._train_images, spaced, self.valid_batch_size, plain, "search-evaluate", "sequential")


class TrainData(_DataModule):
    """All training images, augmented, for training from scratch; the test images for validation and test.

    Args:
        cutout: even side of the cutout square in pixels; 0 for none.
        test_batch_size: of the test loader; batches are of nearly equal size up to this one.
        batch_size, seed, num_workers, progress: as for SearchData.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 96,
        seed: int = 0,
        cutout: int = 0,
        num_workers: int = 0,
        test_batch_size: int = 256,
        progress: bool = True,
    ) -> None:
        super().__init__(dataset, batch_size, seed, num_workers, progress)
        if at_least("data.cutout", cutout, 0) % 2:
            raise UserError(f"data.cutout={cutout} is no side of a cutout square; give an even number, or 0 for none.")
        self.cutout = cutout
        self.test_batch_size = at_least("data.test_batch_size", test_batch_size, 1)

    @cached_property
    def _test_images(self) -> ImageSet:
        if self.splits.test is None:
            raise UserError(
                f"dataset {self.dataset.name} has no test images; give some by dataset.test_root=PATH, "
                "or hold out a share of its images by dataset.test_fraction=0.2."
            )
        return self.splits.test.to(self._device)

    def split_record(self) -> dict[str, Any]:
        """What the report says about the split."""
        return {"mode": "train/test", "train_images": len(self._train_images), "test_images": len(self._test_images)}

    def setup(self, stage: str) -> None:
        if len(self._train_images) < 2 or len(self._test_images) < 2:
            raise UserError(
                f"dataset {self.dataset.name} has {len(self._train_images)} training and {len(self._test_images)} test "
                "images, but each needs 2; add images or change dataset.test_fraction."
            )

    def train_dataloader(self) -> BatchLoader:
        images, augmented = self._train_images, self._transform(augment=True, cutout=self.cutout)
        return self._loader(images, torch.arange(len(images)), self.batch_size, augmented, "train", "shuffled")

    def val_dataloader(self) -> BatchLoader:
        images, plain = self._test_images, self._transform(augment=False)
        return self._loader(images, torch.arange(len(images)), self.test_batch_size, plain, "test", "sequential")

    def test_dataloader(self) -> BatchLoader:
        return self.val_dataloader()


def at_least(setting: str, value: int, least: int) -> int:
    """`value`, or UserError where it is no whole number of at least `least`."""
    if not is_whole(value, least):
        raise UserError(f"{setting}={value} is no whole number of at least {least}; give one.")
    return value
