"""What happens around the jobs of a launch: the output folder at its start, a sweep's table at its end."""

import atexit
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Launch(Callback):
    """Refuses an output folder that cannot be made, in one sentence; ends a multirun with one table of its runs.

    The table comes when the program ends, so also after a failed job or an interrupt: Hydra calls on_multirun_end only
    where no job has failed.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _make(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        _make(folder)
        atexit.register(_print_summary, folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        # An exception here would be a warning to Hydra.
        print(f"cannot write {folder}: {error.strerror}; give a writable folder with hydra.run.dir=PATH.", file=sys.stderr)
        sys.exit(1)


def _print_summary(folder: Path) -> None:
    from nas_lightning.errors import UserError
    from nas_lightning.reports.__main__ import main

    try:
        main([str(folder)])
    except (UserError, SystemExit) as error:
        print(error, file=sys.stderr)
