"""Differentiable neural architecture search on PyTorch Lightning, Hydra and Weights & Biases.

import nas_lightning as nl

run = nl.search(dataset="photos", space="nb201")   # as nas-lightning train; run.genotype, run.history, run.figures
net = nl.fit(run)                                  # as nas-lightning evaluate run=... train=true
nl.predict(net, "photo.jpg")
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas_lightning.app.calls import Choice, Search, Training
    from nas_lightning.classifier import Classifier
    from nas_lightning.spaces import SearchSpace

__version__ = "0.1.0"

# What needs torch is imported in the functions, so that the programs' --help stays fast.


def search(*overrides: str, quiet: bool | None = None, **choices: "Choice") -> "Search":
    """`nas-lightning train`: run a search, or go on with it, or take it from its folder where it is finished.

    overrides: as on the command line, such as "sched.lam=0.12". choices: the same by name, such as space="nb201",
    trainer={"max_epochs": 10}; dataset may be the path of a folder or zip of your images. quiet: whether nothing is printed; by
    default so outside notebooks. UserError, one sentence, for what the command line refuses.
    """
    from nas_lightning.app import calls

    return calls.search(overrides, choices, quiet)


def fit(run: "Search | str | Path", *overrides: str, quiet: bool | None = None, **choices: "Choice") -> "Training":
    """`nas-lightning evaluate run=RUN train=true`: train what a search has found, in its space and by its stem.

    run: the search, its folder, or a genotype's text; the rest as of `search`.
    """
    from nas_lightning.app import calls

    return calls.fit(run, overrides, choices, quiet)


def predict(network: "Training | str | Path", image: Any) -> Any:
    """(class, probability) of every class, the likeliest first.

    network: a training, or its folder. image: a path, an image of Pillow or a tensor, see `Classifier.predict`.
    """
    return (load(network) if isinstance(network, str | Path) else network).predict(image)


def load(path: "str | Path", space: "SearchSpace | None" = None) -> "Classifier":
    """The trained network in the folder of a finished `evaluate train=true`, as a torch.nn.Module in eval mode.

    network(x [B, 3, S, S]): logits [B, classes]. network.classes: names, or None. network.transform(PIL image): normalised
    float32 [3, S, S]. network.predict(path, PIL image or tensor): (name, probability) of all classes, the likeliest first.

    space: of a class of your own, with the settings of the training; nothing that a folder names is run.
    """
    from nas_lightning import classifier

    return classifier.load(path, space)
