"""DARTS+: stop where skip connections take over (arXiv 1909.06035, criterion 1)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_lightning.errors import UserError, check_whole
from nas_lightning.records.epochs import EpochRecord
from nas_lightning.selection.skips import first_with_skips

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
        name, spec = next(iter(cells.items()))
        into = Counter(
            target for edge, (_, target) in enumerate(spec.edges) if "skip_connect" in spec.named(spec.candidates, edge)
        )
        most = sum(min(edges, spec.inputs_a_node or edges) for edges in into.values())
        if most < self.limit:
            remedy = f"stop.limit={most} or less" if most else "another space= or method="
            raise UserError(
                f"stop waits for {self.limit} skip connections in the cell {name}, which has {most} at most in this space "
                f"(of {', '.join(spec.operations)}), so that it would never stop; set {remedy}, or stop=null."
            )
