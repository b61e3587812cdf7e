"""Made-up images for tests and speed measurements: any size, no files, and something to learn."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nas_lightning.data.images import Images, Splits, channel_statistics, check_settings, resize
from nas_lightning.errors import UserError

_BLOCKS = 4
_NOISE_SHARE = 0.6


@dataclass(frozen=True)
class Fake:
    """Each class is a pattern of 4x4 random colours under uniform noise; the same settings give the same images."""

    image_size: int = 32
    padding: int | None = None
    flip: bool = False
    num_classes: int = 10
    train_images: int = 512
    test_images: int = 128

    name: ClassVar[str] = "fake"

    def __post_init__(self) -> None:
        check_settings(self.image_size, self.padding, self.flip)
        for setting in ("num_classes", "train_images", "test_images"):
            value = getattr(self, setting)
            if value < 2:
                raise UserError(f"dataset.{setting}={value} is too few for dataset=fake; give 2 or more.")

    @property
    def side(self) -> int:
        return self.image_size

    def load(self, progress: bool) -> Splits:
        generator = torch.Generator().manual_seed(0)
        blocks = torch.randint(256, (self.num_classes, 3, _BLOCKS, _BLOCKS), generator=generator, dtype=torch.uint8)
        patterns = resize(blocks, self.side).float()
        train = self._draw(patterns, self.train_images, generator)
        test = self._draw(patterns, self.test_images, generator)
        return Splits(train, test, *channel_statistics(train))

    def _draw(self, patterns: Tensor, count: int, generator: torch.Generator) -> Images:
        labels = torch.arange(count) % self.num_classes
        noise = torch.randint(256, (count, 3, self.side, self.side), generator=generator, dtype=torch.uint8)
        pixels = torch.lerp(patterns[labels], noise.float(), _NOISE_SHARE).to(torch.uint8)
        return Images(pixels, labels, tuple(str(number) for number in range(self.num_classes)))
