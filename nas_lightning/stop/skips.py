"""DARTS+: stop where skip connections take over (arXiv 1909.06035, criterion 1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_lightning.errors import check_whole
from nas_lightning.records.epochs import EpochRecord
from nas_lightning.selection.skips import check_limit, first_with_skips

if TYPE_CHECKING:
    from nas_lightning.cells import CellSpec


@dataclass(frozen=True)
class SkipLimit:
    """After the first epoch whose normal cell has `limit` or more skip connections."""

    limit: int = 2

    def __post_init__(self) -> None:
        check_whole("stop.limit", self.limit, 1)

    def __call__(self, records: Sequence[EpochRecord]) -> bool:
        return first_with_skips(records, self.limit) is not None

    def check_cells(self, cells: "Mapping[str, CellSpec]") -> None:
        """UserError where no architecture of these cell types has so many: the search would never stop."""
        check_limit("stop", self.limit, cells)
