"""DARTS-ES: stop where the validation loss becomes sharp in alpha (arXiv 1909.09656)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from nas_lightning.records.epochs import EpochRecord
from nas_lightning.selection.eigenvalue import EigenvalueJump


@dataclass(frozen=True)
class EigenvalueLimit(EigenvalueJump):
    """After the epoch in which the first jump is seen. The architecture from before it is the selection's."""

    _group: ClassVar[str] = "stop"

    def __call__(self, records: Sequence[EpochRecord]) -> bool:
        return self.found(records) is not None
