"""Which epoch's architecture is the result of a search."""

from collections.abc import Sequence
from typing import Protocol

from nas_lightning.errors import UserError, brief
from nas_lightning.records.epochs import EpochRecord


class Selection(Protocol):
    """A pure function of the recorded epochs, asked when the search has ended. Settings are frozen."""

    def __call__(self, records: Sequence[EpochRecord]) -> tuple[int, str]:
        """(the epoch, counted from 0; what it is for the report: "the architecture of the last epoch")."""
        ...


def selected(selection: Selection, records: Sequence[EpochRecord]) -> tuple[EpochRecord, str]:
    """(the record of the epoch that `selection` names, its words); UserError where there is no such epoch."""
    answer, by_epoch = selection(records), {record.epoch: record for record in records}
    if isinstance(answer, tuple) and len(answer) == 2 and answer[0] in by_epoch and isinstance(answer[1], str):
        return by_epoch[answer[0]], answer[1]
    raise UserError(
        f"selection: {type(selection).__name__} answers {brief(answer)}; it is an epoch from 0 to {records[-1].epoch} and "
        "what it is in words: correct it, or name another selection, and run the command again."
    )
