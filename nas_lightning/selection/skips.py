"""DARTS+: the end of a search where skip connections take over (arXiv 1909.06035, criterion 1)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_lightning.errors import UserError, check_flag, check_whole
from nas_lightning.records.epochs import EpochRecord

if TYPE_CHECKING:
    from nas_lightning.cells import CellSpec


def check_limit(group: str, limit: int, cells: "Mapping[str, CellSpec]") -> None:
    """UserError where no architecture of these cell types has so many skip connections: what `group` waits for never comes."""
    name, spec = next(iter(cells.items()))
    into = Counter(
        target for edge, (_, target) in enumerate(spec.edges) if "skip_connect" in spec.named(spec.candidates, edge)
    )
    most = sum(min(edges, spec.inputs_a_node or edges) for edges in into.values())
    if most < limit:
        remedy = f"{group}.limit={most} or less" if most else "another space= or method="
        raise UserError(
            f"{group} waits for {limit} skip connections in the cell {name}, which has {most} at most in this space "
            f"(of {', '.join(spec.operations)}), so that it never sees them; set {remedy}, or {group}=null."
        )


def first_with_skips(records: Sequence[EpochRecord], limit: int) -> int | None:
    """Position of the first epoch whose architecture has `limit` or more skip connections in its first cell type.

    That is the normal cell of the DARTS space.
    """
    for position, record in enumerate(records):
        cell = next(iter(record.genotype.cells.values()))
        if sum(choice.operation == "skip_connect" for choice in cell) >= limit:
            return position
    return None


@dataclass(frozen=True)
class AtSkips:
    """The first epoch whose normal cell has `limit` or more skip connections; the last where there is none.

    As the EDD authors' program (chaoji90/Selective-Stop). before: the epoch before that one instead, for the paper leaves
    open which of the two it means.
    """

    limit: int = 2
    before: bool = False

    def __post_init__(self) -> None:
        check_whole("selection.limit", self.limit, 1)
        check_flag("selection.before", self.before)

    def check_cells(self, cells: "Mapping[str, CellSpec]") -> None:
        """UserError where no architecture of these cell types has so many."""
        check_limit("selection", self.limit, cells)

    def __call__(self, records: Sequence[EpochRecord]) -> tuple[int, str]:
        found = first_with_skips(records, self.limit)
        if found is None:
            return records[-1].epoch, f"the architecture of the last epoch, none having {self.limit} skip connections"
        epoch = records[max(0, found - 1) if self.before else found].epoch
        where = "the one before the first" if self.before else "the first"
        return epoch, f"the architecture of epoch {epoch + 1}, {where} with {self.limit} skip connections"
