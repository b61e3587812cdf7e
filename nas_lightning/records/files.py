"""Files that are either whole or absent: written under a hidden name in the same folder, then renamed."""

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nas_lightning.errors import MachineError

_TEMPORARY = re.compile(r"\..+\.\d+-[0-9a-f]{8}(\..*)?", re.DOTALL)
_REMEDIES = {
    errno.ENOSPC: "make room there and run the same command again",
    errno.EDQUOT: "make room within your quota and run the same command again",
    errno.EFBIG: "allow larger files (ulimit -f) and run the same command again",
    errno.EISDIR: "move the folder of that name away and run the same command again",
    errno.EIO: "the disk or its connection has failed; mend it and run the same command again",
}


@contextmanager
def replace_atomically(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in `path`'s folder, with its suffix, that becomes `path` when the block ends well.

    Missing parent folders are made. What was written is on the disk before it gets its name, so that a crash of the machine
    leaves the old file or the new one. When the block raises, `path` is left as it was and the temporary file is removed.
    An OSError inside the block, or in the renaming, becomes a MachineError naming `path`.
    """
    path = Path(path)
    # Plain open() by the caller, not mkstemp, so that the file gets the permissions of the user's umask.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        # Failing here means that the folder is gone or read-only, which the first error says better.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text_atomically(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, replacing `path` only once everything is written."""
    with replace_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def not_written(path: Path, error: OSError) -> MachineError:
    """What the user is told where `path` cannot be written."""
    remedy = _REMEDIES.get(error.errno or 0, "give a writable folder")
    return MachineError(f"cannot write {path}: {error.strerror or error}; {remedy}.")


def remove_temporary(folder: Path) -> None:
    """Remove what killed processes have left in a run's `folder` and two levels below, while nobody writes there."""
    for level in ("", "*/", "*/*/"):
        for path in folder.glob(f"{level}.*"):
            if _TEMPORARY.fullmatch(path.name):
                with suppress(OSError):
                    path.unlink()


def _flush(path: Path) -> None:
    """To the disk; a folder too, for it holds the names. Not every file system can flush a folder."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(file)
