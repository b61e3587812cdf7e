"""When a search ends before its last epoch."""

from collections.abc import Sequence
from typing import Protocol

from nas_lightning.records.epochs import EpochRecord


class Stop(Protocol):
    """Saves time and decides nothing: which epoch's architecture is the result says the selection.

    A pure function of the recorded epochs, so that an interrupted search stops where the uninterrupted one does.

    It may have `measures`, names of columns of metrics.csv that are measured because it asks, such as `hessian_eigenvalue`;
    and `check_cells(cells)`, asked before anything is trained: UserError where it can make nothing of a space of these cell
    types (`CellSpec` by name). So may a selection.
    """

    def __call__(self, records: Sequence[EpochRecord]) -> bool:
        """Whether the search ends with the last of `records`; asked after every epoch."""
        ...
