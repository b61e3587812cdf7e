"""The handwritten digits that scikit-learn ships: real images with nothing to download."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from sklearn.datasets import load_digits

from nas_lightning.data.images import Images, Splits, channel_statistics, check_settings, resize
from nas_lightning.data.split import check_fraction, hold_out

_NATIVE_SIDE = 8


@dataclass(frozen=True)
class Digits:
    """1,797 grey 8x8 digits (UCI Optical Recognition of Handwritten Digits, test part), repeated to three channels.

    flip: off, for a mirrored digit is none. test_fraction: share of each class that is held out as test images, always the
    same ones.
    """

    image_size: int | None = 16
    padding: int | None = None
    flip: bool = False
    test_fraction: float = 0.2

    name: ClassVar[str] = "digits"
    num_classes: ClassVar[int] = 10

    def __post_init__(self) -> None:
        check_settings(self.image_size, self.padding, self.flip)
        check_fraction("dataset.test_fraction", self.test_fraction)

    @property
    def side(self) -> int:
        return self.image_size or _NATIVE_SIDE

    def load(self, progress: bool) -> Splits:
        bunch = load_digits()
        grey = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8)
        pixels = resize(grey[:, None].repeat(1, 3, 1, 1), self.side)
        labels = torch.from_numpy(bunch.target).long()
        train, test = hold_out(Images(pixels, labels, tuple(str(digit) for digit in range(10))), self.test_fraction)
        return Splits(train, test, *channel_statistics(train), self.test_fraction)
