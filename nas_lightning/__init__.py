"""Differentiable neural architecture search on PyTorch Lightning, Hydra and Weights & Biases."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__version__ = "0.1.0"


def load(path: "str | Path") -> "nn.Module":
    """The trained network in the folder of a finished `evaluate train=true`, as a plain module in eval mode."""
    from nas_lightning.training import export  # torch is imported here, so that the programs' --help stays fast

    return export.load(path)
