"""What LightningDataModules of images share, and the one that trains a found network from scratch."""

from functools import cached_property
from typing import Any, Protocol

import pytorch_lightning as pl
import torch

from nas_lightning.data.augment import Transform
from nas_lightning.data.images import Colour, Dataset, ImageSet, Splits, check_splits
from nas_lightning.data.loader import BatchLoader, Order
from nas_lightning.data.split import check_fraction, held_out_indices
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
    valid_fraction: float | None = None
    """Share of the training images that a training is validated on after each epoch; None: the test images."""

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

    @property
    def resize(self) -> int | None:
        """Pixels to which the short side of a test image is scaled before its centre is cut out; None for no such cut."""
        return None

    @property
    def class_weights(self) -> torch.Tensor | None:
        """float32 [classes], of each class in the loss; None for the mean over images as they are."""
        return None

    def _epoch(self) -> int:
        return 0 if self.trainer is None else self.trainer.current_epoch


class LoadedDataModule(SizedDataModule):
    """What those of loaded images share: the data set, its transforms and the trainer's device."""

    dataset: Dataset

    def __init__(
        self, dataset: Dataset, batch_size: int, seed: int, num_workers: int, progress: bool, balance: bool
    ) -> None:
        super().__init__(dataset, batch_size, seed, num_workers)
        check_flag("data.progress", progress)
        check_flag("data.balance", balance)
        self.progress = progress
        self.balance = balance

    @property
    def normalisation(self) -> tuple[Colour, Colour]:
        """Mean and standard deviation of each channel, of values in [0, 1]; reads the images."""
        return self.splits.mean, self.splits.std

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels; reads the images."""
        return self.splits.train.classes

    @property
    def class_weights(self) -> torch.Tensor | None:
        """With `balance`, `inverse_frequencies` of the training part; reads the images then."""
        return inverse_frequencies(self._train_labels, self.num_classes) if self.balance else None

    @property
    def _train_labels(self) -> torch.Tensor:
        """int64, of the images that the weights are trained on."""
        return self.splits.train.labels

    def prepare_data(self) -> None:
        """Download and decode; under DDP the first process does so while the others wait."""
        _ = self.splits

    @cached_property
    def splits(self) -> Splits:
        """The data set, loaded at the first use."""
        loaded = self.dataset.load(self.progress)
        check_splits(self.dataset, loaded)
        return loaded

    def _transform(self, augment: bool, cutout: int = 0, cutout_probability: float = 1.0) -> Transform:
        mean, std = self.splits.mean, self.splits.std
        if not augment:
            return Transform(mean, std)
        padding = self.dataset.side // 8 if self.dataset.padding is None else self.dataset.padding
        return Transform(mean, std, padding, self.dataset.flip, cutout, cutout_probability)

    @cached_property
    def _train_images(self) -> ImageSet:
        return self.splits.train.to(self._device)

    @cached_property
    def _test_images(self) -> ImageSet:
        return self._test.to(self._device)

    @property
    def _test(self) -> ImageSet:
        """Where they were loaded: what is asked before there is a trainer must not settle the device."""
        if self.splits.test is None:
            raise UserError(
                f"dataset {self.dataset.name} has no test images; give some by dataset.test_root=PATH, "
                "or hold out a share of its images by dataset.test_fraction=0.2."
            )
        return self.splits.test

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


class TrainData(LoadedDataModule):
    """The training images, augmented, for training from scratch; validation and test images as they are.

    Args:
        valid_fraction: share of each class' training images that is held out for validation, always the same; None: there the
            test images are the validation images too, and all others are trained on.
        cutout: even side of the cutout square in pixels; 0 for none.
        balance: weight the classes in the loss, see `inverse_frequencies`.
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
        balance: bool = False,
        valid_fraction: float | None = None,
    ) -> None:
        super().__init__(dataset, batch_size, seed, num_workers, progress, balance)
        if valid_fraction is not None:
            check_fraction("data.valid_fraction", valid_fraction)
        self.valid_fraction = valid_fraction
        self.cutout = cutout_side(cutout)
        self.test_batch_size = at_least("data.test_batch_size", test_batch_size, 1)

    @cached_property
    def parts(self) -> tuple[torch.Tensor, torch.Tensor]:
        """int64 indices of the training images that are trained on and of those for validation, of which there may be none."""
        labels = self.splits.train.labels
        if self.valid_fraction is None:
            return torch.arange(len(labels)), torch.arange(0)
        return held_out_indices(labels, self.valid_fraction)

    @property
    def _train_labels(self) -> torch.Tensor:
        return self.splits.train.labels[self.parts[0]]

    def split_record(self) -> dict[str, Any]:
        """What the report says about the split."""
        train, valid = self.parts
        validated = {} if self.valid_fraction is None else {"valid_images": len(valid)}
        return {"mode": "train/test", "train_images": len(train), **validated, "test_images": len(self._test)}

    def setup(self, stage: str) -> None:
        train, valid = self.parts
        if len(train) < 2 or len(self._test) < 2:
            raise UserError(
                f"dataset {self.dataset.name} has {len(train)} training and {len(self._test)} test images, but each "
                "needs 2; add images or change dataset.test_fraction or data.valid_fraction."
            )
        if self.valid_fraction is not None and len(valid) < 2:
            raise UserError(
                f"data.valid_fraction={self.valid_fraction} holds {len(valid)} of {len(train) + len(valid)} training images "
                "out, but validation needs 2; raise it, or set null."
            )

    def train_dataloader(self) -> BatchLoader:
        augmented = self._transform(augment=True, cutout=self.cutout)
        return self._loader(self._train_images, self.parts[0], self.batch_size, augmented, "train", "shuffled")

    def val_dataloader(self) -> BatchLoader:
        if self.valid_fraction is None:
            return self.test_dataloader()
        return self._plain_loader(self._train_images, self.parts[1], "validation")

    def test_dataloader(self) -> BatchLoader:
        return self._plain_loader(self._test_images, torch.arange(len(self._test_images)), "test")

    def _plain_loader(self, images: ImageSet, part: torch.Tensor, role: str) -> BatchLoader:
        return self._loader(images, part, self.test_batch_size, self._transform(augment=False), role, "sequential")


def inverse_frequencies(labels_N: torch.Tensor, classes: int) -> torch.Tensor:
    """float32 [classes]: N / (classes * n_c) for a class of n_c among the N images, counted as 1 where there is none.

    The mean over the images is 1 where each class has some ("balanced" of scikit-learn). Cross entropy divides a batch's
    weighted sum by the sum of its weights.
    """
    counts = torch.bincount(labels_N.cpu(), minlength=classes).clamp_min(1)
    return (len(labels_N) / (classes * counts.double())).float()


def at_least(setting: str, value: int, least: int) -> int:
    """`value`, or UserError where it is no whole number of at least `least`."""
    if not is_whole(value, least):
        raise UserError(f"{setting}={value} is no whole number of at least {least}; give one.")
    return value


def cutout_side(side: int) -> int:
    """`side`, or UserError where it is no even number of pixels from 0."""
    if at_least("data.cutout", side, 0) % 2:
        raise UserError(f"data.cutout={side} is no side of a cutout square; give an even number, or 0 for none.")
    return side
