"""What stands before the first cell: the image's size kept, or divided by 8 as in the DARTS family's ImageNet networks."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas_lightning.app.evaluate import evaluate
from nas_lightning.app.job import Job
from nas_lightning.errors import UserError
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.spaces.weights import EdgeWeights
from nas_lightning.supernet.compatible import check_side
from tests.conftest import composed

SPACES = {
    "darts": lambda **options: DARTS(C=4, num_cells=3, **options),
    "nb201": lambda **options: NB201(4, 1, **options),
}


def normalised(x, weight, bias):
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt() * weight[:, None, None] + bias[:, None, None]


def by_hand(x, parameters):
    """The images after two and after three convolutions of stride 2."""
    after = []
    for index in range(3):
        kernel, weight, bias = parameters[3 * index : 3 * index + 3]
        x = normalised(F.conv2d(x.relu() if index else x, kernel, stride=2, padding=1), weight, bias)
        after.append(x)
    return after[1], after[2]


def inputs_of_first_cell(module, cell, call):
    seen = []
    hook = cell.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    call(module)
    hook.remove()
    return seen[0] if isinstance(seen[0], tuple) else seen


def uniform(space, dtype=torch.float64):
    return {
        name: EdgeWeights(torch.full(spec.mask_EO.shape, 0.2, dtype=dtype) * spec.mask_EO, spec.candidates)
        for name, spec in space.cells.items()
    }


@pytest.mark.parametrize("what", ["supernet", "network"])
@pytest.mark.parametrize("name", SPACES)
def test_the_imagenet_stem_is_three_convolutions_of_stride_2(name, what):
    torch.manual_seed(0)
    space = SPACES[name](stem="imagenet")
    x = torch.randn(2, 3, 32, 64, dtype=torch.float64)
    if what == "supernet":
        module = space.supernet(5).double()
        cell = next(module.cells())
        seen = inputs_of_first_cell(module, cell, lambda module: module(x, uniform(space)))
    else:
        module = space.network(space.baselines(torch.Generator().manual_seed(0))["random"], 5).double().train()
        cell = module.cells[0] if name == "darts" else module.stages[0][0]
        seen = inputs_of_first_cell(module, cell, lambda module: module(x))
    parameters = list(module.parameters())[:9]
    assert [tuple(p.shape) for p in parameters[::3]] == [(2, 3, 3, 3), (4, 2, 3, 3), (4, 4, 3, 3)]
    quarter, eighth = by_hand(x, parameters)
    assert eighth.shape == (2, 4, 4, 8)
    expected = {"darts": (quarter, eighth), "nb201": (eighth,)}[name]
    torch.testing.assert_close(tuple(seen[: len(expected)]), expected)


@pytest.mark.parametrize("name", SPACES)
def test_a_supernet_of_either_stem_has_the_sizes_of_its_networks(name):
    for stem, multiple in (("cifar", 4), ("imagenet", 32)):
        space = SPACES[name](stem=stem)
        assert space.side_multiple == multiple
        check_side(space, 2 * multiple)
        x = torch.randn(2, 3, multiple, multiple)
        genotype = space.baselines(torch.Generator().manual_seed(1))["random"]
        supernet = space.supernet(3)
        assert space.network(genotype, 3)(x).shape == supernet(x, uniform(space, torch.float32)).shape == (2, 3)
        with pytest.raises(UserError, match=rf"need a multiple of {multiple}; set dataset.image_size={multiple} or"):
            check_side(space, multiple + 2)


@pytest.mark.parametrize("name", SPACES)
def test_without_a_choice_the_image_keeps_its_size(name):
    assert composed(f"space={name}").space.stem == "cifar"
    assert isinstance(SPACES[name]().supernet(2).stem[0], nn.Conv2d)
    assert SPACES[name]().supernet(2).stem[0].stride == (1, 1)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("stem", ["Imagenet", None, True])
def test_an_unknown_stem_is_refused_by_name(name, stem):
    with pytest.raises(UserError, match=r"space.stem must be one of cifar, imagenet, got"):
        SPACES[name](stem=stem)


def test_half_of_an_odd_number_of_channels_is_refused():
    with pytest.raises(
        UserError, match=r"space.stem=imagenet begins with half of space.C=5 channels; make space.C even"
    ):
        NB201(5, 1, stem="imagenet")


@pytest.mark.parametrize("name", SPACES)
def test_what_a_search_by_the_imagenet_stem_finds_is_trained_by_it(name, toy, tmp_path):
    space = (f"space={name}", "space.N=1" if name == "nb201" else "space.num_cells=3", "space.stem=imagenet")
    toy("search", *space, "dataset.image_size=32", "trainer.max_epochs=1")
    head = ("space.auxiliary_head=false",) if name == "darts" else ()  # for which 32 pixels are too few
    training = composed(
        *space, "space.C=4", "dataset=fake", "dataset.image_size=32", "dataset.train_images=16", "dataset.test_images=8",
        "data.batch_size=8", "trainer.max_epochs=1", "trainer.accelerator=cpu", "benchmark=none", "baselines=false",
        "train=true", *head, f"run={tmp_path / 'search'}", f"run_dir={tmp_path / 'network'}", config="evaluate",
    )  # fmt: skip
    assert math.isfinite(evaluate(training, Job({"dataset": "fake"}, ["dataset=fake"]))["test_accuracy"])
