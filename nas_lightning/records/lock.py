"""One process at a time in a folder."""

import errno
import fcntl
import logging
import os
import socket
import time
from pathlib import Path
from typing import Self

from nas_lightning.errors import MachineError, UserError
from nas_lightning.escapes import shortened, visible
from nas_lightning.records.folder import ELSEWHERE

log = logging.getLogger("nas_lightning")

_NAME = ".lock"
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class FolderInUse(MachineError):
    """Another process works in the folder."""


class FolderLock:
    """Keeps every other process out of `folder` while it is entered: FolderInUse names who is there.

    A POSIX record lock on `<folder>/.lock`, which the system gives back when the process ends, however it ends, and which
    forked workers do not inherit. It holds between the processes of one host, and between hosts where the network file system
    passes locks on (NFS does); where there are none a warning says so. A folder that cannot be written is not locked: what
    writes there is refused for that.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._file: int | None = None
        self._mine: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        while self._mine is None:
            try:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
            except OSError:
                return self
            if not self._lock():
                return self
            mine = _identity(os.fstat(self._file))
            if _there(self._path) == mine:  # else its holder has just removed it
                self._mine = mine
                os.ftruncate(self._file, 0)
                os.write(self._file, _signature().encode())
            else:
                os.close(self._file)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is None:
            return
        if self._mine is not None and _there(self._path) == self._mine:
            self._path.unlink(missing_ok=True)  # while it is locked, so that nobody else's is removed
        os.close(self._file)
        self._file = self._mine = None

    def check(self) -> None:
        """UserError where the folder is no longer this process's: it was deleted, or moved, while the process slept."""
        if self._mine is not None and _there(self._path) != self._mine:
            raise UserError(
                f"{self._path.parent} was deleted or moved while this run was working in it, and may be another run's by now: "
                "stopped, and nothing more written; run the command again to start anew."
            )

    def _lock(self) -> bool:
        """Whether it is locked now; False where the file system has no locks."""
        assert self._file is not None
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = shortened(visible(os.pread(self._file, 200, 0).decode(errors="replace")), 200)
            os.close(self._file)
            self._file = None
            if error.errno in _WITHOUT_LOCKS:
                log.warning(
                    "%s is on a file system without locks: see to it yourself that only one process works there.",
                    self._path.parent,
                )
                return False
            raise FolderInUse(
                f"{self._path.parent} is in use by {holder or 'another process'}; wait for it or stop it, or give "
                f"{ELSEWHERE}."
            ) from error
        return True


def _signature() -> str:
    return f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _there(path: Path) -> tuple[int, int] | None:
    try:
        return _identity(os.lstat(path))
    except OSError:
        return None
