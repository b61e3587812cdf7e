"""A number that moves with the run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nas_lightning.errors import UserError, check_whole, is_number


@dataclass(frozen=True)
class Ramp:
    """From `start` to `end` while the run's progress goes from `begin` to `until`; constant before and after.

    shape: linear; cosine, half a period; or exponential, by equal factors (both ends positive). As a tensor on progress's
    device, so that it may stand inside of a captured half step; nothing of it needs a checkpoint.

    epochs: of the run. An epoch's progress is what was done before it, so that the last epoch of E has 1 - 1/E of the way
    to `end`. With `epochs` it has `end` itself.

    >>> ramp = Ramp(start=0.0, end=50.0)
    >>> [ramp(torch.tensor(share)).item() for share in (0.0, 0.5, 1.0)]
    [0.0, 25.0, 50.0]
    """

    start: float
    end: float
    shape: Literal["linear", "cosine", "exponential"] = "linear"
    begin: float = 0.0
    until: float = 1.0
    epochs: int | None = None

    def __post_init__(self) -> None:
        for name in ("start", "end", "begin", "until"):
            value = getattr(self, name)
            if not (is_number(value) and math.isfinite(value)):
                raise UserError(f"a ramp's {name} must be a finite number, got {value!r}.")
        if self.shape not in ("linear", "cosine", "exponential"):
            raise UserError(f"a ramp's shape must be linear, cosine or exponential, got {self.shape!r}.")
        if not 0 <= self.begin < self.until <= 1:
            raise UserError(
                f"a ramp goes from begin={self.begin} to until={self.until} of the run; give 0 <= begin < until <= 1."
            )
        if self.shape == "exponential" and not (self.start > 0 and self.end > 0):
            raise UserError(
                f"an exponential ramp from {self.start} to {self.end} needs positive ends; use shape=linear."
            )
        if self.epochs is not None:
            check_whole("a ramp's epochs", self.epochs, 1)

    def __call__(self, progress: Tensor) -> Tensor:
        """progress: scalar in [0, 1], the share of the run's epochs that is done."""
        if self.epochs is not None:
            progress = progress * (self.epochs / max(1, self.epochs - 1))
        share = ((progress - self.begin) / (self.until - self.begin)).clamp(0, 1)
        if self.shape == "cosine":
            share = (1 - torch.cos(math.pi * share)) / 2
        if self.shape == "exponential":
            return self.start * (self.end / self.start) ** share
        return self.start + (self.end - self.start) * share


def as_ramp(setting: str, value: object, below: float = math.inf) -> Ramp | None:
    """A ramp that may be given by its own settings, `{start: 1, end: 0}`, or be null.

    UserError where `value` is anything else, or where an end is negative or not less than `below`.
    """
    if value is None:
        return None
    ramp = value
    if isinstance(value, Mapping) and {"start", "end"} <= {*value} <= {*Ramp.__dataclass_fields__}:
        try:
            ramp = Ramp(**value)
        except UserError as error:
            raise UserError(f"{setting}: {error}") from None
    # In single precision, as a supernet computes with it: 1 - 1e-9 is 1 there.
    if not isinstance(ramp, Ramp) or not all(0 <= torch.tensor(end).item() < below for end in (ramp.start, ramp.end)):
        limit = "" if below == math.inf else f" and less than {below:g}"
        raise UserError(
            f"{setting} must be null or a ramp whose ends are 0 or more{limit}, such as {{start: 0.5, end: 0}}, got "
            f"{value!r}."
        )
    return ramp
