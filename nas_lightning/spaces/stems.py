"""What stands before the first cell of a supernet and of a network: `cifar` keeps the image's size, `imagenet` divides it by 8.

`imagenet` is the stem of the DARTS family's ImageNet networks (quark0/darts cnn/model.py), in which PC-DARTS and DrNAS also
search on ImageNet (train_search_imagenet.py, model_search_imagenet.py: the first cell counts as following a reduction).
"""

from collections.abc import Callable
from typing import Literal, get_args

from torch import nn

from nas_lightning.errors import UserError

Stem = Literal["cifar", "imagenet"]
Norm = Callable[[int], nn.Module]
"""A batch norm of so many channels."""

_REDUCTIONS = 2  # of every space here, between or in its cells


def check_stem(stem: str, channels: int) -> None:
    """UserError for a stem that does not exist, or that cannot have these channels."""
    if stem not in get_args(Stem):
        raise UserError(f"space.stem must be one of {', '.join(get_args(Stem))}, got {stem!r}.")
    if stem == "imagenet" and channels % 2:
        raise UserError(f"space.stem=imagenet begins with half of space.C={channels} channels; make space.C even.")


def side_multiple(stem: Stem) -> int:
    """A search's images have a side, in pixels, that is a multiple of it: stem and reductions halve them without a rest."""
    halvings = _REDUCTIONS + (3 if stem == "imagenet" else 0)
    return int(2**halvings)


def conv_norm(in_channels: int, out_channels: int, norm: Norm, stride: int = 1) -> list[nn.Module]:
    """Convolution 3 x 3 without bias, batch norm."""
    return [nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False), norm(out_channels)]


def imagenet_stem(channels: int, norm: Norm) -> tuple[nn.Sequential, nn.Sequential]:
    """[B, 3, H, W] -> [B, C, H/4, W/4], and from there [B, C, H/8, W/8]."""
    half = channels // 2
    first = [*conv_norm(3, half, norm, stride=2), nn.ReLU(), *conv_norm(half, channels, norm, stride=2)]
    return nn.Sequential(*first), nn.Sequential(nn.ReLU(), *conv_norm(channels, channels, norm, stride=2))
