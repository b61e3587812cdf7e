"""DARTS-ES: the end of a search where the validation loss becomes sharp in alpha (arXiv 1909.09656)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from nas_lightning.errors import UserError, check_whole, is_number
from nas_lightning.records.epochs import EpochRecord

COLUMN = "hessian_eigenvalue"
EVERY = 2  # epochs from one evaluation to the next


@dataclass(frozen=True)
class EigenvalueJump:
    """Where the local average of `hessian_eigenvalue` has grown by more than `factor` (RobustDARTS, EVLocalAvg).

    The eigenvalue is that after epochs 0, 2, 4, ... Its local average is over the last `window` evaluations, over all while
    there are fewer, and begins with the (`window` + 1) // 2-th; it belongs to the epoch in the window's middle: after
    epoch e, of a window of 5, to epoch e - 4. A jump is an average above `factor` times that of `delta` evaluations before,
    if that one belongs to epoch `start` or a later one. So of 50 epochs with the defaults the first jump can be found
    after epoch 22. `epochs`: of the run; after its last nothing is asked.
    """

    measures: ClassVar[tuple[str, ...]] = (COLUMN,)

    epochs: int
    window: int = 5
    delta: int = 4
    factor: float = 1.3
    start: int = 10

    _group: ClassVar[str]

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("window", 1), ("delta", 1), ("start", 0)):
            check_whole(f"{self._group}.{name}", getattr(self, name), least)
        if not (is_number(self.factor) and self.factor >= 1):
            raise UserError(f"{self._group}.factor must be a number of at least 1, got {self.factor!r}.")

    def found(self, records: Sequence[EpochRecord]) -> tuple[int, int] | None:
        """Of the first jump the epoch after which it is seen, and the earlier of the two that are compared."""
        values: list[float] = []
        averages: list[float] = []
        for record in records:
            if record.epoch % EVERY or record.epoch + 1 >= self.epochs:
                continue
            values.append(self._value(record))
            if len(values) >= (self.window + 1) // 2:
                last = values[-self.window :]
                averages.append(sum(last) / len(last))
            before = record.epoch - EVERY * (self.window // 2 + self.delta)
            if (
                before >= self.start
                and len(averages) > self.delta
                and averages[-1] > self.factor * averages[-1 - self.delta]
            ):
                return record.epoch, before
        return None

    def _value(self, record: EpochRecord) -> float:
        if COLUMN not in record.metrics:
            raise UserError(
                f"{self._group} needs the column {COLUMN} of metrics.csv, which epoch {record.epoch + 1} lacks; start the "
                "search anew under another name=."
            )
        return record.metrics[COLUMN]


@dataclass(frozen=True)
class BeforeEigenvalueJump(EigenvalueJump):
    """The architecture of the earlier of the two epochs of the first jump; the last epoch's where there is none."""

    _group: ClassVar[str] = "selection"

    def __call__(self, records: Sequence[EpochRecord]) -> tuple[int, str]:
        found = self.found(records)
        if found is None:
            return records[-1].epoch, f"the architecture of the last epoch, {COLUMN} having made no jump"
        after, before = found
        return (
            before,
            f"the architecture of epoch {before + 1}, before the jump of {COLUMN} seen after epoch {after + 1}",
        )
