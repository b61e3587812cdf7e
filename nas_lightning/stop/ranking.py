"""DARTS+: stop where operations no longer change places (arXiv 1909.06035, criterion 2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from nas_lightning.records.epochs import EpochRecord
from nas_lightning.selection.ranking import Ranking


@dataclass(frozen=True)
class StableRanking(Ranking):
    """After the epoch in which the ranking has been the same `patience` times."""

    _group: ClassVar[str] = "stop"

    def __call__(self, records: Sequence[EpochRecord]) -> bool:
        return self.first(records) is not None
