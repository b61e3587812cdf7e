"""A trained network in use: images in, names and probabilities out."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from nas_lightning.data.augment import normalise
from nas_lightning.data.decode import PILLOW_ERRORS, centred_square, open_image, reason_of, to_rgb
from nas_lightning.data.imagenet import short_side_and_centre
from nas_lightning.errors import UserError
from nas_lightning.spaces import SearchSpace
from nas_lightning.training.export import load_network, read_interface
from nas_lightning.training.interface import Interface

Prediction = list[tuple[str, float]]
"""(class, probability) of every class, the likeliest first."""


def load(path: str | Path, space: SearchSpace | None = None) -> "Classifier":
    """The trained network of an evaluation, in eval mode, on the CPU; path and space: as of `load_network`."""
    network = load_network(path, space)
    return Classifier(network, read_interface(Path(path))).eval()


class Classifier(nn.Module):
    """Called as network(x_BCHW) -> logits [B, classes]; its state_dict is that of `network` alone.

    classes: the name of each logit; None where the folder has none.
    """

    def __init__(self, network: nn.Module, interface: Interface) -> None:
        super().__init__()
        self.network = network
        self.interface = interface
        self.classes = interface.classes

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits: Tensor = self.network(x_BCHW)
        return logits

    def transform(self, image: Image.Image) -> Tensor:
        """Normalised float32 [3, S, S] of an image of any mode and size, turned as its EXIF says: what the test images were
        in the training. UserError where it cannot be read."""
        if not isinstance(image, Image.Image):
            raise UserError(f"transform takes an image of Pillow (PIL.Image.Image), got {type(image).__name__}.")
        with _readable("the image", ""):
            return self._transformed(image)

    def predict(self, x: "str | PathLike[str] | Image.Image | Tensor") -> Any:
        """A `Prediction` for an image's path, an image of Pillow or a tensor [3, S, S]; a list of them for [B, 3, S, S].

        Tensors are float, normalised as by `transform`. A class without a name is called "class 3", counted from 0. UserError
        for what is no such image. The network computes in the mode and on the device that it is in.
        """
        if isinstance(x, Tensor):
            side = self.interface.image_size
            if x.dim() not in (3, 4) or x.shape[-3:] != (3, side, side) or not x.is_floating_point():
                raise UserError(
                    f"predict takes normalised float tensors [3, {side}, {side}] or [B, 3, {side}, {side}], got {x.dtype} "
                    f"{[*x.shape]}; make one of an image by transform."
                )
            return self._predictions(x) if x.dim() == 4 else self._predictions(x[None])[0]
        if isinstance(x, Image.Image):
            return self._predictions(self.transform(x)[None])[0]
        if not isinstance(x, str | PathLike):
            raise UserError(f"predict takes a path, an image of Pillow or a tensor, got {type(x).__name__}.")
        suffix = Path(x).suffix
        with _readable(x, suffix), open_image(x, suffix) as image:
            pixels = self._transformed(image)
        return self._predictions(pixels[None])[0]

    def _transformed(self, image: Image.Image) -> Tensor:
        mean, std = self.interface.colours
        side, rgb = self.interface.image_size, to_rgb(image)
        if self.interface.resize is None:
            cut = centred_square(rgb, side)
        else:
            cut = short_side_and_centre(self.interface.resize, side)(rgb)
        pixels = torch.from_numpy(np.array(cut).transpose(2, 0, 1)[None])
        return normalise(pixels, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))[0]

    @torch.no_grad()
    def _predictions(self, x_BCHW: Tensor) -> list[Prediction]:
        like = next(self.parameters())
        shares, order = self(x_BCHW.to(like)).softmax(1).sort(dim=1, descending=True, stable=True)
        names = self.classes or [f"class {number}" for number in range(shares.shape[1])]
        return [
            [(names[number], share) for number, share in zip(numbers, values, strict=True)]
            for numbers, values in zip(order.tolist(), shares.tolist(), strict=True)
        ]

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.network.state_dict(*args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """PyTorch's way to read what a module alone wrote in another form, also where it is a part of a larger one."""
        for key in [key for key in state_dict if key.startswith(prefix)]:
            state_dict[f"{prefix}network.{key.removeprefix(prefix)}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


@contextmanager
def _readable(what: object, suffix: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except PILLOW_ERRORS as error:
        raise UserError(
            f"{what} cannot be read as an image ({reason_of(error, suffix)}); give one such as a PNG or JPEG file."
        ) from error
