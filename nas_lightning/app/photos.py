"""`nas-lightning fit PHOTOS`: from a folder of photos to a network in use, by a search and a training of what it finds."""

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from nas_lightning.app.early import check_root
from nas_lightning.app.stdout import outlive_reader, tell_who_waits
from nas_lightning.costs import KINDS
from nas_lightning.errors import UserError
from nas_lightning.escapes import visible
from nas_lightning.image_tree import place_name
from nas_lightning.records.folder import ELSEWHERE, folder_name
from nas_lightning.records.overrides import key_of

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
    "data.batch_size": 32, "data.valid_fraction": 0.1, "recipe.optimizer.lr": 0.05, "trainer.max_epochs": 60,
    "baselines": ["resnet18", "mobilenet_v3_small"], "export": "onnx", "export.preprocess": True, "benchmark": "none",
}  # fmt: skip
_SIZES = {"C": 16, "N": 2, "num_cells": 8, "auxiliary_head": False}
"""Of the trained network, those of these settings that its space has."""


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
    if given.out == "":
        raise UserError("-o names no folder; give one, or leave it out.")
    out = Path(given.out or Path("runs") / folder_name(place_name(Path(given.photos).resolve())))
    _check(given.photos, given.settings, out)
    check_root(given.photos)
    outlive_reader()
    is_new = not out.exists()
    tell_who_waits(f"{out}: loading PyTorch ...")
    try:
        _fit(given.photos, given.settings, out)
    except UserError as error:
        error.args = (str(error).replace(ELSEWHERE, "-o <another folder>"),)
        if is_new:
            with suppress(OSError):  # where something was written, it stays
                out.rmdir()
        raise


def _check(photos: str, settings: Sequence[str], out: Path) -> None:
    """UserError for settings that are not fit's to take, and a place that cannot be written."""
    for text in settings:
        key = key_of(text)
        name = key.removeprefix("search.").removeprefix("train.")
        if name in ("dataset", "dataset.root"):
            raise UserError(f"{text}: the images of fit are those of PHOTOS, here {photos}; drop it.")
        if name == "run_dir":
            raise UserError(f"{text}: fit has a folder for its search and one for its training; give -o FOLDER.")
        if key.startswith("train.budget"):
            raise UserError(
                f"{text}: a budget is for both parts; give {text.removeprefix('train.')}, and search.budget.weight=0 for a "
                "search that is not steered."
            )
    file = next((path for path in (out, *out.parents) if path.exists() and not path.is_dir()), None)
    if file is not None:
        raise UserError(f"-o {out}: {file} is a file; give a folder.")
    if out.resolve().is_relative_to(Path(photos).resolve()):
        raise UserError(f"-o {out} is inside {photos}, where folders are classes of images; give one elsewhere.")


def _fit(photos: str, settings: Sequence[str], out: Path) -> None:
    from nas_lightning.app.calls import composed, fit, search
    from nas_lightning.app.evaluate import check_evaluation
    from nas_lightning.build import build
    from nas_lightning.reports.evaluation import print_evaluation

    report = out / "network" / "report.json"
    images = {"dataset": "folder", "dataset.root": photos}
    of_search = _settings(settings, "search", {**_SEARCH, **images, "run_dir": str(out / "search")})
    searching, _ = composed("train", of_search)
    dataset: Folder = build(searching.dataset)
    print(*map(visible, dataset.summary(is_weighted=searching.data.get("balance") is True)), sep="\n")
    if dataset.side <= _SMALL and "space.stem" not in map(key_of, of_search):
        of_search.append("space.stem=cifar")
    sizes = {f"space.{name}": size for name, size in _SIZES.items() if name in searching.space}
    of_training = _settings(settings, "train", {**sizes, **_TRAINING, "run_dir": str(report.parent)})
    check_evaluation(*composed("evaluate", ["train=true", "run=.", *of_training]))  # any folder: there is no search yet
    budget = searching.budget
    is_limited = isinstance(budget, DictConfig) and any(budget[kind] is not None for kind in KINDS)
    if is_limited and budget.space is None:
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

    other = {"search": "train", "train": "search"}[part]
    asked = [text.removeprefix(f"{part}.") for text in given if not text.startswith(f"{other}.")]
    asked = [text for text in asked if f"{part}.{text}" in given or not _is_only(other, text)]
    named = {key_of(text) for text in asked} - {"space"}  # its sizes here are settings that it has
    kept = {key: value for key, value in own.items() if not {key, key.partition(".")[0]} & named}
    return [*as_overrides(kept), *asked]


def _is_only(part: str, text: str) -> bool:
    """Whether only this part, search or train, has such a setting."""
    name = re.split(r"[./@]", key_of(text), maxsplit=1)[0]
    programs = {"search": "train", "train": "evaluate"}
    known = {each: name in _sections(program) for each, program in programs.items()}
    return known.pop(part) and not any(known.values())


@cache
def _sections(program: str) -> frozenset[str]:
    """The groups and keys of a program's config, by their first name."""
    from nas_lightning.app.calls import composed

    needed = ["genotype=0"] if program == "evaluate" else []
    config, job = composed(program, needed)
    return frozenset({*map(str, config), *(group.partition("/")[0] for group in job.choices)})


def _sizes(of_training: Sequence[str]) -> str:
    """What the training sets of the space, as Hydra takes a mapping."""
    own = [text.removeprefix("space.").replace("=", ":") for text in of_training if text.startswith("space.")]
    return f"{{{','.join(own)}}}"


def _print_end(folder: Path) -> None:
    onnx = folder / "model.onnx"
    exported = f", and {onnx} for programs without this package" if onnx.exists() else ""
    print(visible(f"The network is in {folder}: weights, model card{exported}."))
    print(visible(f"nas-lightning predict {quote(str(folder))} IMAGE..."))
