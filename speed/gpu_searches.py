"""Full-size searches on one device, several side by side, each a run folder that every report reads; they go on over calls."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nas_lightning.records.epochs import read_rows
from nas_lightning.records.folder import FAILURE
from speed.record import Record

METHODS = ("edd", "edd_skip", "edd_clip", "pcd", "darts")
AT_ONCE = (1, 2, 4)
_TRAIN = Path(__file__).parent.parent / "train.py"
TO_STOP = 30.0  # seconds for the epoch's checkpoint to be written and the process to end
_WORTH_IT = 1.05  # more side by side only where all of them together are so much faster


@dataclass(frozen=True)
class Searches:
    """methods x seeds, seeds in order, in `folder`/method=M,seed=S; overrides: what they share."""

    folder: Path
    overrides: tuple[str, ...]
    methods: Sequence[str] = METHODS
    seeds: int = 10

    def unfinished(self) -> list[str]:
        """Those to go on with: neither finished nor diverged."""
        return [name for name in self._names() if not (self._has(name, "report.json") or self._has(name, FAILURE))]

    def diverged(self) -> list[str]:
        return [name for name in self._names() if self._has(name, FAILURE)]

    def finished(self) -> int:
        return sum(self._has(name, "report.json") for name in self._names())

    def _names(self) -> list[str]:
        return [f"method={method},seed={seed}" for seed in range(self.seeds) for method in self.methods]

    def _has(self, name: str, file: str) -> bool:
        return (self.folder / name / file).exists()

    def command(self, name: str) -> list[str]:
        return [sys.executable, str(_TRAIN), *self.overrides, *name.split(","), f"run_dir='{self.folder / name}'"]


def run(searches: Searches, at_once: int, seconds: float) -> Record:
    """Search for `seconds`, `at_once` at a time; what is not done by then is stopped and goes on in the next call.

    Returns how many are finished, which have diverged, the epochs of those that are begun, and the last words of those that
    failed.
    """
    end = time.monotonic() + seconds - TO_STOP
    waiting, failed = searches.unfinished(), {}
    with _children() as running:
        while (waiting or running) and time.monotonic() < end:
            for name in [name for name, child in running.items() if child.poll() is not None]:
                if running.pop(name).returncode:
                    failed[name] = _last_words(searches.folder, name)
            while waiting and len(running) < at_once:
                name = waiting.pop(0)
                running[name] = _begin(searches, name, at_once)
            time.sleep(0.1)
    begun = {name: _epochs(searches.folder / name) for name in searches.unfinished() if name not in failed}
    return {
        "at_once": at_once,
        "finished": searches.finished(),
        "diverged": searches.diverged(),
        "begun": {name: len(epochs) for name, epochs in begun.items() if epochs},
        "failed": failed,
    }


def side_by_side(overrides: Sequence[str], numbers: Sequence[int] = AT_ONCE) -> dict[str, float]:
    """How many searches at a time -> epochs a second of all of them together, from the last epoch of short ones."""
    rates = {}
    for number in numbers:
        with tempfile.TemporaryDirectory() as scratch:
            searches = Searches(Path(scratch), tuple(overrides), ("edd",), number)
            with _children() as running:
                for name in searches.unfinished():
                    running[name] = _begin(searches, name, number)
                for name, child in running.items():
                    if child.wait():
                        raise RuntimeError(_last_words(searches.folder, name))
            rates[str(number)] = sum(1 / _epochs(searches.folder / name)[-1] for name in running)
    return rates


def best_number(rates: Mapping[str, float]) -> int:
    """The fewest searches at a time that are nearly as fast in total as any."""
    return min(int(number) for number, rate in rates.items() if rate * _WORTH_IT >= max(rates.values()))


@contextmanager
def _children() -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """Those that are left when it ends are told to stop, as a scheduler does."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        yield running
    finally:
        for child in running.values():
            child.terminate()
        for child in running.values():
            try:
                child.wait(TO_STOP)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _begin(searches: Searches, name: str, at_once: int) -> "subprocess.Popen[bytes]":
    threads = str(max(1, (os.cpu_count() or 1) // at_once))
    log = _log(searches.folder, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        return subprocess.Popen(
            searches.command(name), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": threads},
        )  # fmt: skip


def _log(folder: Path, name: str) -> Path:
    return folder / "logs" / f"{name}.txt"


def _last_words(folder: Path, name: str) -> str:
    lines = _log(folder, name).read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "died without a word"


def _epochs(folder: Path) -> list[float]:
    """Seconds of each epoch that is done."""
    return [float(row["seconds"]) for row in read_rows(folder / "metrics.csv")]
