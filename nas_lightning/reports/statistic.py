"""Mean and spread of a few values, counts, and how they are written."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from nas_lightning.errors import is_number


@dataclass(frozen=True)
class Statistic:
    """Mean and sample standard deviation of n values; std is None for n = 1, both are None for n = 0.

    >>> Statistic.of([1.0, None, 2.0]).shown(decimals=1, runs=3)
    '1.5 ± 0.7 (n=2)'
    """

    mean: float | None
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Statistic":
        """Values that are None are left out."""
        kept = [value for value in values if value is not None]
        if not kept:
            return cls(None, None, 0)
        return cls(fmean(kept), stdev(kept) if len(kept) > 1 else None, len(kept))

    def shown(self, decimals: int, runs: int) -> str:
        """`93.21 ± 0.12`, blank without a value; with the number of values where it is not `runs`."""
        if self.mean is None:
            return ""
        spread = "" if self.std is None else f" ± {self.std:.{decimals}f}"
        count = "" if self.n == runs else f" (n={self.n})"
        return f"{self.mean:.{decimals}f}{spread}{count}"


def finite(value: Any) -> float | None:
    """`value` as a float, None where it is no finite number."""
    return float(value) if is_number(value) and math.isfinite(value) else None


def p_text(p: float | None) -> str:
    """
    >>> [p_text(None), p_text(0.00049), p_text(0.0123)]
    ['', '<0.001', '0.012']
    """
    if p is None:
        return ""
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def count(number: int, what: str) -> str:
    """
    >>> [count(1, "run"), count(2, "epoch"), count(2, "search")]
    ['1 run', '2 epochs', '2 searches']
    """
    plural = "es" if what.endswith("rch") else "s"
    return f"{number} {what}{'' if number == 1 else plural}"
