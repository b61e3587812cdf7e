"""Standard output whose reader may leave before the end, as `| head` does."""

import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper


class _Outliving(FileIO):
    def write(self, data: bytes) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return len(data)


def outlive_reader() -> None:
    """Drop what nobody reads any more: neither a search nor a sweep ends because of it, and nothing is a traceback."""
    old = sys.stdout
    sys.stdout = TextIOWrapper(
        BufferedWriter(_Outliving(old.fileno(), "w", closefd=False)),
        encoding=old.encoding,
        errors=old.errors,
        line_buffering=old.isatty(),
    )
