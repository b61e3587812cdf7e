"""A multirun ends with one table of its runs."""

import atexit
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepSummary(Callback):
    """Prints the summary of the sweep's folder when the program ends, also after a failed job or an interrupt.

    Hydra calls on_multirun_end only when no job has failed.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        atexit.register(_print_summary, Path(config.hydra.sweep.dir))


def _print_summary(folder: Path) -> None:
    from nas_lightning.errors import UserError
    from nas_lightning.reports.__main__ import main

    try:
        main([str(folder)])
    except (UserError, SystemExit) as error:
        print(error, file=sys.stderr)
