"""Hostile folders (tests/hostile.py) handed to every program that reads one, each in a process with little memory."""

import os
import random
import shutil
import sys
from functools import partial
from pathlib import Path

from nas_lightning.errors import UserError
from tests import hostile
from tests.chaos.programs import Case, Child, Ended, limit_memory
from tests.conftest import composed
from tests.test_trust import check_written, everything, written

SECONDS = 40
MEMORY = 2 * 2**30
KINDS = ("ran", "wrote", "leaked", "traceback", "hang", "memory", "form")
_OUT_OF_MEMORY = "out of memory"


class Hostile:
    """Cases by their number: a folder of that seed, every quick program and one of the slow ones in turn."""

    def __init__(self, seed: int, places: tuple[Path, ...]) -> None:
        self.seed = seed
        self._place = places[0]
        self._template = self._place / "template"
        hostile.whole(self._template)
        hostile.settings(composed("space.C=4", "space.N=1", "benchmark=none", "run_dir=x", config="evaluate"))

    def case(self, number: int) -> Case:
        chance = random.Random(f"{self.seed} {number}")
        place = self._place / f"hostile-{number}"
        (place / "received").mkdir(parents=True)
        (place / "private").write_text(hostile.SECRET)
        canary = place / "canary"
        folder = hostile.draw(self.seed * 1_000_003 + number, place / "received", self._template, canary)
        slow = chance.choice(sorted(hostile.SLOW))
        case = Case(number, f"{folder.name!r}")
        for name in (*hostile.PROGRAMS, slow):
            self._attempt(case, name, folder, place)
            if canary.exists():
                case.add("ran", name)
                canary.unlink()
        shutil.rmtree(place)
        return case

    def _attempt(self, case: Case, name: str, folder: Path, place: Path) -> None:
        out, said = place / "out", self._place / "said"
        out.mkdir()
        before = everything(place, but=out)
        surroundings = {"NAS_SECRET": hostile.SECRET, "HOME": str(out)}
        ended = Child(partial(_run, name, folder, out), place, said, surroundings).begin().wait(SECONDS)
        case.counts["programs run"] += 1
        faults = sum(map(len, case.faults.values()))
        if everything(place, but=out) != before:
            case.add("wrote", name)
        _check(case, name, ended, out)
        if sum(map(len, case.faults.values())) > faults:
            case.said.append(
                f"{name}: {ended.status} in {ended.seconds:.1f} s\n{ended.output[-2_000:]}\n{ended.error[-2_000:]}"
            )
        shutil.rmtree(out)


def _run(name: str, folder: Path, out: Path) -> None:
    """A UserError is one line of stderr and exit status 3."""
    limit_memory(MEMORY)
    try:
        {**hostile.PROGRAMS, **hostile.SLOW}[name](folder, out)
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(3) from None


def _check(case: Case, name: str, ended: Ended, out: Path) -> None:
    if ended.status is None:
        case.add("hang", name)
    elif ended.has_traceback or ended.status not in (0, 3):
        case.add("traceback", f"{name}: {ended.status} {ended.error[-500:]}")
    if _OUT_OF_MEMORY in ended.error or "MemoryError" in ended.error:
        case.add("memory", name)
    files = written(out)
    private = [hostile.SECRET.encode(), f"PATH={os.environ['PATH']}".encode()]
    said = [ended.output.encode(), ended.error.encode(), *files.values()]
    if any(each in text for each in private for text in said):
        case.add("leaked", name)
    if not all(line.isprintable() for text in (ended.output, ended.error) for line in text.split("\n")):
        case.add("form", name)
    try:
        check_written(name, ended.output, files)
    except (AssertionError, ValueError) as error:
        case.add("form", f"{name}: {error}")
