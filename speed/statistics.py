"""Interleaved timing and what is said of its numbers."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

Step = Callable[[], None]
Numbers = dict[str, float]


class Times(NamedTuple):
    """Step -> seconds of each round: on the wall, and of this process's threads on the processors.

    The second says what was worked, whatever else ran on the machine; threads that wait passively do not count.
    """

    wall: dict[str, list[float]]
    processor: dict[str, list[float]]


def interleaved(steps: Mapping[str, Step], rounds: int) -> Times:
    """All steps take their turn in a round; one round before does not count."""
    times = Times({name: [] for name in steps}, {name: [] for name in steps})
    for _ in range(rounds + 1):
        for name, step in steps.items():
            wall, processor = time.perf_counter(), time.process_time()
            step()
            times.wall[name].append(time.perf_counter() - wall)
            times.processor[name].append(time.process_time() - processor)
    return Times(*({name: row[1:] for name, row in each.items()} for each in times))


def spread(values: Sequence[float]) -> Numbers:
    """Median and quartiles."""
    if len(values) == 1:
        return {"median": values[0], "q1": values[0], "q3": values[0]}
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "q1": q1, "q3": q3}


def ratios(slower: Sequence[float], faster: Sequence[float]) -> Numbers:
    """Median and quartiles of the ratio round by round: what the rest of the machine does hits both alike."""
    return spread([a / b for a, b in zip(slower, faster, strict=True)])


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """b of value = a * size^b, least squares in logarithms."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    return statistics.linear_regression(x, y).slope
