"""`nas-lightning predict`: the likeliest classes of images, by a trained network."""

import argparse
from collections.abc import Sequence

import nas_lightning
from nas_lightning.app.stdout import tell_who_waits
from nas_lightning.escapes import visible

_MOST = 5


def predict(arguments: Sequence[str]) -> None:
    """Print the likeliest classes of each image; UserError before anything is printed."""
    parser = argparse.ArgumentParser(
        prog="nas-lightning predict",
        description=f"The {_MOST} likeliest classes of each image and their probabilities.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="of a finished evaluate train=true")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image file of any size")
    given = parser.parse_args(arguments)
    tell_who_waits(f"{given.folder}: loading PyTorch ...")
    network = nas_lightning.load(given.folder)
    predictions = [network.predict(image) for image in given.images]
    for image, prediction in zip(given.images, predictions, strict=True):
        print(visible(image))
        for name, probability in prediction[:_MOST]:
            print(f"{100 * probability:7.2f} %  {visible(name)}")
