"""Standard output and error: for who waits there, and where the reader leaves before the end, as `| head` does."""

import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper

from nas_lightning.escapes import visible


class _Outliving(FileIO):
    def write(self, data: bytes) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return len(data)


def tell_who_waits(text: str) -> None:
    """A line for somebody who waits at a terminal for what takes seconds."""
    if sys.stderr.isatty():
        print(visible(text), file=sys.stderr, flush=True)


def outlive_reader() -> None:
    """Drop what nobody reads any more: neither a search nor a sweep ends because of it, and nothing is a traceback."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        if old is None:  # closed; else the first file that is opened would have its number, and its text
            os.open(os.devnull, os.O_RDWR)
        if name != "stdin":
            raw: FileIO = _Outliving(number if old is None else old.fileno(), "w", closefd=False)
            stream = TextIOWrapper(
                BufferedWriter(raw),
                encoding="utf-8" if old is None else old.encoding,
                errors="backslashreplace" if old is None else old.errors,
                line_buffering=True,  # in a pipe or file too, so that what is said stands there in its order
            )
            setattr(sys, name, stream)
