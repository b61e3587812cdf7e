"""CIFAR-10, CIFAR-100 and SVHN through torchvision, with a readable answer where there is neither network nor file."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torchvision.datasets import CIFAR10, CIFAR100, SVHN

from nas_lightning.data.images import Colour, Images, Splits, check_download, check_root, check_settings, resize
from nas_lightning.errors import UserError, check_flag

_NATIVE_SIDE = 32
_CONNECT_SECONDS = 30.0
_PLACE = "data"

Normalisation = Literal["nb201", "darts"]

# Mean and deviation as each family of programs writes them: AutoDL-Projects for nb201, quark0/darts (CIFAR-10) and
# RobustDARTS (CIFAR-100, SVHN) for darts. NAS-Bench-201 has no SVHN.
_NB201_CIFAR10 = ((125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255))
_NB201_CIFAR100 = ((129.3 / 255, 124.1 / 255, 112.4 / 255), (68.2 / 255, 65.4 / 255, 70.4 / 255))
_DARTS_CIFAR10 = ((0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768))
_DARTS_CIFAR100 = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
_SVHN = ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))


@dataclass(frozen=True)
class _Cifar:
    """50,000 training and 10,000 test images, 32x32, in the official order; `root` holds torchvision's files."""

    root: str = _PLACE
    download: bool = True
    image_size: int | None = None
    padding: int | None = None
    flip: bool = True
    normalisation: Normalisation = "nb201"

    name: ClassVar[str]
    num_classes: ClassVar[int]
    official_test: ClassVar[bool] = True
    published_order: ClassVar[bool] = True
    torchvision_class: ClassVar[type[CIFAR10]]
    statistics: ClassVar[dict[Normalisation, tuple[Colour, Colour]]]

    def __post_init__(self) -> None:
        check_root(self.root)
        check_settings(self.image_size, self.padding, self.flip)
        check_flag("dataset.download", self.download)
        if self.normalisation not in self.statistics:
            raise UserError(f"dataset.normalisation={self.normalisation!r} is unknown; give nb201 or darts.")

    @property
    def side(self) -> int:
        return self.image_size or _NATIVE_SIDE

    def load(self, progress: bool) -> Splits:
        kind = self.torchvision_class

        def read(train: bool) -> Images:
            data = kind(self.root, train, download=self.download)
            pixels = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
            return Images(resize(pixels, self.side), torch.tensor(data.targets), tuple(data.classes))

        files = f"the folder {kind.base_folder} unpacked from {kind.url}"
        with _readable_failure(self.name, self.root, self.download, files):
            return Splits(read(True), read(False), *self.statistics[self.normalisation])


class Cifar10(_Cifar):
    __doc__ = _Cifar.__doc__
    name = "cifar10"
    num_classes = 10
    torchvision_class = CIFAR10
    statistics: ClassVar = {"nb201": _NB201_CIFAR10, "darts": _DARTS_CIFAR10}


class Cifar100(_Cifar):
    __doc__ = _Cifar.__doc__
    name = "cifar100"
    num_classes = 100
    torchvision_class = CIFAR100
    statistics: ClassVar = {"nb201": _NB201_CIFAR100, "darts": _DARTS_CIFAR100}


@dataclass(frozen=True)
class Svhn:
    """73,257 training and 26,032 test images of house numbers, 32x32 (the `extra` images are not used).

    flip: on, as in every published program that has them (RobustDARTS, SmoothDARTS, DrNAS), though a mirrored 2 is none.
    """

    root: str = _PLACE
    download: bool = True
    image_size: int | None = None
    padding: int | None = None
    flip: bool = True

    name: ClassVar[str] = "svhn"
    num_classes: ClassVar[int] = 10
    official_test: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_root(self.root)
        check_settings(self.image_size, self.padding, self.flip)
        check_flag("dataset.download", self.download)

    @property
    def side(self) -> int:
        return self.image_size or _NATIVE_SIDE

    def load(self, progress: bool) -> Splits:
        def read(split: str) -> Images:
            data = SVHN(self.root, split, download=self.download)
            pixels = resize(torch.from_numpy(np.ascontiguousarray(data.data)), self.side)
            return Images(pixels, torch.from_numpy(data.labels).long(), tuple(str(digit) for digit in range(10)))

        urls = " and ".join(SVHN.split_list[split][0] for split in ("train", "test"))
        with _readable_failure(self.name, self.root, self.download, f"the files {urls}"):
            return Splits(read("train"), read("test"), *_SVHN)


@contextmanager
def _readable_failure(name: str, root: str, download: bool, files: str) -> Iterator[None]:
    """Turn torchvision's various failures into one sentence; `files` says what would have to lie in `root`."""
    check_download(root, _PLACE)
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_SECONDS)  # torchvision waits without limit where packets vanish
    try:
        yield
    except (OSError, RuntimeError, EOFError) as error:
        reason = f"could not be downloaded ({error})" if download else "may not be downloaded (dataset.download=false)"
        raise UserError(
            f"dataset={name} is not whole in {Path(root).absolute()} and {reason}; put {files} there, "
            "or give the folder that has them as dataset.root."
        ) from error
    finally:
        socket.setdefaulttimeout(previous)
