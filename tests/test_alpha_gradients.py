"""What pulls at alpha, as metrics.csv has it, against the way that plain gradient descent takes alpha."""

import csv

import pytest
from omegaconf import OmegaConf

from nas_lightning.app.job import Job
from nas_lightning.app.search import search
from tests.conftest import TOY, composed, toy_size

STEPS = 3  # an epoch


def searched(folder, *overrides):
    """(metrics.csv, architecture.csv) of a search that takes alpha straight down its gradient."""
    config = composed(*toy_size((*TOY, *overrides)), *overrides, f"run_dir={folder}", "model.arch_start=1")
    config.model.arch_optimizer = OmegaConf.create({"_target_": "torch.optim.SGD", "_partial_": True, "lr": 1.0})
    search(config, Job({}, []))
    return [list(csv.DictReader((folder / name).open())) for name in ("metrics.csv", "architecture.csv")]


@pytest.mark.parametrize("space", ["nb201", "s2"])
def test_the_mean_gradient_of_an_epoch_is_what_gradient_descent_moves_by(space, tmp_path):
    metrics, alphas = searched(tmp_path / "run", f"space={space}", "callbacks=alpha_gradients")
    entries = [key for key in alphas[0] if key.startswith("alpha/")]
    columns = {key for key in metrics[0] if key.startswith("alpha_gradient/")}
    assert columns == {key.replace("alpha/", "alpha_gradient/", 1) for key in entries}
    assert not any(metrics[0][column] for column in columns)
    moved = 0
    for epoch in range(1, len(metrics)):
        for key in entries:
            before, after = (float(alphas[e][key]) for e in (epoch - 1, epoch))
            gradient = float(metrics[epoch][key.replace("alpha/", "alpha_gradient/", 1)])
            assert gradient * STEPS == pytest.approx(before - after, abs=3e-5)  # alpha has six digits
            moved += abs(after - before) > 1e-3
    assert moved > len(entries)


def test_nothing_of_the_search_moves_by_it(tmp_path):
    _, with_it = searched(tmp_path / "with", "callbacks=alpha_gradients")
    _, without = searched(tmp_path / "without")
    assert with_it == without
