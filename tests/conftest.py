"""Shared fixtures: composed configs and small searches."""

import copy
import functools
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict

from nas_lightning.app.job import Job
from nas_lightning.app.search import search
from nas_lightning.derive.base import derived
from nas_lightning.records.folder import folder_name
from nas_lightning.relaxations import CellView, Softmax

ROOT = Path(__file__).parent.parent
OmegaConf.register_new_resolver("run_folder", folder_name, replace=True)
torch.set_num_threads(1)

PATIENCE = 1_800
"""Seconds to wait for another process, which takes three on an idle machine and minutes on one with a load of 20."""

TOY = (
    "dataset=fake", "benchmark=none", "space.C=4", "space.N=1", "data.batch_size=16", "data.train_images=48",
    "data.valid_images=48", "dataset.image_size=8", "trainer.max_epochs=4", "trainer.accelerator=cpu",
    "arch_optimizer.lr=0.01",
)  # fmt: skip


def composed(*overrides: str, config: str = "train"):
    return composed_with_choices(*overrides, config=config)[0]


def composed_with_choices(*overrides: str, config: str = "train"):
    """The config, and the option of every config group as Hydra tells a program."""
    folders = [text for text in overrides if text.startswith("run_dir=")]
    made, choices = _composed(config, tuple(text for text in overrides if text not in folders))
    made = copy.deepcopy(made)
    if folders:
        made.run_dir = folders[-1].partition("=")[2]
    return made, dict(choices)


@functools.cache
def _composed(config, overrides):
    """Once for the searches of a test, which differ in their folder alone: Hydra needs a quarter of a second."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        made = compose(config, list(overrides), return_hydra_config=True)
    choices = dict(made.hydra.runtime.choices)
    with open_dict(made):
        del made["hydra"]
    return made, choices


def view_of(space, alphas, temperature=1.0, edges=None, relaxation=None):
    """What derive rules see of a cell with these alphas: {cell type: [E, O]}, and of its edges' parameters."""
    return {
        name: CellView(
            space.cells[name],
            relaxation or Softmax(),
            alpha,
            space.cells[name].mask_EO,
            torch.tensor(temperature, dtype=torch.float64),
            (edges or {}).get(name),
        )
        for name, alpha in alphas.items()
    }


def derive(space, alphas, temperature=1.0, edges=None, rule=None):
    return derived(space.name, rule or space.rule, view_of(space, alphas, temperature, edges))


@pytest.fixture(autouse=True)
def users_cache(monkeypatch, tmp_path_factory):
    """Decoded images go into a folder of the test's own."""
    folder = tmp_path_factory.getbasetemp() / "users_cache"
    monkeypatch.setattr("nas_lightning.data.cache.user_cache_path", lambda *_, **__: folder)


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """Without the figures of a search, which take longer than a toy; tests of their files are marked `drawings`."""
    if request.node.get_closest_marker("drawings") is None:
        for name in ("draw_cell", "plot_search"):
            monkeypatch.setattr(f"nas_lightning.app.search.{name}", lambda *arguments: None)


def toy_size(overrides):
    """TOY, of three cells where another space than NAS-Bench-201 is asked for."""
    spaces = [override for override in overrides if override.startswith("space=")]
    if not spaces or spaces[-1] == "space=nb201":
        return TOY
    return tuple("space.num_cells=3" if override == "space.N=1" else override for override in TOY)


@pytest.fixture
def toy(tmp_path):
    """toy(folder name, *overrides) -> report of a four-epoch search in tmp_path / folder name."""

    def run(name: str, *overrides: str, in_sweep: bool = False):
        config, choices = composed_with_choices(*toy_size(overrides), *overrides, f"run_dir={tmp_path / name}")
        return search(config, Job(choices, list(overrides), in_sweep))

    return run
