"""Which epoch's architecture is the result of a search."""

from collections.abc import Sequence
from typing import Protocol

from nas_lightning.records.epochs import EpochRecord


class Selection(Protocol):
    """A pure function of the recorded epochs, asked when the search has ended. Settings are frozen."""

    def __call__(self, records: Sequence[EpochRecord]) -> tuple[int, str]:
        """(the epoch, counted from 0; what it is for the report: "the architecture of the last epoch")."""
        ...
