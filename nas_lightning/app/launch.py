"""What happens around the jobs of a launch: arguments and output folder at its start, a sweep's table at its end."""

import atexit
import difflib
import os
import re
import sys
import tempfile
import warnings
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas_lightning.app import misspelt
from nas_lightning.app.configs import CONFIGS, defaults_of, with_keys_of_run
from nas_lightning.app.help import help_text
from nas_lightning.app.job import as_typed, ctrl_c_heard, in_one_sentence
from nas_lightning.app.stdout import outlive_reader, tell_who_waits
from nas_lightning.app.tasks import TASKS
from nas_lightning.errors import UserError, exit_status
from nas_lightning.records.folder import folder_name
from nas_lightning.records.overrides import key_of, quote_values

if TYPE_CHECKING:
    from nas_lightning.reports.runs import Run

# Here and not beside the tasks: a launcher's other processes import this module with the callback below.
OmegaConf.register_new_resolver("run_folder", folder_name, replace=True)

# conf/hydra/launcher/ names its files as the plugins do, which check them: as wanted here.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/.*' is validated against ConfigStore schema")

# Groups whose options act side by side; of others the last would act under no name.
_SEVERAL = ("logger", "callbacks")


class Launch(Callback):
    """Refuses an output folder that cannot be made, in one sentence; ends a multirun with one table of its runs.

    The table comes when the program ends, so also after a failed job or an interrupt: Hydra calls on_multirun_end only
    where no job has failed. A failed job is listed below it with its cause.

    own_jobs: the table has this launch's jobs alone, also those that were finished before, and not what else is in the
    sweep's folder.
    """

    def __init__(self, own_jobs: bool = False) -> None:
        self._own_jobs = own_jobs

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        misspelt.leave_errors_to_hydra()
        try:
            folder = config.hydra.run.dir  # it has the overrides in it, resolved
        except OmegaConfBaseException as error:
            sys.exit(in_one_sentence(error))
        _make(Path(folder))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        misspelt.leave_errors_to_hydra()
        _check_sweep(as_typed(config.hydra.overrides.task))
        folder = Path(config.hydra.sweep.dir)
        _make(folder)
        if self._own_jobs:
            os.utime(folder)  # by the clock of its disk, which may be another host's
            atexit.register(_print_own, folder, folder.stat().st_mtime_ns)
        else:
            atexit.register(_print_summary, folder)


def start(program: str) -> None:
    """Run one of the tasks by Hydra on the command line's arguments, in a folder that may hold classes of the user's own."""
    outlive_reader()
    if "${" in os.getcwd():  # Hydra would interpolate it
        sys.exit("the current folder's name has a ${ in it; rename it, or start from another folder.")
    sys.path.insert(0, os.getcwd())
    try:
        sys.argv[1:] = quote_values(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
    options = _options_first(program)
    own = options.config_dir
    if own is not None and not (os.path.isdir(own) and os.access(own, os.R_OK | os.X_OK)):
        what = "cannot be read" if os.path.isdir(own) else "is no folder"
        sys.exit(f"--config-dir {own} {what}; give the one that holds your configs, such as relaxation/mine.yaml.")
    if own is not None:
        _check_names(Path(own))
    folders = [CONFIGS] if own is None else [CONFIGS, Path(own)]
    if options.help:
        entries = (entry for entry in defaults_of(program) if isinstance(entry, dict))
        groups = {group.split()[-1].partition("@")[0] for entry in entries for group in entry}
        print(help_text(program, folders, {*groups, "hydra/launcher"}), end="")
        return
    check_groups(folders, options.overrides, program)
    misspelt.hand_over_errors()
    if not (options.cfg or options.info or options.hydra_help or options.shell_completion):
        tell_who_waits(f"{program}: reading the configs ...")
    try:
        with ctrl_c_heard():
            hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=program)(TASKS[program])()
    except HydraException as error:
        sys.exit(misspelt.in_one_sentence(error, program, options.overrides, own))
    except OmegaConfBaseException as error:  # of a job of a sweep
        sys.exit(in_one_sentence(error))


def _options_first(program: str) -> Namespace:
    """The command line's options, which may stand anywhere; Hydra takes them before the overrides only."""
    parser = get_args_parser()
    options, unknown = parser.parse_known_intermixed_args(sys.argv[1:])
    if unknown:
        near = difflib.get_close_matches(unknown[0], re.findall(r"--[\w-]+", parser.format_usage()), 1)
        sys.exit(f"there is no option {unknown[0]}; {f'did you mean {near[0]}?' if near else 'see --help.'}")
    others = [argument for argument in sys.argv[1:] if argument not in options.overrides]
    options.overrides = with_keys_of_run(program, options.overrides)
    sys.argv[1:] = [*others, *options.overrides]
    return options


def _check_names(own: Path) -> None:
    """Of two yamls of one group and name Hydra takes ours, and says nothing."""
    for ours in sorted(CONFIGS.rglob("*.yaml")):
        theirs = own / ours.relative_to(CONFIGS)
        if os.path.exists(theirs) and not theirs.samefile(ours):
            sys.exit(f"{theirs} would be ignored, for nas_lightning has a yaml of this name; rename yours.")


def check_groups(folders: Sequence[Path], overrides: Sequence[str], program: str) -> None:
    """What Hydra answers with a traceback: a config group set to null or to a number, an option that is no yaml."""
    for override in overrides:
        key, value = key_of(override), override.partition("=")[2]
        if override.startswith("~") or not key or not any((folder / key).is_dir() for folder in folders):
            continue
        if not _names_options(override, several=key in _SEVERAL):
            options = ", ".join(sorted({path.stem for folder in folders for path in (folder / key).glob("*.yaml")}))
            none = f", or ~{key} for none" if value == "null" and {key: None} in defaults_of(program) else ""
            sys.exit(f"{override}: {key} is a group of configs; give one of {options}{none}.")
        for path in (folder / key / f"{value}.yaml" for folder in folders):
            if os.path.isfile(path):  # False for a text longer than any name, where Path.is_file raises
                _check_yaml(path, override)


def _names_options(override: str, several: bool) -> bool:
    """Whether the value of a group's override is a name, names where it may be `several`, or what Hydra refuses itself."""
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return True
    if parsed.is_sweep_override() or parsed.is_delete():
        return True
    value = parsed.value()
    return isinstance(value, str) or (
        several and isinstance(value, list) and all(isinstance(each, str) for each in value)
    )


def _check_yaml(path: Path, override: str) -> None:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        sys.exit(f"{override}: {path} cannot be read ({' '.join(str(error).split())}); correct it.")
    if path.parent.name == "space" and not (isinstance(content, dict) and content.get("defaults")):
        sys.exit(
            f"{override}: {path} names no family, whose protocol and recipe it takes; begin it with defaults: as the section "
            "`space` of docs/extending.md."
        )


def _check_sweep(overrides: Sequence[str]) -> None:
    for override in overrides:
        key = key_of(override)
        if key == "experiment" and "," in override:  # the grids that they name would not run, all in one folder
            sys.exit(f"{override}: launch one experiment after the other; each names its own grid and folder.")
        if key == "run_dir":
            sys.exit(f"{override}: a sweep has a folder for each of its jobs; say where by hydra.sweep.dir=PATH.")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(
            dir=folder
        ) as file:  # a full or read-only disk; Hydra's own files would be tracebacks
            file.write(bytes(2**16))
    except OSError as error:
        # An exception here would be a warning to Hydra.
        sys.exit(f"cannot write {folder}: {error.strerror}; give a writable run_dir=PATH, or hydra.sweep.dir=PATH.")


def _print_summary(folder: Path) -> None:
    from nas_lightning.reports.__main__ import main

    main(["summary", str(folder)])


def _print_own(folder: Path, since: int) -> None:
    """The evaluations among the launch's jobs: each has made and removed the lock of its folder, a finished one too."""
    from nas_lightning.reports.__main__ import print_summary
    from nas_lightning.reports.runs import find_evaluations, find_runs
    from nas_lightning.reports.trained import trained_networks

    def own(runs: "Sequence[Run]") -> "list[Run]":
        return [run for run in runs if run.folder.stat().st_mtime_ns >= since]

    def show() -> None:
        # What is no evaluation has ended without a report: it failed, or was stopped.
        unreported = [run for run in find_runs(folder) if run.report is None]
        print_summary([], trained_networks(own([*find_evaluations(folder), *unreported])))

    exit_status(show)
