"""Random crop, flip, cutout and normalisation of whole batches. Letters: B images, H rows, W columns, p padding."""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nas_lightning.data.images import Colour, copy_ahead


class Draw(NamedTuple):
    """The random part of a transform for B images, drawn ahead so that the arithmetic can run on any device.

    shift_B2: int64, row and column of the crop in the padded image, 0..2p. flip_B: bool. centre_B2: int64, row and
    column of the cutout's centre.
    """

    shift_B2: Tensor
    flip_B: Tensor
    centre_B2: Tensor

    def to(self, device: torch.device) -> "Draw":
        return Draw(*(copy_ahead(tensor, device) for tensor in self))

    def of(self, places_N: Tensor) -> "Draw":
        """Those of the images at these places."""
        return Draw(*(tensor[places_N] for tensor in self))

    def split(self, sizes: list[int]) -> "list[Draw]":
        return [Draw(*parts) for parts in zip(*(tensor.split(sizes) for tensor in self), strict=True)]


@dataclass(frozen=True)
class Transform:
    """uint8 [B, 3, H, W] to normalised float32 of the same shape; the defaults only normalise.

    In torchvision's order: the crop pads with black by `padding` pixels, then half of the images are flipped (with
    `flip`), then values are scaled to [0, 1], less `mean`, over `std`; last, cutout sets a square of side `cutout`
    (even; clipped at the border) to 0, i.e. to the mean colour (arXiv 1708.04552), in a share `cutout_probability` of images.
    """

    mean: Colour
    std: Colour
    padding: int = 0
    flip: bool = False
    cutout: int = 0
    cutout_probability: float = 1.0

    def draw(self, count: int, side: int, generator: torch.Generator) -> Draw:
        """Draw for `count` images of side `side`, on the CPU: the same numbers for every device."""
        shift_B2 = torch.randint(2 * self.padding + 1, (count, 2), generator=generator)
        flip_B = torch.rand(count, generator=generator) < 0.5 if self.flip else torch.zeros(count, dtype=torch.bool)
        centre_B2 = torch.randint(side, (count, 2), generator=generator)
        if self.cutout and self.cutout_probability < 1:
            spared_B = torch.rand(count, generator=generator) >= self.cutout_probability
            centre_B2[spared_B] = -self.cutout  # a square that lies outside
        return Draw(shift_B2, flip_B, centre_B2)

    def __call__(self, images_B3HW: Tensor, draw: Draw) -> Tensor:
        if self.padding or self.flip:
            images_B3HW = crop_and_flip(images_B3HW, self.padding, draw.shift_B2, draw.flip_B)
        normalised = normalise(images_B3HW, self.mean, self.std)
        return cut_out_(normalised, self.cutout, draw.centre_B2) if self.cutout else normalised


def crop_and_flip(images_B3HW: Tensor, padding: int, shift_B2: Tensor, flip_B: Tensor) -> Tensor:
    """Crop each padded image at its shift, then mirror the chosen ones, in one gather."""
    height, width = images_B3HW.shape[-2:]
    padded = F.pad(images_B3HW, (padding, padding, padding, padding))
    column_W = torch.arange(width, device=images_B3HW.device)
    row_BH = shift_B2[:, :1] + torch.arange(height, device=images_B3HW.device)
    column_BW = shift_B2[:, 1:] + torch.where(flip_B[:, None], width - 1 - column_W, column_W)
    index_BP = (row_BH[:, :, None] * padded.shape[-1] + column_BW[:, None, :]).flatten(1)
    return padded.flatten(2).gather(2, index_BP[:, None].expand(-1, 3, -1)).view_as(images_B3HW)


def normalise(images_B3HW: Tensor, mean: Colour, std: Colour) -> Tensor:
    """(images / 255 - mean) / std in float32."""
    scale_311, offset_311 = _scale_and_offset(mean, std, images_B3HW.device)
    return images_B3HW.float().mul_(scale_311).add_(offset_311)


@cache  # one copy to the device for the whole run, not one a batch
def _scale_and_offset(mean: Colour, std: Colour, device: torch.device) -> tuple[Tensor, Tensor]:
    mean_311 = torch.tensor(mean, device=device)[:, None, None]
    std_311 = torch.tensor(std, device=device)[:, None, None]
    return 1 / (255 * std_311), -mean_311 / std_311


def cut_out_(images_B3HW: Tensor, length: int, centre_B2: Tensor) -> Tensor:
    """Set rows and columns [centre - length/2, centre + length/2) of each image to 0, in place."""
    height, width = images_B3HW.shape[-2:]
    row_BH = torch.arange(height, device=images_B3HW.device) - centre_B2[:, :1]
    column_BW = torch.arange(width, device=images_B3HW.device) - centre_B2[:, 1:]
    half = length // 2
    in_row = (row_BH >= -half) & (row_BH < half)
    in_column = (column_BW >= -half) & (column_BW < half)
    return images_B3HW.masked_fill_((in_row[:, :, None] & in_column[:, None, :])[:, None], 0.0)
