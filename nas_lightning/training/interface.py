"""What a trained network takes and gives, for its use without the data set: size and colours of images, names of classes."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas_lightning.errors import UserError, is_number, is_whole

_MOST_NAMES, _MOST_CHARACTERS = 10_000, 2**18  # half of what is read of a report
_MOST_PIXELS = 4_096

Colours = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Interface:
    """It is kept in report.json, and with the weights and exported networks as `texts`.

    image_size: side S of the images in pixels. classes: name of each logit; None where a folder has none. normalisation:
    mean and standard deviation of each channel, of values in [0, 1]; None where a folder has none. resize: to how many pixels
    an image's short side is scaled before the centre S x S is cut out; None where the largest centred square is scaled to S.
    """

    image_size: int
    classes: tuple[str, ...] | None
    normalisation: Colours | None
    resize: int | None

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> "Interface":
        """That of a report from anybody, which has checked `num_classes` and `image_size`; ValueError for what is none."""
        side, classes, colours = report["image_size"], report.get("classes"), report.get("normalisation")
        if classes is not None and not _are_names(classes, report["num_classes"]):
            raise ValueError(f"its classes are not {report['num_classes']} names")
        if colours is not None and not _are_colours(colours):
            raise ValueError("its normalisation is no mean and deviation of three channels")
        resize = report["resize"] if "resize" in report else _resize_of_settings(report["config"])
        if resize is not None and not (is_whole(resize, side) and resize <= _MOST_PIXELS):
            raise ValueError(f"resize={resize!r}")
        mean_std = None if colours is None else (tuple(colours[0]), tuple(colours[1]))
        return cls(side, None if classes is None else tuple(classes), mean_std, resize)

    @property
    def colours(self) -> Colours:
        """The normalisation; UserError where the folder has none."""
        if self.normalisation is None:
            raise UserError(
                "report.json has no normalisation, without which no image can be read as in the training; give tensors that "
                "are normalised as there, or train again."
            )
        return self.normalisation

    def texts(self) -> dict[str, str]:
        """As JSON by name: image_size, classes, mean, std, resize; without what is not known. ASCII alone."""
        mean, std = self.normalisation or (None, None)
        values = {
            "image_size": self.image_size, "classes": self.classes, "mean": mean, "std": std, "resize": self.resize,
        }  # fmt: skip
        return {name: json.dumps(value) for name, value in values.items() if value is not None}


def kept_names(classes: Sequence[str]) -> tuple[str, ...] | None:
    """`classes` as a report may hold them: None where they are too many or too long for it to be read again."""
    fits = len(classes) <= _MOST_NAMES and len(json.dumps(classes)) <= _MOST_CHARACTERS
    return tuple(classes) if fits else None


def _are_names(classes: Any, count: int) -> bool:
    return isinstance(classes, list) and len(classes) == count and all(isinstance(name, str) for name in classes)


def _are_colours(colours: Any) -> bool:
    if not isinstance(colours, list) or [len(c) if isinstance(c, list) else 0 for c in colours] != [3, 3]:
        return False
    values = [*colours[0], *colours[1]]
    return all(is_number(value) and math.isfinite(value) for value in values) and min(colours[1]) > 0


def _resize_of_settings(config: Any) -> Any:
    """Of ImageNet in reports that lack `resize`, as those of before had it among the data set's settings alone."""
    dataset = config.get("dataset") if isinstance(config, dict) else None
    return dataset.get("resize") if isinstance(dataset, dict) else None
