"""Peak memory and calls of a half step.

`profile_step` adds up the allocator's own events: the most bytes that the tensors made in the step held at once. What the
process takes from the system on top (libraries' scratch, fragmentation) needs a process for each side: `resident` starts one,
in which every half step runs once, what is free is given back, the kernel's high-water mark (VmHWM) is reset, and the
step's rise of it above the resident memory before is taken.
"""

import ctypes
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from speed.half_steps import MeasuredSteps, Size

# kind of call -> its operator
CALLS = {
    "conv": "aten::convolution",
    "conv backward": "aten::convolution_backward",
    "BN": "aten::batch_norm",
    "BN backward": "aten::native_batch_norm_backward",
}
_TIMEOUT = 600  # seconds


class Profile(NamedTuple):
    """allocated_mb: see above, in 10^6 bytes. calls: kind -> number."""

    allocated_mb: float
    calls: dict[str, int]


def profile_step(step: Callable[[], None]) -> Profile:
    """Of a step that has run before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        step()
    live = peak = 0
    events = (
        trace.profiler.kineto_results.events()
    )  # as they are: the profiler's own summary takes longer than the step
    for event in sorted((event for event in events if event.name() == "[memory]"), key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    counts = Counter(event.name() for event in events)
    return Profile(peak / 1e6, {kind: counts[operator] for kind, operator in CALLS.items()})


def resident(space: str, size: Size, precision: str, side: str) -> dict[str, float]:
    """Half step -> rise of the resident memory in MB, measured in a process of its own; empty where it can't be had."""
    task = {
        "space": space,
        "size": asdict(size),
        "precision": precision,
        "side": side,
        "threads": torch.get_num_threads(),
    }
    command = [sys.executable, "-m", "speed.memory", json.dumps(task)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if answer.returncode:
        print(f"No resident memory: {answer.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return {}
    rises: dict[str, float] = json.loads(answer.stdout)
    return rises


def _status_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024 / 1e6


def _rise_mb(step: Callable[[], None]) -> float:
    step()
    ctypes.CDLL(None).malloc_trim(0)
    before = _status_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    step()
    return _status_mb("VmHWM") - before


def _main() -> None:
    task = json.loads(sys.argv[1])
    torch.set_num_threads(task["threads"])
    steps = MeasuredSteps(task["space"], Size(**task["size"]), task["precision"]).run[task["side"]]
    print(json.dumps({name: _rise_mb(step) for name, step in steps.items()}))


if __name__ == "__main__":
    _main()
