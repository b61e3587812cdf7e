"""`nas-lightning fit PHOTOS`: from a folder of photos to a network in use, by a search and a training of what it finds."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from nas_lightning.app.early import check_root
from nas_lightning.app.stdout import tell_who_waits
from nas_lightning.errors import UserError
from nas_lightning.escapes import visible
from nas_lightning.records.folder import folder_name

if TYPE_CHECKING:
    from nas_lightning.app.calls import Choice
    from nas_lightning.data import Folder

# What needs torch is imported in the functions: --help and refusals come first.

_EPILOG = """\
Settings are those of `nas-lightning train` and `evaluate`. One that begins with search. or train. is for this part alone, such
as search.trainer.max_epochs=10 train.trainer.max_epochs=100; space.C, seed, data.batch_size=... without are for both.
Interrupted, the same command goes on where it was; finished, it says what it found.
"""
_SMALL = 32  # pixels up to which the image keeps its size before the first cell
_SEARCH: dict[str, "Choice"] = {"experiment": "photos"}
_TRAINING: dict[str, "Choice"] = {
    "space.C": 16, "space.N": 2, "data.batch_size": 32, "data.valid_fraction": 0.1, "recipe.optimizer.lr": 0.05,
    "trainer.max_epochs": 60, "baselines": ["resnet18", "mobilenet_v3_small"], "export": "onnx", "export.preprocess": True,
    "benchmark": "none",
}  # fmt: skip


def fit_photos(arguments: Sequence[str]) -> None:
    """Say what was read, search, train what was found beside networks of torchvision, export, and say how to use it."""
    parser = argparse.ArgumentParser(
        prog="nas-lightning fit",
        description="Search a network for your images, train it beside networks of torchvision, and export it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "photos", metavar="PHOTOS", help="a folder or zip of <class>/<image>, with or without train/ and test/"
    )
    parser.add_argument("settings", metavar="KEY=VALUE", nargs="*", help="settings of both parts, or of one")
    parser.add_argument("-o", "--out", metavar="FOLDER", help="where all goes; default runs/<name of PHOTOS>")
    if not arguments:
        raise UserError("nas-lightning fit needs a folder or zip of <class>/<image>; give its path, or --help.")
    given = parser.parse_intermixed_args(arguments)
    out = Path(given.out or Path("runs") / folder_name(Path(given.photos).resolve().stem))
    check_root(given.photos)
    tell_who_waits(f"{out}: loading PyTorch ...")
    try:
        _fit(given.photos, given.settings, out)
    except UserError as error:
        error.args = (str(error).replace("another name= or run_dir=", "-o <another folder>"),)
        raise


def _fit(photos: str, settings: Sequence[str], out: Path) -> None:
    from nas_lightning.app.calls import composed, fit, search
    from nas_lightning.app.evaluate import check_evaluation
    from nas_lightning.build import build
    from nas_lightning.reports.evaluation import print_evaluation

    report = out / "network" / "report.json"
    images = {"dataset": "folder", "dataset.root": photos}
    of_search = _settings(settings, "search", {**_SEARCH, **images, "run_dir": str(out / "search")})
    dataset: Folder = build(composed("train", of_search)[0].dataset)
    print(*map(visible, dataset.summary()), sep="\n")
    if dataset.side <= _SMALL and not any(text.startswith("space.stem=") for text in of_search):
        of_search.append("space.stem=cifar")
    of_training = _settings(settings, "train", {**_TRAINING, "run_dir": str(report.parent)})
    check_evaluation(*composed("evaluate", ["train=true", "run=.", *of_training]))  # any folder: there is no search yet
    if any(text.startswith("budget.") for text in of_search) and not any("budget.space=" in text for text in of_search):
        of_search.append(f"budget.space={_sizes(of_training)}")
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    found = search(of_search, {}, quiet=False)
    was_finished = report.exists()
    trained = fit(found, of_training, {}, quiet=False)
    if was_finished:
        print_evaluation(trained.report, report, None)
    _print_end(trained.folder)


def _settings(given: Sequence[str], part: str, own: dict[str, "Choice"]) -> list[str]:
    """The overrides of a part: `own` but for what is given, and what is given for it or for both."""
    from nas_lightning.app.calls import as_overrides

    other = {"search": "train.", "train": "search."}[part]
    asked = [text.removeprefix(f"{part}.") for text in given if not text.startswith(other)]
    named = {text.lstrip("+~").partition("=")[0] for text in asked}
    kept = {key: value for key, value in own.items() if not {key, key.partition(".")[0]} & named}
    return [*as_overrides(kept), *asked]


def _sizes(of_training: Sequence[str]) -> str:
    """What the training sets of the space, as Hydra takes a mapping."""
    own = [text.removeprefix("space.").replace("=", ":") for text in of_training if text.startswith("space.")]
    return f"{{{','.join(own)}}}"


def _print_end(folder: Path) -> None:
    onnx = folder / "model.onnx"
    print(visible(f"The network is in {folder}: weights, model card, and {onnx} for programs without this package."))
    print(visible(f"nas-lightning predict {quote(str(folder))} IMAGE..."))
