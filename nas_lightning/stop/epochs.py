"""Stop where the rest of the run decides nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from nas_lightning.errors import check_whole
from nas_lightning.records.epochs import EpochRecord


@dataclass(frozen=True)
class AfterEpochs:
    """After `epochs` epochs of a run that is longer; what goes by the run's length goes by its whole length."""

    epochs: int = 1

    def __post_init__(self) -> None:
        check_whole("stop.epochs", self.epochs, 1)

    def __call__(self, records: Sequence[EpochRecord]) -> bool:
        return len(records) >= self.epochs
