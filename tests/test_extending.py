"""docs/extending.md does what it says: every section's files, written as they stand there, are a search."""

import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch.overrides import TorchFunctionMode

from nas_lightning.app.axes import EPOCH_AXES, MODULE_AXES
from nas_lightning.app.evaluate import evaluate
from nas_lightning.app.job import Job
from nas_lightning.app.search import search
from nas_lightning.supernet import SupernetModule
from tests.conftest import ROOT, TOY, composed
from tests.extending import sections, walk, write
from tests.test_search import interrupt, rows, weights

SECTIONS = sections()
each_section = pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.group)


class TensorsAlone(TorchFunctionMode):
    """Fails where a value goes to the host or comes from there."""

    def __torch_function__(self, function, types, arguments=(), settings=None):
        crossing = ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "tensor")
        assert function.__name__ not in crossing, f"{function.__name__} in a half step"
        return function(*arguments, **(settings or {}))


def on_tensors_alone(gradients):
    """A half step that keeps what the page says of half steps."""

    def checked(self, *arguments):
        random = torch.get_rng_state()
        with TensorsAlone():
            outputs = gradients(self, *arguments)
        assert torch.equal(torch.get_rng_state(), random)
        return outputs

    return checked


@pytest.fixture(scope="module")
def users_folder(tmp_path_factory):
    """A folder with all files of the page, its modules importable."""
    folder = tmp_path_factory.mktemp("user")
    write(folder)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture(scope="module")
def searched(users_folder, tmp_path_factory):
    """searched(overrides, folder=None) -> the report and the rows of a toy search with them."""
    own = f"hydra.searchpath=[file://{users_folder}/own]"
    small = (*TOY, "data.train_images=32", "data.valid_images=32")

    def run(*overrides, folder=None):
        groups = {override.partition("=")[0] for override in overrides}
        # The page's space, data set and optimiser have settings of their own.
        toy = [override for override in small if override.partition("=")[0].partition(".")[0] not in groups]
        folder = folder or tmp_path_factory.mktemp("run")
        config = composed(*toy, *overrides, own, f"run_dir={folder}")
        return search(config, Job({}, list(overrides))), rows(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SupernetModule, "gradients", on_tensors_alone(SupernetModule.gradients))
        yield run


@pytest.fixture(scope="module")
def chosen(searched):
    """chosen(choice) -> what the search with that choice leaves, run once."""
    return functools.cache(searched)


@pytest.fixture(scope="module")
def plain(searched):
    """What a search without any of the page's choices leaves."""
    return searched()


def test_every_axis_has_a_section():
    groups = [section.group for section in SECTIONS]
    assert sorted(groups) == sorted({*MODULE_AXES, *EPOCH_AXES, "dataset", "arch_optimizer", "callbacks", "method"})
    assert groups[-1] == "method"


def test_no_name_of_the_page_is_one_of_conf():
    """It would not be the page's class that is searched with."""
    assert not [
        path for section in SECTIONS for path in section.files if (ROOT / path.replace("own/", "conf/")).exists()
    ]


@pytest.mark.parametrize("cross", [bool, float, torch.Tensor.item, lambda x: x * torch.tensor([1.0])])
def test_a_value_that_crosses_to_or_from_the_host_is_noticed(cross):
    value = torch.ones(())
    with pytest.raises(AssertionError, match="in a half step"), TensorsAlone():
        cross(value)


def results(report, rows):
    return rows, report["architecture"], report["selection"], report["epochs"]


@each_section
def test_a_search_ends_and_shows_the_choice(section, chosen, plain):
    report, logged = chosen(section.choice)
    assert results(report, logged) != results(*plain)
    targets = OmegaConf.to_yaml(OmegaConf.create(report["config"]))
    modules = [path.removesuffix(".py") for path in section.files if path.endswith(".py")]
    assert all(f"_target_: {module}." in targets for module in modules)


@each_section
def test_an_interrupted_search_equals_the_uninterrupted(section, searched, chosen, tmp_path, monkeypatch):
    interrupt(monkeypatch, epoch=2)
    with pytest.raises(SystemExit):
        searched(section.choice, folder=tmp_path)
    resumed, logged = searched(section.choice, folder=tmp_path)
    report, whole = chosen(section.choice)
    assert results(resumed, logged) == results(report, whole)
    ours, theirs = weights(tmp_path), weights(Path(report["config"]["run_dir"]))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_method_is_the_choices_that_it_names(searched, chosen):
    (method,) = (section for section in SECTIONS if section.group == "method")
    (text,) = method.files.values()
    choices = [f"{group}={option}" for group, option in re.findall(r"override /(\w+): (\w+)", text)]
    assert results(*searched(*choices)) == results(*chosen(method.choice))


def test_what_the_pages_space_found_is_evaluated_and_trained(users_folder, chosen, tmp_path):
    (space,) = (section for section in SECTIONS if section.group == "space")
    report, _ = chosen(space.choice)
    overrides = (
        space.choice, f"run={report['config']['run_dir']}", "train=true", "trainer.max_epochs=1",
        "trainer.accelerator=cpu", "data.batch_size=64", f"hydra.searchpath=[file://{users_folder}/own]",
    )  # fmt: skip
    evaluated = evaluate(composed(*overrides, f"run_dir={tmp_path}", config="evaluate"), Job({}, list(overrides)))
    assert evaluated["architecture"] == report["architecture"]
    assert list(evaluated["networks"]) == ["found", "random", "all_skip"]


def test_the_walk_is_a_search_from_a_folder_of_ones_own(tmp_path):
    write(tmp_path)
    program, name, *arguments = walk()
    assert (program, name) == ("nas-lightning", "train")
    command = (sys.executable, str(ROOT / "train.py"), *arguments, *TOY, "run_dir=run")
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert (report["choices"]["relaxation"], report["choices"]["penalty"]) == ("sparsemax", "cost")
    assert report["config"]["penalty"]["_target_"] == "cost.Cost"
