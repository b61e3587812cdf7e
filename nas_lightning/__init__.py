"""Differentiable neural architecture search on PyTorch Lightning, Hydra and Weights & Biases."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas_lightning.classifier import Classifier
    from nas_lightning.spaces import SearchSpace

__version__ = "0.1.0"


def load(path: "str | Path", space: "SearchSpace | None" = None) -> "Classifier":
    """The trained network in the folder of a finished `evaluate train=true`, as a torch.nn.Module in eval mode.

    network(x [B, 3, S, S]): logits [B, classes]. network.classes: names, or None. network.transform(PIL image): normalised
    float32 [3, S, S]. network.predict(path, PIL image or tensor): (name, probability) of all classes, the likeliest first.

    space: of a class of your own, with the settings of the training; nothing that a folder names is run.
    """
    from nas_lightning import classifier  # torch is imported here, so that the programs' --help stays fast

    return classifier.load(path, space)
