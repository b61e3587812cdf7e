"""Whether the images on which a found network is tested are new to it: what its search has used, by the search's record."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas_lightning.data import Splits
from nas_lightning.data.split import hold_out_fingerprint
from nas_lightning.errors import UserError, is_number
from nas_lightning.records.received import received_json, received_yaml


def check_unseen(run: Path, dataset: Mapping[str, Any], is_named: bool, splits: Splits) -> str | None:
    """UserError where the search in `run` has used images that are now held out for the test.

    dataset: the settings from which `splits` were loaded. is_named: they were named on the command line; then only those of the
    search's own images, the same class and root, are compared with the search's. Returns a sentence of caution where the test
    images are the data set's own, and the search has used them knowingly.
    """
    searched, split = _record(run)
    if is_named and not _are_same(searched, dataset):
        return None
    others = "or give other test images by dataset.test_root=PATH"
    if splits.test is None:
        raise UserError(
            f"the data set has no test images, and the search in {run} has used all others; search again with "
            f"dataset.test_fraction=0.2, {others}."
        )
    if splits.test_fraction is not None:
        _check_held_out(run, searched.get("test_fraction"), split, splits, others)
    elif split.get("alpha_images") == "test_half":
        return (
            "The search's alpha was trained on half of these test images (data.alpha_images=test_half, as NAS-Bench-201's "
            "programs do): the test accuracy is not of unseen images alone."
        )
    return None


def _check_held_out(run: Path, before: Any, split: Mapping[str, Any], splits: Splits, others: str) -> None:
    now = splits.test_fraction
    assert now is not None
    if not is_number(before):
        raise UserError(
            f"the search in {run} has used all images, and dataset.test_fraction={now} would test on some of them; search "
            f"again with dataset.test_fraction={now}, {others}."
        )
    if now > before:
        raise UserError(
            f"the search in {run} has held out dataset.test_fraction={before}, and {now} would test on images that it has "
            f"used; set at most {before}, search again with dataset.test_fraction={now}, {others}."
        )
    held_out = split.get("hold_out_sha256")
    if held_out is None:
        raise UserError(
            f"{run / 'report.json'} does not say which images the search has held out (it is not there, or of a version that "
            f"held out others), so that dataset.test_fraction={now} could test on images that it has used; search again, "
            f"{others}."
        )
    if held_out != hold_out_fingerprint(splits):
        raise UserError(
            f"the images are not those that the search in {run} was given (some have come, gone or are skipped now), so that "
            f"dataset.test_fraction={now} would test on images that it has used; restore them, search again, {others}."
        )


def _record(run: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The search's settings of its data set, and what its report says of the split; {} for what is not there."""
    parts = []
    for read, name, key in ((received_yaml, "config.yaml", "dataset"), (received_json, "report.json", "split")):
        try:
            part = read(run / name)[key]
        except (OSError, ValueError, KeyError, TypeError):  # of another program, or not finished
            part = {}
        parts.append(part if isinstance(part, Mapping) else {})
    return parts[0], parts[1]


def _are_same(searched: Mapping[str, Any], dataset: Mapping[str, Any]) -> bool:
    roots = [os.path.realpath(str(each.get("root", ""))) for each in (searched, dataset)]
    return searched.get("_target_") == dataset.get("_target_") and roots[0] == roots[1]
