"""Shared fixtures: composed configs and small searches."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nas_lightning.app.job import Job
from nas_lightning.app.search import search
from nas_lightning.records.folder import folder_name

ROOT = Path(__file__).parent.parent
OmegaConf.register_new_resolver("run_folder", folder_name, replace=True)
torch.set_num_threads(1)

TOY = (
    "dataset=fake", "benchmark=none", "space.C=4", "space.N=1", "data.batch_size=16", "data.train_images=48",
    "data.valid_images=48", "dataset.image_size=8", "trainer.max_epochs=4", "trainer.accelerator=cpu",
    "arch_optimizer.lr=0.01",
)  # fmt: skip


def composed(*overrides: str, config: str = "train"):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(config, list(overrides))


@pytest.fixture(autouse=True)
def users_cache(monkeypatch, tmp_path_factory):
    """Decoded images go into a folder of the test's own."""
    folder = tmp_path_factory.getbasetemp() / "users_cache"
    monkeypatch.setattr("nas_lightning.data.cache.user_cache_path", lambda *_, **__: folder)


@pytest.fixture
def toy(tmp_path):
    """toy(folder name, *overrides) -> report of a four-epoch search in tmp_path / folder name."""

    def run(name: str, *overrides: str, in_sweep: bool = False):
        config = composed(*TOY, *overrides, f"run_dir={tmp_path / name}")
        return search(config, Job({"method": "edd", "space": "nb201", "dataset": "fake"}, list(overrides), in_sweep))

    return run
