"""What a search will take is measured before it starts, and changes nothing of it."""

import copy
import logging
import re
import time

import pytest
import torch
from pytorch_lightning.plugins.precision import Precision

from nas_lightning.app import estimate
from nas_lightning.app.axes import build_module
from nas_lightning.app.evaluate import evaluate
from nas_lightning.app.job import Job
from nas_lightning.app.search import search
from nas_lightning.errors import UserError
from tests.conftest import TOY, composed

MB = 2**20


def kept(function):
    return estimate._measured(lambda _: function(), None)[0]


def test_what_is_kept_for_backward_is_the_outputs_of_each_function_once():
    x = torch.zeros(MB, requires_grad=True)
    assert kept(lambda: x.tanh()) == 4 * MB  # its output
    assert kept(lambda: x.tanh().tanh().tanh().sum()) == 3 * 4 * MB
    assert kept(lambda: x * x) == 4 * MB  # x, twice
    assert kept(lambda: x.tanh().view(2, -1).sin().sum()) == 4 * MB  # the view is of what is kept
    assert kept(lambda: x + x) == 0


def test_passes_one_after_another_need_the_memory_of_the_largest():
    x = torch.zeros(MB, requires_grad=True)

    def passes():
        for depth in (1, 3, 2):
            y = x
            for _ in range(depth):
                y = y.tanh()
            y.sum().backward()

    assert kept(passes) == 3 * 4 * MB


def test_other_work_on_the_machine_in_one_of_two_runs_does_not_count():
    pauses = iter((0.3, 0.0, 0.0, 0.3))
    times = [estimate._measured(lambda _: time.sleep(next(pauses)), None)[1] for _ in range(2)]
    assert max(times) < 0.2


@pytest.mark.parametrize(
    ("batch", "overhead", "an_image"), [(1, 0.05, 0.05), (96, 0.04, 0.0004), (96, 0.001, 0.02), (500, 0.3, 1e-5)]
)
def test_the_time_of_a_batch_is_that_of_many_images_not_of_few(batch, overhead, an_image):
    """What a step takes for no image, most of it for a few, does not count for each of a large batch."""

    def part(images):
        time.sleep(overhead + an_image * len(images[0]))

    found = estimate._estimate([part, part], torch.nn.Linear(1, 1), 1, batch, Precision())
    assert found.seconds == pytest.approx(2 * (overhead + an_image * batch), rel=0.25, abs=0.05)


def test_no_more_images_are_tried_than_fit_into_half_of_the_memory(monkeypatch):
    counts = []

    def part(images):
        counts.append(len(images[0]))
        torch.zeros(len(images[0]), MB, requires_grad=True).tanh().sum().backward()

    monkeypatch.setattr(estimate, "_free_memory", lambda: 2 * 20 * 4 * MB * 1.4)
    estimate._estimate([part], torch.nn.Linear(1, 1), 1, 96, Precision())
    assert max(counts) in (19, 20)


@pytest.mark.parametrize("method", ["edd", "darts_v2", "sdarts_adv", "gdas", "random", "drnas_progressive"])
def test_an_estimate_changes_neither_the_search_nor_what_is_drawn_next(method):
    config = composed(
        *TOY, f"method={method}", "space.partial=4" if "progressive" in method else "space.partial=1", "run_dir=x"
    )
    module = build_module(config, 10)
    before, state = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    found = estimate.estimate_search(module, 8, 16, Precision())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert found.an_image > 0
    assert found.seconds > 0


def test_memory_is_linear_in_the_batch_and_quadratic_in_the_side():
    module = build_module(composed(*TOY, "run_dir=x"), 10)
    sizes = {side: estimate.estimate_search(module, side, 64, Precision()) for side in (8, 16)}
    assert sizes[16].an_image == pytest.approx(4 * sizes[8].an_image, rel=0.1)
    whole = estimate.estimate_search(module, 16, 8, Precision())
    assert sizes[16].size(8) == pytest.approx(whole.size(8), rel=0.05)


def run(tmp_path, *overrides):
    return search(composed(*TOY, *overrides, f"run_dir={tmp_path / 'run'}"), Job({}, list(overrides)))


def test_a_search_that_cannot_have_the_memory_is_refused_with_a_batch_that_can(tmp_path, monkeypatch):
    module = build_module(composed(*TOY, "run_dir=x"), 10)
    found = estimate.estimate_search(module, 8, 16, Precision())
    monkeypatch.setattr(estimate, "_free_memory", lambda: int(found.size(10) + found.an_image / 2))
    with pytest.raises(
        UserError, match=r"takes about .*B of memory, for 16 images of 8 pixels, and .* are free; "
    ) as refusal:
        run(tmp_path)
    assert "set data.batch_size=10 or fewer, space.stem=imagenet, or a smaller" in str(refusal.value)
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(estimate, "_free_memory", lambda: 1_000)
    with pytest.raises(UserError, match=r"are free; set space\.stem=imagenet, or a smaller dataset\.image_size"):
        run(tmp_path)


@pytest.mark.parametrize("growth", [False, True])
def test_a_batch_that_will_grow_must_fit_at_its_largest(growth, tmp_path, monkeypatch):
    module = build_module(composed(*TOY, "run_dir=x"), 10)
    found = estimate.estimate_search(module, 8, 4, Precision())
    monkeypatch.setattr(estimate, "_free_memory", lambda: int(found.size(8)))
    node = "{_target_: nas_lightning.data.BatchGrowth, images: 8, start: 1, interval: 1, times: 2, epochs: 4}"
    overrides = ["data.batch_size=4", *([f"data.batch_growth={node}"] if growth else [])]
    if growth:
        with pytest.raises(UserError, match=r"for 20 images of 8 pixels"):
            run(tmp_path, *overrides)
    else:
        assert run(tmp_path, *overrides)["epochs"] == 4


def test_the_log_says_what_a_search_will_take(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "nas_lightning"):
        run(tmp_path)
    (line,) = [record.getMessage() for record in caplog.records if "memory" in record.getMessage()]
    assert re.fullmatch(
        r"A step takes about [\d.]+ [kM]B of memory, an epoch about \d:\d\d:\d\d on this processor, 4 of them \d:\d\d:\d\d\.",
        line,
    )


def test_an_epoch_that_is_cut_short_is_said_to_be(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(estimate, "estimate_search", lambda *_: estimate.Estimate(0.0, 1.0, 3600.0, 60.0))
    with caplog.at_level(logging.INFO, "nas_lightning"):
        run(tmp_path, "++trainer.limit_train_batches=2", "++trainer.limit_val_batches=1", "data.batch_size=4")
    (line,) = [record.getMessage() for record in caplog.records if "memory" in record.getMessage()]
    assert "an epoch about 2:04:00 on this processor" in line  # two steps and four images
    assert [estimate._limited(10, limit) for limit in (None, 20, 3, 1.0, 0.5, 0)] == [10, 10, 3, 10, 5, 0]


def test_free_memory_is_what_the_system_says():
    free = estimate._free_memory()
    assert free is None or 2**20 < free < 2**50


def training(tmp_path, *overrides):
    genotype = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
    config = composed(
        "dataset=fake", "dataset.image_size=8", "space.C=4", "space.N=1", "data.batch_size=8", "trainer.max_epochs=1",
        "trainer.accelerator=cpu", "benchmark=none", "dataset.train_images=16", "dataset.test_images=8", "train=true",
        f"genotype='{genotype}'", f"run_dir={tmp_path / 'run'}", *overrides, config="evaluate",
    )  # fmt: skip
    return evaluate(config, Job({}, []))


def test_a_training_that_cannot_have_the_memory_is_refused_by_the_networks_name(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "_free_memory", lambda: 10_000_000)
    with pytest.raises(UserError, match=r"a step of the training of resnet18 takes about .* for 8 images of 8 pixels"):
        training(tmp_path, "baselines=[resnet18]")
    assert not (tmp_path / "run").exists()
    assert training(tmp_path, "baselines=false")["epochs"] == 1


def test_a_training_is_the_same_with_and_without_an_estimate(tmp_path, monkeypatch):
    with_estimate = training(tmp_path / "a", "baselines=false", "recipe.drop_path=0.2")
    monkeypatch.setattr("nas_lightning.app.trainings.check_training", lambda *_: None)
    without = training(tmp_path / "b", "baselines=false", "recipe.drop_path=0.2")
    for key in ("test_accuracy", "train_accuracy"):
        assert with_estimate[key] == without[key]
    first, second = (torch.load(tmp_path / name / "run" / "found" / "weights.pt") for name in "ab")
    assert first.keys() == second.keys()
    assert all(torch.equal(weight, second[key]) for key, weight in first.items() if isinstance(weight, torch.Tensor))
    assert sum(isinstance(weight, torch.Tensor) for weight in first.values()) > 10
