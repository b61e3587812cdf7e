"""What the programs share: one job of Hydra's, its errors in one sentence, its interrupts without a traceback."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from nas_lightning.app.configs import CONFIGS
from nas_lightning.app.quiet import quiet_libraries
from nas_lightning.errors import UserError
from nas_lightning.records.files import write_text_atomically
from nas_lightning.records.folder import FAILURE


@dataclass(frozen=True)
class Job:
    """How a run was asked for: the option of every config group, the command's overrides, and whether it is one of a sweep.

    folders: where its configs were looked up, the user's own after the package's.
    """

    choices: dict[str, str | None]
    overrides: list[str]
    in_sweep: bool = False
    folders: tuple[Path, ...] = (CONFIGS,)


def run_job(task: Callable[[DictConfig, Job], object], config: DictConfig) -> None:
    """Run `task` on a composed config. A UserError ends as its one sentence and exit status 1, not as a traceback."""
    settings = HydraConfig.get()
    job = Job(
        dict(settings.runtime.choices),
        list(settings.overrides.task),
        settings.mode == RunMode.MULTIRUN,
        tuple(Path(source.path) for source in settings.runtime.config_sources if source.schema == "file"),
    )
    quiet_libraries()
    config.run_dir = os.path.relpath(settings.runtime.output_dir)  # so that reports can be moved and compared
    folder = Path(config.run_dir)
    (folder / FAILURE).unlink(missing_ok=True)
    try:
        task(config, job)
    except UserError as error:
        print(error, file=sys.stderr)
        if not job.in_sweep:
            with suppress(OSError):  # Hydra has made the folder; nothing was written into it
                folder.rmdir()
            sys.exit(1)
        _note_failure(folder, str(error))
        # Hydra goes on with the other jobs and ends with exit status 1.
        raise CompactHydraException(str(error)) from error
    except Exception as error:
        if job.in_sweep:
            _note_failure(folder, f"{type(error).__name__}: {error}")
        raise
    except KeyboardInterrupt:
        print("\nInterrupted; run the same command to go on.", file=sys.stderr)
        sys.exit(130)


def _note_failure(folder: Path, cause: str) -> None:
    """For the table that ends the sweep, and for anyone who looks later."""
    with suppress(UserError):  # where it cannot be written, the cause above is all there is
        write_text_atomically(folder / FAILURE, " ".join(cause.split()) + "\n")
