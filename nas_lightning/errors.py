"""The one exception a user is meant to read, checks of what a setting is, and how a command-line program ends."""

import os
import reprlib
import sys
from collections.abc import Callable

from nas_lightning.escapes import shortened, visible

_MOST = 2_000  # characters of a sentence, whatever it quotes


class UserError(ValueError):
    """Bad input or environment. Its text is one sentence: what is wrong, where, and what to do.

    The command-line programs print it and exit with status 1; every other exception is a bug and keeps its traceback.
    Whatever it quotes of a file is shown, not acted on: as a text it has no line breaks and no control characters.
    """

    def __str__(self) -> str:
        return shortened(visible(super().__str__()), _MOST)


class MachineError(UserError):
    """The machine refuses, not the settings: a full disk, missing rights. Once that is mended the same command goes on."""


class DivergedError(UserError):
    """A run whose numbers have become infinite or none: the same command would end the same way."""


def exit_status(program: Callable[[], None]) -> int:
    """Run `program`: 0; 1 with the sentence of a UserError on stderr; 1 where the reader of stdout has gone (`| head`); 130
    after Ctrl-C, as shells know it."""
    try:
        program()
    except UserError as error:
        _is_read()  # what was said before comes before
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        _is_read()
        return 1
    except KeyboardInterrupt:
        return 130
    return 0 if _is_read() else 1


def _is_read() -> bool:
    """Flush stdout; where its reader has gone, drop what is left, for Python flushes once more when it ends."""
    try:
        if sys.stdout is not None:  # it may be closed from the start
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def brief(value: object) -> str:
    """`value` as a sentence may show it: in one line, and cut where it is long."""
    return " ".join(reprlib.repr(value).split())


def is_out_of_memory(error: BaseException) -> bool:
    """PyTorch says so in words: on a GPU, by its own allocator on a CPU, and by C++."""
    words = ("out of memory", "can't allocate memory", "std::bad_alloc")
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(w in str(error) for w in words))


def is_number(value: object) -> bool:
    """Whether a setting is a number at all: from a command line come strings, lists, null and truth values too."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: object, least: int) -> bool:
    """Whether a setting is a whole number of at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_whole(setting: str, value: object, least: int) -> None:
    """UserError where `value` is no whole number of at least `least`."""
    if not is_whole(value, least):
        raise UserError(f"{setting} must be a whole number of at least {least}, got {value!r}.")


def check_flag(setting: str, value: bool) -> None:
    """UserError where `value` is no truth value: a `no` on the command line is a string, and would count as true."""
    if not isinstance(value, bool):
        raise UserError(f"{setting} must be true or false, got {value!r}.")
