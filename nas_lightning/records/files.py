"""Files that are either whole or absent: written under a hidden name in the same folder, then renamed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nas_lightning.errors import UserError


@contextmanager
def replace_atomically(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in `path`'s folder, with its suffix, that becomes `path` when the block ends well.

    Missing parent folders are made. When the block raises, `path` is left as it was and the temporary file is removed.
    An OSError inside the block, or in the renaming, becomes a UserError naming `path`.
    """
    path = Path(path)
    # Plain open() by the caller, not mkstemp, so that the file gets the permissions of the user's umask.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; give a writable folder.") from error
    finally:
        # Failing here means that the folder is gone or read-only, which the first error says better.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text_atomically(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, replacing `path` only once everything is written."""
    with replace_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
