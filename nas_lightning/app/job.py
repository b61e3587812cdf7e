"""What the programs share: one job of Hydra's, its errors in one sentence, its interrupts without a traceback."""

import errno
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas_lightning.app.configs import CONFIGS
from nas_lightning.app.stdout import tell_who_waits
from nas_lightning.errors import DivergedError, MachineError, UserError, is_out_of_memory
from nas_lightning.records.files import remove_temporary
from nas_lightning.records.folder import RunFolder, forget_failure, note_failure
from nas_lightning.records.lock import FolderInUse, FolderLock

log = logging.getLogger("nas_lightning")

_ENVIRONMENT = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOMEM, errno.EMFILE,
    errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT,
)  # fmt: skip
"""Faults of disks, rights and limits."""


@dataclass(frozen=True)
class Job:
    """How a run was asked for: the option of every config group, the command's overrides, and whether it is one of a sweep.

    folders: where its configs were looked up, the user's own after the package's. lock: of the folder where it works.
    """

    choices: dict[str, str | None]
    overrides: list[str]
    in_sweep: bool = False
    folders: tuple[Path, ...] = (CONFIGS,)
    lock: FolderLock = field(default_factory=lambda: FolderLock(Path()))


def run_job(task: Callable[[DictConfig, Job], object], config: DictConfig) -> None:
    """Run `task` on a composed config. A UserError ends as its one sentence and exit status 1, not as a traceback."""
    try:
        with ctrl_c_heard():
            _run(task, config)
    except KeyboardInterrupt:
        print("\nInterrupted; run the same command to go on.", file=sys.stderr)
        sys.exit(130)


def _run(task: Callable[[DictConfig, Job], object], config: DictConfig) -> None:
    settings = HydraConfig.get()
    job = Job(
        choices_of(settings),
        as_typed(settings.overrides.task),
        settings.mode == RunMode.MULTIRUN,
        _folders(settings),
    )
    folder = Path(os.path.relpath(settings.runtime.output_dir))  # so that reports can be moved and compared
    try:
        check_whole(config, str(settings.job.config_name))
        config.run_dir = str(folder)
        with working_in(folder) as lock:
            task(config, replace(job, lock=lock))
    except UserError as error:
        print(error, file=sys.stderr)
        if not job.in_sweep:
            if isinstance(error, DivergedError):
                note_failure(folder, str(error))
            with suppress(OSError):  # Hydra has made the folder; nothing was written into it
                folder.rmdir()
            sys.exit(1)
        if not isinstance(error, FolderInUse):
            note_failure(folder, str(error))
        # Hydra goes on with the other jobs and ends with exit status 1.
        raise CompactHydraException(str(error)) from error
    except Exception as error:
        if job.in_sweep:
            note_failure(folder, f"{type(error).__name__}: {error}")
        raise


def check_whole(config: DictConfig, program: str) -> None:
    """UserError where a key of the program's own yaml was deleted: all are read."""
    for name in (program, "train") if program == "tune" else (program,):
        own = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
        for key in own:
            if key not in {*config, "defaults", "hydra"}:  # `in config` is false of what is ???
                raise UserError(f"~{key} deletes what is read; give it another value instead, such as {key}=null.")


@contextmanager
def working_in(folder: Path) -> Iterator[FolderLock]:
    """The folder locked, without what an earlier process has left; what the machine refuses in it is one sentence."""
    with _environment_explained(folder), FolderLock(folder) as lock:
        remove_temporary(folder)
        yield lock
        forget_failure(folder)


def is_skipped(config: DictConfig, job: Job) -> bool:
    """Whether the run is finished and one of a sweep, which is then said; alone it is refused or done again.

    UserError where the finished run is another configuration's.
    """
    if not job.in_sweep:
        return False
    folder = RunFolder.of(config, job.overrides, job.choices)
    if not folder.is_finished:
        return False
    folder.check_reported()
    log.info("%s is finished: skipped.", config.run_dir)
    return True


def announce(config: DictConfig) -> None:
    """The run's folder, before PyTorch is loaded."""
    tell_who_waits(f"{config.run_dir}: loading PyTorch ...")


def choices_of(settings: HydraConf) -> dict[str, str | None]:
    """The option of every group; None for an optional one of ours that there is not, which Hydra names all the same."""
    folders = _folders(settings)
    sources = [source for source in settings.runtime.config_sources if source.provider not in ("hydra", "schema")]

    def is_there(group: str, option: str) -> bool:
        elsewhere = len(folders) < len(sources) or group.startswith("hydra/")  # in a package, such as a plugin's
        return elsewhere or any(os.path.isfile(folder / group / f"{option}.yaml") for folder in folders)

    return {
        group: option if option is None or is_there(group.partition("@")[0], option) else None
        for group, option in settings.runtime.choices.items()
    }


def lacks_recipe(choices: Mapping[str, str | None]) -> bool:
    """Whether the protocol looks for the method's published recipe, and there is none."""
    found = [option for group, option in choices.items() if group.partition("@")[0] in ("published", "edd_paper")]
    return bool(found) and not any(found)


def _folders(settings: HydraConf) -> tuple[Path, ...]:
    """Those in which configs are looked up."""
    return tuple(Path(source.path) for source in settings.runtime.config_sources if source.schema == "file")


@contextmanager
def ctrl_c_heard() -> Iterator[None]:
    """KeyboardInterrupt wherever Ctrl-C came: libraries lose it, as OmegaConf does in the middle of a copy, and fail later."""
    came = []
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():  # nobody hears it here
        yield
        return

    def note(number: int, frame: Any) -> None:
        came.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception as error:
        if came:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _environment_explained(folder: Path) -> Iterator[None]:
    """What the machine refuses, wherever it happens, as a sentence: no bug, and once it is mended the run goes on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _ENVIRONMENT:
            raise
        raise MachineError(
            f"{error.filename or folder}: {error.strerror}; mend that and run the same command to go on."
        ) from error
    except OmegaConfBaseException as error:
        raise UserError(in_one_sentence(error)) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"out of memory in {folder} ({' '.join(str(error).split())[:200]}); give a smaller space.C, data.batch_size or "
            "number of images, or a machine with more."
        ) from error


def as_typed(overrides: Any) -> list[str]:
    """Hydra's list of a command's overrides, whose ${...} would be resolved when it is read."""
    typed: Any = OmegaConf.to_container(overrides, resolve=False)
    return typed


def in_one_sentence(error: OmegaConfBaseException) -> str:
    """What OmegaConf says on several lines, such as of an interpolation that leads nowhere."""
    reason = " ".join(str(error.msg or error).split("full_key:")[0].split())
    return f"a value of the command line or of a yaml cannot be resolved ({reason}); correct what follows the ${{."
