"""The last epoch, or the best."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nas_lightning.errors import UserError
from nas_lightning.records.epochs import EpochRecord


@dataclass(frozen=True)
class Last:
    def __call__(self, records: Sequence[EpochRecord]) -> tuple[int, str]:
        return records[-1].epoch, "the architecture of the last epoch"


@dataclass(frozen=True)
class Best:
    """The epoch with the best value of a column of metrics.csv, the first of equals; nan is none of its values.

    metric: "discrete_accuracy" is measured on the validation half. A table's column (`table/...`) is refused: it holds test
    accuracies, which must not choose.
    """

    metric: str = "discrete_accuracy"
    mode: Literal["max", "min"] = "max"

    def __post_init__(self) -> None:
        if self.mode not in ("max", "min"):
            raise UserError(f"selection.mode must be max or min, got {self.mode!r}.")
        if not isinstance(self.metric, str) or self.metric.startswith("table/"):
            raise UserError(
                f"selection.metric={self.metric} cannot choose an epoch: the table holds test accuracies; use a column of "
                "metrics.csv such as discrete_accuracy."
            )

    def __call__(self, records: Sequence[EpochRecord]) -> tuple[int, str]:
        having = [record for record in records if not math.isnan(record.metrics.get(self.metric, math.nan))]
        if not having:
            known = ", ".join(sorted(records[-1].metrics)[:12])
            is_column = any(self.metric in record.metrics for record in records)
            fault = "is nan in every epoch" if is_column else "is no column"
            raise UserError(f"selection.metric={self.metric} {fault} of metrics.csv; it has {known}, ...")
        sign = 1 if self.mode == "max" else -1
        best = max(having, key=lambda record: sign * record.metrics[self.metric])
        return best.epoch, f"the architecture of epoch {best.epoch + 1}, the {self.mode} of {self.metric}"
