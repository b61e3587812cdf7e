"""Searches and trainings from Python, by the configs, names and folders of the command line."""

import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities.seed import isolate_rng

from nas_lightning.app.configs import CONFIGS, with_keys_of_run
from nas_lightning.app.job import Job, check_whole, choices_of, working_in
from nas_lightning.app.job import in_one_sentence as unresolved
from nas_lightning.app.launch import check_groups  # it also tells OmegaConf how run folders are called
from nas_lightning.app.misspelt import in_one_sentence
from nas_lightning.app.quiet import quiet_libraries
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.folder import RunFolder, flat
from nas_lightning.records.overrides import quote_values, quoted
from nas_lightning.records.received import received_json
from nas_lightning.reports.runs import read_metrics

if TYPE_CHECKING:
    from nas_lightning.classifier import Classifier

Choice = str | int | float | bool | None | Path | list[Any] | tuple[Any, ...] | Mapping[str, Any]
"""A value of the command line, or what is below a key, by name."""


@dataclass(frozen=True)
class Finished:
    """What is in the folder of a finished run."""

    folder: Path

    @cached_property
    def report(self) -> dict[str, Any]:
        """As in report.json."""
        return received_json(self.folder / "report.json")

    @cached_property
    def genotype(self) -> Genotype:
        return Genotype.read(self.folder / "genotype.json")

    @property
    def figures(self) -> dict[str, Path]:
        """Name -> file, such as cell and entropy."""
        return {path.stem: path for path in sorted(self.folder.glob("*.svg"))}

    def _repr_svg_(self) -> str:
        """The found cell, as a notebook shows it."""
        return self.figures["cell"].read_text()


@dataclass(frozen=True)
class Search(Finished):
    """A finished search."""

    @cached_property
    def history(self) -> dict[str, list[float]]:
        """Column of metrics.csv -> its values epoch by epoch; pandas.DataFrame(run.history) is a table of them."""
        return read_metrics(self.folder / "metrics.csv")


@dataclass(frozen=True)
class Training(Finished):
    """A finished training of what a search has found."""

    @cached_property
    def history(self) -> dict[str, list[float]]:
        """Of the found network: column of its metrics.csv -> its values epoch by epoch."""
        return read_metrics(self.folder / "found" / "metrics.csv")

    @cached_property
    def classifier(self) -> "Classifier":
        """The trained network, see `nas_lightning.load`."""
        from nas_lightning import classifier

        return classifier.load(self.folder)

    def predict(self, image: Any) -> Any:
        """(class, probability) of every class, the likeliest first, see `Classifier.predict`."""
        return self.classifier.predict(image)


def search(overrides: Sequence[str], choices: Mapping[str, Choice], quiet: bool | None) -> Search:
    """See `nas_lightning.search`."""
    return Search(_finished("train", overrides, choices, quiet))


def fit(
    run: Search | str | Path, overrides: Sequence[str], choices: Mapping[str, Choice], quiet: bool | None
) -> Training:
    """See `nas_lightning.fit`."""
    given = run.folder if isinstance(run, Search) else run
    own: dict[str, Choice] = {"run" if os.path.isdir(given) else "genotype": str(given)}
    if (Path(given) / "report.json").is_file():
        searched = (run if isinstance(run, Search) else Search(Path(given))).report
        own["space"] = searched["space"]
        if searched["config"]["space"].get("stem") == "imagenet":  # a recipe may have it for a search without
            own["space.stem"] = "imagenet"
    return Training(_finished("evaluate", ("train=true", *overrides), {**own, **flat(choices)}, quiet))


def _finished(program: str, overrides: Sequence[str], choices: Mapping[str, Choice], quiet: bool | None) -> Path:
    """The folder of the run that `program` makes of these, once it is finished."""
    asked = [*quote_values(overrides), *as_overrides(_with_images(choices))]
    config, job = composed(program, asked)
    folder = RunFolder.of(config, asked, job.choices)
    if folder.is_finished:
        folder.check_reported()
        if not _lacks_export(config, folder.path):
            return folder.path
    folder.path.mkdir(parents=True, exist_ok=True)
    try:
        with _as_a_guest(not _in_notebook() if quiet is None else quiet), working_in(folder.path) as lock:
            _task(program)(config, replace(job, lock=lock))
    except UserError:
        with suppress(OSError):  # where something was written before, it stays
            folder.path.rmdir()
        raise
    return folder.path


def _lacks_export(config: DictConfig, folder: Path) -> bool:
    """Whether an interrupt came between a training's report and its export."""
    from nas_lightning.training.export import FILES

    return bool(config.get("export")) and not (folder / FILES[config.export.format]).exists()


def composed(program: str, overrides: list[str]) -> tuple[DictConfig, Job]:
    """What `nas-lightning PROGRAM OVERRIDES` composes; UserError for what it refuses."""
    try:
        overrides = with_keys_of_run(program, overrides)
        check_groups([CONFIGS], overrides, program)
    except SystemExit as stop:
        raise UserError(str(stop)) from None
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = compose(program, overrides, return_hydra_config=True)
        check_whole(config, program)
        job = Job(choices_of(config.hydra), overrides)
        folder = config.hydra.run.dir
    except HydraException as error:
        raise UserError(in_one_sentence(error, program, overrides, None)) from error
    except OmegaConfBaseException as error:
        raise UserError(unresolved(error)) from error
    with open_dict(config):
        del config["hydra"]
    config.run_dir = os.path.relpath(folder)
    return config, job


def _task(program: str) -> Callable[[DictConfig, Job], object]:
    if program == "train":
        from nas_lightning.app.search import search as task
    else:
        from nas_lightning.app.evaluate import evaluate as task
    return task


def _with_images(choices: Mapping[str, Choice]) -> Mapping[str, Choice]:
    """A dataset= that is none of the group is a folder or zip of images."""
    images = choices.get("dataset")
    if not isinstance(images, str | Path) or (CONFIGS / "dataset" / f"{images}.yaml").is_file():
        return choices
    if not os.path.exists(images):
        names = ", ".join(sorted(path.stem for path in (CONFIGS / "dataset").glob("*.yaml")))
        raise UserError(f"dataset={str(images)!r} is neither a folder or zip of images nor one of {names}; correct it.")
    return {**choices, "dataset": "folder", "dataset.root": str(images)}


@contextmanager
def _as_a_guest(quiet: bool) -> Iterator[None]:
    """Random states and filters of warnings are the caller's afterwards; Ctrl-C is what it is in Python."""
    with ExitStack() as stack:
        stack.enter_context(isolate_rng())
        stack.enter_context(warnings.catch_warnings())
        quiet_libraries()
        if quiet:
            stack.enter_context(redirect_stdout(io.StringIO()))
            stack.enter_context(redirect_stderr(io.StringIO()))
        try:
            yield
        except SystemExit as stop:
            if stop.code == 130:  # how a program ends that Ctrl-C has stopped
                raise KeyboardInterrupt from stop
            raise


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules


def as_overrides(choices: Mapping[str, Choice]) -> list[str]:
    """As the command line has them.

    >>> as_overrides({"space": "nb201", "trainer": {"max_epochs": 3}, "name": "a b", "stop": None, "seed": [0, 1]})
    ['space=nb201', 'trainer.max_epochs=3', "name='a b'", 'stop=null', 'seed=[0,1]']
    """
    return [f"{key}={_text(value)}" for key, value in flat(choices).items()]


def _text(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case list() | tuple():
            return f"[{','.join(map(_text, value))}]"
        case str() | Path():
            return "'null'" if value == "null" else quoted(str(value), is_path=True)
    raise UserError(
        f"{value!r} is no value of a config; give text, a number, true, false, None, a list or names of such."
    )
