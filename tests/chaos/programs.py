"""The command line's programs in forked children of one process that has imported everything already.

A start of Python with PyTorch takes seconds; a fork takes milliseconds, so that hundreds of launches take minutes.
"""

import atexit
import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from nas_lightning.app.launch import start
from nas_lightning.errors import exit_status

torch.set_num_threads(1)  # a process with threads cannot be forked safely
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit status, or the negative of the signal that killed it; None where its time was over."""

    status: int | None
    output: str
    error: str
    seconds: float

    @property
    def has_traceback(self) -> bool:
        return any("Traceback (most recent call last)" in text for text in (self.output, self.error))


@dataclass
class Case:
    """What became of one case: `faults` by their kind, what was done, and what the programs said."""

    number: int
    name: str
    done: list[str] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)

    def add(self, kind: str, sentence: str) -> None:
        self.faults.setdefault(kind, []).append(sentence)


@dataclass
class Child:
    """A forked process that runs `body` in `place`, a group of its own; what it says goes to files in `said`."""

    body: Callable[[], None]
    place: Path
    said: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    pid: int = 0
    born: float = 0.0

    def begin(self) -> "Child":
        self.said.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        self.born = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            self._live()
        return self

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def is_over(self) -> bool:
        """Without collecting its status, which `wait` does."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self, seconds: float) -> Ended:
        """Until it ends; after `seconds` it and its children are killed."""
        deadline = time.monotonic() + seconds
        while not (over := self.is_over()) and time.monotonic() < deadline:
            time.sleep(0.005)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        output, error = (_said(self.said / name) for name in ("out", "err"))
        return Ended(status if over else None, output, error, time.monotonic() - self.born)

    def _live(self) -> None:
        """Never returns: what the interpreter does around a program, and nothing of this process's own."""
        status = 1
        try:
            os.setpgid(0, 0)
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing stays behind the harness
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the program itself begins
            os.chdir(self.place)
            os.environ.update(self.environment)
            tempfile.tempdir = None  # found anew, from TMPDIR
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(self.said / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", 1, closefd=False)
            atexit._clear()
            status = _status_of(self.body)
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _said(file: Path) -> str:
    """Nothing where the child was killed before its first word."""
    return file.read_text(errors="replace") if file.exists() else ""


def _status_of(body: Callable[[], None]) -> int:
    try:
        body()
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def launched(program: str, arguments: Sequence[str]) -> Callable[[], None]:
    """What `python <program>.py ARGUMENTS` does."""

    def run() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        start(program)

    def body() -> None:
        sys.argv = [f"{program}.py", *arguments]
        sys.exit(exit_status(run))

    return body


def limit_memory(more: int) -> None:
    """Of this process, to `more` bytes beyond what it has now."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + more, now + more))


def import_what(body: Callable[[], None], place: Path) -> Ended:
    """Run `body` in a child, and import here what it has imported there: later children find it done."""
    file = place / "modules.json"

    def noting() -> None:
        status = _status_of(body)
        with file.open("w") as opened:  # Path.write_text may be one of the points that are counted
            json.dump(sorted(sys.modules), opened)
        sys.exit(status)

    ended = Child(noting, place, place / "said").begin().wait(300)
    for name in json.loads(file.read_text()):
        if name not in sys.modules:
            with suppress(Exception):
                importlib.import_module(name)
    return ended
