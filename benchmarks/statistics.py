"""Interleaved timing and what is said of its numbers."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

Step = Callable[[], None]
Numbers = dict[str, float]


def seconds(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def interleaved(steps: Mapping[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step in each round, all steps taking their turn in a round; one round before does not count."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            times[name].append(seconds(step))
    return {name: row[1:] for name, row in times.items()}


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
