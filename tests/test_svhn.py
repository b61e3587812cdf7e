"""SVHN's images are mirrored in searches and in trainings, as in all published programs, though a mirrored 2 is none."""

import numpy as np
import pytest
import scipy.io
import torch

from nas_lightning.app.axes import build_data
from nas_lightning.data.augment import normalise
from tests.conftest import composed

COUNT, SEEDS = 40, 8
SPACES = ("nb201", "darts", "s4")
PLAIN = ("dataset.padding=0", "data.batch_size=10")


@pytest.fixture
def files(monkeypatch, tmp_path):
    """(settings that read made-up house numbers from SVHN's files, their pixels by part)"""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3, COUNT), dtype=np.uint8)
    names = {"train": "train.mat", "test": "test.mat"}
    for of_part, name in zip(pixels, names.values(), strict=True):
        scipy.io.savemat(tmp_path / name, {"X": of_part, "y": np.arange(COUNT)[:, None] % 10 + 1})
    monkeypatch.setattr(
        "torchvision.datasets.SVHN.split_list", {part: ["url", name, None] for part, name in names.items()}
    )
    train, test = (torch.from_numpy(of_part.transpose(3, 2, 0, 1).copy()) for of_part in pixels)
    return (f"dataset.root={tmp_path}", "dataset.download=false"), {"train": train, "test": test}


def mirrored(x, pixels, data):
    """Of each image of a batch whether it is one of `pixels` mirrored; it must be one of them as it is or mirrored."""
    known = normalise(pixels, *data.normalisation)
    answers = []
    for image in x:
        is_plain, is_mirrored = ((there == image).flatten(1).all(1).any().item() for there in (known, known.flip(-1)))
        assert is_plain != is_mirrored
        answers.append(is_mirrored)
    return answers


@pytest.mark.parametrize("protocol", ["own", "published", "edd_paper", "released"])
@pytest.mark.parametrize("space", SPACES)
def test_every_search_on_svhn_flips(space, protocol):
    config = composed(f"space={space}", "dataset=svhn", f"protocol={protocol}", "run_dir=x")
    assert config.data.dataset.flip is True
    assert config.data._target_ == "nas_lightning.data.SearchData"


@pytest.mark.parametrize(
    ("space", "recipe"),
    [("nb201", "nb201"), ("darts", "darts"), ("darts", "drnas"), ("s4", "subspaces"), ("s4", "darts")],
)
def test_every_training_on_svhn_flips(space, recipe):
    config = composed(f"space={space}", "dataset=svhn", f"recipe={recipe}", "run_dir=x", config="evaluate")
    assert config.data.dataset.flip is True
    assert config.data._target_ == "nas_lightning.data.TrainData"


@pytest.mark.parametrize("space", SPACES)
def test_a_search_mirrors_half_of_the_images_of_both_parts_and_none_that_it_measures_on(space, files):
    settings, pixels = files

    def drawn(*flip):
        config = composed(f"space={space}", "dataset=svhn", *settings, *PLAIN, *flip, "run_dir=x")
        data = build_data(config, of_search=True)
        found = {"train": [], "valid": []}
        for data.seed in range(SEEDS):
            for batch, *_ in iter(data.train_dataloader()):
                for part, (x, _) in batch.items():
                    found[part] += mirrored(x, pixels["train"], data)
        measured = [answer for x, _ in data.val_dataloader() for answer in mirrored(x, pixels["train"], data)]
        assert len(measured) == COUNT // 2
        assert not any(measured)
        return found

    for answers in drawn().values():
        assert len(answers) == SEEDS * COUNT // 2
        assert 0.35 < sum(answers) / len(answers) < 0.65
    assert not any(any(answers) for answers in drawn("dataset.flip=false").values())


@pytest.mark.parametrize("space", SPACES)
def test_a_training_mirrors_half_of_its_images_and_none_of_the_test_images(space, files):
    settings, pixels = files

    def drawn(*flip):
        given = (*settings, *PLAIN, "data.cutout=0", *flip, "run_dir=x")
        data = build_data(composed(f"space={space}", "dataset=svhn", *given, config="evaluate"), of_search=False)
        answers = []
        for data.seed in range(SEEDS // 2):
            answers += [answer for x, _ in data.train_dataloader() for answer in mirrored(x, pixels["train"], data)]
        tested = [answer for x, _ in data.test_dataloader() for answer in mirrored(x, pixels["test"], data)]
        assert len(tested) == COUNT
        assert not any(tested)
        return answers

    answers = drawn()
    assert len(answers) == SEEDS // 2 * COUNT
    assert 0.35 < sum(answers) / len(answers) < 0.65
    assert not any(drawn("dataset.flip=false"))
