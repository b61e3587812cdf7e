"""Differentiable neural architecture search on PyTorch Lightning, Hydra and Weights & Biases."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from nas_lightning.spaces import SearchSpace

__version__ = "0.1.0"


def load(path: "str | Path", space: "SearchSpace | None" = None) -> "nn.Module":
    """The trained network in the folder of a finished `evaluate train=true`, as a plain module in eval mode.

    space: of a class of your own, with the settings of the training; nothing that a folder names is run.
    """
    from nas_lightning.training import export  # torch is imported here, so that the programs' --help stays fast

    return export.load(path, space)
