"""What happens around the jobs of a launch: arguments and output folder at its start, a sweep's table at its end."""

import atexit
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from nas_lightning.records.folder import folder_name

# Here and not in train.py: a launcher's other processes import this module with the callback below, not that file.
OmegaConf.register_new_resolver("run_folder", folder_name, replace=True)

# conf/hydra/launcher/ names its files as the plugins do, which check them: as wanted here.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/.*' is validated against ConfigStore schema")


class Launch(Callback):
    """Refuses an output folder that cannot be made, in one sentence; ends a multirun with one table of its runs.

    The table comes when the program ends, so also after a failed job or an interrupt: Hydra calls on_multirun_end only
    where no job has failed. A failed job is listed below it with its cause.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _make(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _check_sweep(config.hydra.overrides.task)
        folder = Path(config.hydra.sweep.dir)
        _make(folder)
        atexit.register(_print_summary, folder)


def start(main: Callable[[], object]) -> None:
    """Run a program's Hydra entry point on the command line's arguments."""
    _check_groups(Path(sys.argv[0]).resolve().parent / "conf", sys.argv[1:])
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)


def _check_groups(configs: Path, arguments: Sequence[str]) -> None:
    """A config group set to null Hydra answers with a traceback."""
    for argument in arguments:
        key, _, value = argument.lstrip("+").partition("=")
        group = configs / key
        if value == "null" and group.is_dir():
            options = ", ".join(sorted(path.stem for path in group.glob("*.yaml")))
            sys.exit(f"{argument}: {key} is a group of configs; give one of {options}.")


def _check_sweep(overrides: Sequence[str]) -> None:
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key == "experiment" and "," in value:  # the grids that they name would not run, all in one folder
            sys.exit(f"{override}: launch one experiment after the other; each names its own grid and folder.")
        if key == "run_dir":
            sys.exit(f"{override}: a sweep has a folder for each of its jobs; say where by hydra.sweep.dir=PATH.")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        # An exception here would be a warning to Hydra.
        sys.exit(f"cannot write {folder}: {error.strerror}; give a writable run_dir=PATH, or hydra.sweep.dir=PATH.")


def _print_summary(folder: Path) -> None:
    from nas_lightning.reports.__main__ import main

    with suppress(SystemExit):  # of Rich's, where the reader of stdout has gone
        main(["summary", str(folder)])
