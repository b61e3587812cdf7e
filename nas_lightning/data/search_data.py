"""The LightningDataModule of a search."""

from functools import cached_property
from typing import Any, Literal, get_args

import torch
from pytorch_lightning.utilities.combined_loader import CombinedLoader

from nas_lightning.data.augment import Transform
from nas_lightning.data.datamodules import LoadedDataModule, at_least, cutout_side
from nas_lightning.data.growth import BatchGrowth
from nas_lightning.data.images import Dataset, ImageSet
from nas_lightning.data.loader import BatchLoader, Order
from nas_lightning.data.split import (
    SplitMode,
    check_fraction,
    check_mixed,
    fingerprint,
    hold_out_fingerprint,
    image_order,
    nas_bench_201_halves,
    read_split,
    split_indices,
    take,
)
from nas_lightning.errors import UserError

AlphaImages = Literal["held_out", "train_all", "test_half"]
ValidBatch = Literal["replacement", "shuffled", "in_turn"]

_HALF = 0.5
_LISTS = ("file", "nas_bench_201")
_RELOAD = "reload_dataloaders_every_n_epochs"
_ORDERS: dict[ValidBatch, Order] = {"replacement": "replacement", "shuffled": "first_shuffled", "in_turn": "in_turn"}
_MEASURED_ON = {
    "held_out": "the validation half",
    "train_all": "training images",
    "test_half": "the test images that are alpha's",
}


class SearchData(LoadedDataModule):
    """The images of a search: one part for the weights, one for the architecture.

    A training batch is {"train": (x, y), "valid": (x, y)}: a shuffled batch of the training part, and one of the validation
    part as `valid_batch` says, both augmented. The validation loader goes through at most `discrete_images` of the
    validation part, evenly spaced, in order and unaugmented: the discretised supernet's accuracy of each epoch is measured
    on them.

    Args:
        batch_size: of both training loaders, on each device of a search on several.
        seed: the run's seed, for order and augmentation; the split does not depend on it.
        alpha_images: what the validation part is. `held_out`: the training images that the training part leaves. `train_all`:
            all training images, as the training part then (single level). `test_half`: half of the official test images,
            while the training part is all training images (NAS-Bench-201's programs on CIFAR-100 and ImageNet16-120).
        split: how the images that are halved are: `seed` cuts a permutation drawn from `split_seed`; `index` cuts the data
            set's own order; `file` reads `split_file`, a JSON file with the lists "train" and "valid" of indices into the
            training images, or with "xvalid" (alpha's) and "xtest" of indices into the test images; `nas_bench_201` takes
            that benchmark's own lists, see `nas_bench_201_halves`.
        train_fraction: share of the training part, in (0, 1).
        train_images, valid_images: keep only the first so many of each part's order; None keeps all.
        valid_batch: `replacement` draws each image of a batch independently (AutoDL-Projects); `shuffled` takes the first
            batch of a freshly shuffled pass, in which no image is twice (DARTS); `in_turn` goes on through a pass until all
            images have had their turn, and then through another (DARTS-).
        cutout: even side of the square that is cut out of an image of either part, with a probability that grows by the
            epoch from 0 in the first to 1 in the last (R-DARTS); 0 for none.
        batch_growth: how the batches of both parts grow with the epochs; None for batches of one size.
        discrete_images: a larger number costs time each epoch; the accuracy's standard error is at most 0.5 / sqrt of it.
        num_workers: processes that decode images which do not fit in memory; unused otherwise.
        valid_batch_size: of the validation loader; batches are of nearly equal size up to this one.
        balance: weight the classes in both losses by how rare they are in the training part, see `inverse_frequencies`.
        progress: show a bar while images are decoded.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 64,
        seed: int = 0,
        alpha_images: AlphaImages = "held_out",
        split: SplitMode = "seed",
        split_seed: int = 0,
        split_file: str | None = None,
        train_fraction: float = _HALF,
        train_images: int | None = None,
        valid_images: int | None = None,
        valid_batch: ValidBatch = "replacement",
        cutout: int = 0,
        batch_growth: BatchGrowth | None = None,
        discrete_images: int = 5000,
        num_workers: int = 0,
        valid_batch_size: int = 256,
        progress: bool = True,
        balance: bool = False,
    ) -> None:
        super().__init__(dataset, batch_size, seed, num_workers, progress, balance)
        one_of("data.alpha_images", alpha_images, AlphaImages)
        one_of("data.split", split, SplitMode)
        one_of("data.valid_batch", valid_batch, ValidBatch)
        check_fraction("data.train_fraction", train_fraction)
        if batch_growth is not None and not isinstance(batch_growth, BatchGrowth):
            raise UserError(
                f"data.batch_growth={batch_growth} is no growth; give _target_: nas_lightning.data.BatchGrowth with images, "
                "start, interval and times, or null for none."
            )
        self.alpha_images = alpha_images
        self.split = split
        self.split_seed = at_least("data.split_seed", split_seed, 0)
        self.split_file = split_file
        self.train_fraction = train_fraction
        self.train_images = train_images
        self.valid_images = valid_images
        self.valid_batch = valid_batch
        self.cutout = cutout_side(cutout)
        self.batch_growth = batch_growth
        self.discrete_images = at_least("data.discrete_images", discrete_images, 2)
        self.valid_batch_size = at_least("data.valid_batch_size", valid_batch_size, 1)
        self._check_choices()

    def _check_choices(self) -> None:
        """UserError for settings that say nothing or the opposite beside one another."""
        name, halved = self.alpha_images, self.alpha_images != "train_all"
        if name == "test_half" and not getattr(self.dataset, "official_test", False):
            raise UserError(
                f"data.alpha_images=test_half trains alpha on test images, which programs do on benchmarks with official ones "
                f"alone, and dataset {self.dataset.name} has none; set data.alpha_images=held_out."
            )
        if self.split_file is not None and not (isinstance(self.split_file, str) and self.split_file):
            raise UserError(f"data.split_file={self.split_file!r} is no file; give the path of a JSON file, or null.")
        if (self.split_file is not None) != (self.split == "file"):
            raise UserError(
                f"data.split={self.split} and data.split_file={self.split_file} do not go together; give a file with "
                "data.split=file, and none otherwise."
            )
        if self.split == "file" and not halved:
            raise UserError(f"data.split=file has nothing to split with data.alpha_images={name}; drop one of the two.")
        if self.train_fraction != _HALF and (self.split in _LISTS or name != "held_out"):
            raise UserError(
                f"data.train_fraction={self.train_fraction} has no effect with data.split={self.split} and "
                f"data.alpha_images={name}; drop it, or set data.split=seed and data.alpha_images=held_out."
            )
        if self.split_seed != 0 and self.split != "seed":
            raise UserError(
                f"data.split_seed={self.split_seed} has no effect with data.split={self.split}; drop it, or set "
                "data.split=seed."
            )
        if self.split == "nas_bench_201" and halved and not getattr(self.dataset, "published_order", False):
            raise UserError(
                f"data.split=nas_bench_201 names images by their place in the published files, which dataset "
                f"{self.dataset.name} is not read from here; set data.split=seed."
            )

    @cached_property
    def parts(self) -> tuple[torch.Tensor, torch.Tensor]:
        """int64 indices of the training part and of the validation part, each into the images that it is of."""
        train, valid = self._whole_parts()
        if min(len(train), len(valid)) < 2:
            raise UserError(
                f"data.train_fraction={self.train_fraction}, or data.split_file, leaves {len(train)} and {len(valid)} images "
                f"of dataset {self.dataset.name} for training and validation; each needs 2, so change it."
            )
        train = take(train, self.train_images, "data.train_images")
        return train, take(valid, self.valid_images, "data.valid_images")

    def _whole_parts(self) -> tuple[torch.Tensor, torch.Tensor]:
        images = self.splits.train
        if self.alpha_images == "held_out":
            return self._halves(images, self.train_fraction, ("train", "valid"))
        everything = image_order(len(images), self.split, self.split_seed)
        if self.alpha_images == "train_all":
            return everything, everything
        assert self.splits.test is not None
        return everything, self._halves(self.splits.test, _HALF, ("xvalid", "xtest"))[0]

    def _halves(self, images: ImageSet, fraction: float, names: tuple[str, str]) -> tuple[torch.Tensor, torch.Tensor]:
        if self.split_file is not None:
            return read_split(self.split_file, names, len(images))
        if self.split == "nas_bench_201":
            return nas_bench_201_halves(self.dataset.name, names, len(images))
        halves = split_indices(len(images), fraction, self.split, self.split_seed)
        if self.split == "index":
            check_mixed(images.labels, halves)
        return halves

    @property
    def _train_labels(self) -> torch.Tensor:
        return self.splits.train.labels[self.parts[0]]

    def split_record(self) -> dict[str, Any]:
        """What the report says about the images."""
        train, valid = self.parts
        growth = self.batch_growth
        return {
            "mode": self.split,
            "split_seed": self.split_seed if self.split == "seed" else None,
            "split_file": self.split_file,
            "train_fraction": self.train_fraction
            if self.alpha_images == "held_out" and self.split not in _LISTS
            else None,
            "alpha_images": self.alpha_images,
            "train_images": len(train),
            "valid_images": len(valid),
            "discrete_images": min(self.discrete_images, len(valid)),
            "measured_on": _MEASURED_ON[self.alpha_images],
            "caution": self._caution(),
            "train_sha256": fingerprint(train),
            "valid_sha256": fingerprint(valid),
            "test_images": None if self.splits.test is None else len(self.splits.test),
            "test_fraction": self.splits.test_fraction,
            "hold_out_sha256": hold_out_fingerprint(self.splits),
            "valid_batch": self.valid_batch,
            "cutout": self.cutout,
            "flip": self.dataset.flip,
            "batch_sizes": {str(e): self.batch_size_in(e) for e in (0, *(growth.steps() if growth else ()))},
        }

    def _caution(self) -> str | None:
        """A sentence for log and report where the discretised accuracy is of images that something was trained on."""
        if self.alpha_images == "test_half":
            return (
                f"Alpha's images are {len(self.parts[1])} of the official test images of dataset {self.dataset.name}, and the "
                "discretised accuracy is measured on them (data.alpha_images=test_half, as NAS-Bench-201's programs do): they "
                "are held out of nothing here."
            )
        if self.alpha_images == "train_all":
            return (
                f"Weights and alpha are trained on the same images of dataset {self.dataset.name}, and the discretised "
                "accuracy is measured on them (data.alpha_images=train_all, single level): it is a training accuracy."
            )
        return None

    def batch_size_in(self, epoch: int) -> int:
        """Images in a batch of either part in an epoch, on each device."""
        return self.batch_size + (0 if self.batch_growth is None else self.batch_growth(epoch))

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
        self._check_reload()
        batch_size, augmented = self.batch_size_in(self._epoch()), self._augmented()
        train_part, valid_part = self.parts
        train = self._loader(self._train_images, train_part, batch_size, augmented, "search-train", "shuffled")
        order = _ORDERS[self.valid_batch]
        # As many batches as the training part gives; the pairing of AutoDL-Projects and, in effect, of DARTS.
        valid = self._loader(
            self._valid_images, valid_part, batch_size, augmented, "search-valid", order, num_batches=len(train)
        )
        return CombinedLoader({"train": train, "valid": valid}, "min_size")

    def _augmented(self) -> Transform:
        if not self.cutout:
            return self._transform(augment=True)
        last = 0 if self.trainer is None else (self.trainer.max_epochs or 1) - 1
        return self._transform(True, self.cutout, self._epoch() / max(1, last))

    def _check_reload(self) -> None:
        by_epoch = self.cutout or self.batch_growth is not None
        if by_epoch and self.trainer is not None and getattr(self.trainer, _RELOAD) != 1:
            raise UserError(
                f"data.cutout and data.batch_growth change with the epoch; make the Trainer with {_RELOAD}=1."
            )

    @property
    def _valid_images(self) -> ImageSet:
        return self._test_images if self.alpha_images == "test_half" else self._train_images

    def val_dataloader(self) -> BatchLoader:
        part = self.parts[1]
        count = min(self.discrete_images, len(part))
        spaced = part[torch.arange(count) * len(part) // count]
        plain = self._transform(augment=False)
        return self._loader(self._valid_images, spaced, self.valid_batch_size, plain, "search-evaluate", "sequential")


def one_of(setting: str, value: object, choices: Any) -> None:
    """UserError where `value` is none of a Literal's texts."""
    names = get_args(choices)
    if value not in names:
        raise UserError(f"{setting}={value!r} is unknown; give {', '.join(names[:-1])} or {names[-1]}.")
