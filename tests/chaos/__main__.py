"""python -m tests.chaos kills|draws|hostile|all [--count N] [--seed S] [--only NUMBER] [--tmpdir PATH]

Each case is drawn from the seed and its number, so that --only repeats it alone. A line sums up each part; what has failed is
written, with all that the programs said, to runs/chaos/<part>.jsonl. Exit status 1 where a goal is missed.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.chaos import draws, hostile, kills

PARTS = {
    "kills": (kills.Kills, kills.KINDS, 300),
    "draws": (draws.Draws, draws.KINDS, 3_000),
    "hostile": (hostile.Hostile, hostile.KINDS, 500),
}
"""Of each part its cases, the kinds of their faults, which must be 0, and how many there are by default."""


def main(arguments: list[str] | None = None) -> int:
    """Run the parts that are asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("part", choices=[*PARTS, "all"])
    parser.add_argument("--count", type=int, help="cases; by default those of the goal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of the one case to run, whose outputs are shown")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--tmpdir", type=Path, action="append", help="where to work; twice for two file systems")
    parser.add_argument("--failures", type=Path, default=Path("runs/chaos"), help="folder for what has failed")
    asked = parser.parse_args(arguments)
    missed = [_run(part, asked) for part in (PARTS if asked.part == "all" else [asked.part])]
    return int(any(missed))


def _run(part: str, asked: argparse.Namespace) -> bool:
    """Whether a goal was missed."""
    make, kinds, count = PARTS[part]
    numbers = range(asked.first, asked.first + (asked.count or count)) if asked.only is None else [asked.only]
    asked.failures.mkdir(parents=True, exist_ok=True)
    faults, counts, start = Counter(dict.fromkeys(kinds, 0)), Counter[str](), time.monotonic()
    with _places(asked.tmpdir) as places, (asked.failures / f"{part}.jsonl").open("w") as file:
        cases = make(asked.seed, places)
        for done, number in enumerate(numbers):
            if done % 20 == 19:
                print(f"{part}: {done + 1} of {len(numbers)}", file=sys.stderr, flush=True)
            case = cases.case(number)
            faults.update(list(case.faults))
            counts.update(case.counts)
            if case.faults:
                file.write(json.dumps(vars(case)) + "\n")
                file.flush()
                print(f"{part} {number}: {case.name}: {', '.join(case.faults)}", flush=True)
            if asked.only is not None:
                print(f"{case.name}\n{chr(10).join(case.done)}\n{chr(10).join(case.said)}\n{case.faults}")
    sums = [f"{value} {name}" for name, value in [*counts.items(), *faults.items()]]
    seconds = time.monotonic() - start
    print(f"{part}: {len(numbers)} cases of seed {asked.seed}: {', '.join(sums)}; {seconds:.0f} s", flush=True)
    return any(faults.values())


@contextmanager
def _places(given: list[Path] | None) -> Iterator[tuple[Path, ...]]:
    """New folders in `given`, else in the usual one and, where that is another file system, in memory."""
    usual, memory = Path(tempfile.gettempdir()), Path("/dev/shm")
    roots = given or [usual, *([memory] if os.access(memory, os.W_OK) else [])]
    if len({root.stat().st_dev for root in roots}) < 2:
        print("All on one file system: give --tmpdir twice for two.", file=sys.stderr)
    with ExitStack() as stack:
        yield tuple(Path(stack.enter_context(tempfile.TemporaryDirectory(dir=root, prefix="chaos-"))) for root in roots)


if __name__ == "__main__":
    sys.exit(main())
