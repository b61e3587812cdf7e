"""DARTS+: the end of a search whose operations no longer change places (arXiv 1909.06035, criterion 2)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from nas_lightning.errors import UserError, check_whole
from nas_lightning.records.epochs import EpochRecord

if TYPE_CHECKING:
    from nas_lightning.cells import CellSpec

FREE = ("none", "skip_connect", "avg_pool_3x3", "max_pool_3x3", "noise")


@dataclass(frozen=True)
class Ranking:
    """Where alpha has ranked the operations of every edge alike in `patience` epochs running.

    without: operations that are left out, by default those without weights of their own, for the paper ranks the learnable
    ones; [] ranks all, as the EDD authors' program (chaoji90/Selective-Stop).
    """

    patience: int = 10
    without: Sequence[str] = FREE

    _group: ClassVar[str]

    def __post_init__(self) -> None:
        check_whole(f"{self._group}.patience", self.patience, 2)
        if isinstance(self.without, str) or not all(isinstance(name, str) for name in self.without):
            raise UserError(f"{self._group}.without must be a list of operations, got {self.without!r}.")

    def check_cells(self, cells: "Mapping[str, CellSpec]") -> None:
        """UserError where no edge of these cell types has two operations to rank, and for a name that none has."""
        known = {name for spec in cells.values() for name in spec.operations}
        unknown = [name for name in self.without if name not in {*known, *FREE}]
        if unknown:
            raise UserError(
                f"{self._group}.without names {unknown[0]!r}, which is no operation of this space; there is "
                f"{', '.join(sorted(known))}."
            )
        self._check_edges(
            [name for name, may in zip(spec.operations, row, strict=True) if may and name not in self.without]
            for spec in cells.values()
            for row in spec.candidates
        )

    def _check_edges(self, edges: Iterable[Collection[str]]) -> None:
        """UserError where each of them has fewer than two operations that are ranked."""
        if all(len(ranked) < 2 for ranked in edges):
            raise UserError(
                f"{self._group} finds no edge with two operations to rank in this space beside {', '.join(self.without)}; set "
                f"{self._group}.without=[] to rank all, or another space= or method=."
            )

    def first(self, records: Sequence[EpochRecord]) -> int | None:
        """Position of the first epoch that ends such a row of epochs."""
        alike, before = 0, None
        for position, record in enumerate(records):
            now = self._ranked(record)
            alike = alike + 1 if now == before else 1
            if alike >= self.patience:
                return position
            before = now
        return None

    def _ranked(self, record: EpochRecord) -> dict[str, list[str]]:
        """Edge -> its operations, the strongest first."""
        edges: dict[str, dict[str, float]] = {}
        for name, alpha in record.alpha.items():
            edge, _, operation = name.rpartition("/")
            if operation not in self.without:
                edges.setdefault(edge, {})[operation] = alpha
        self._check_edges(edges.values())
        return {edge: sorted(row, key=lambda name: -row[name]) for edge, row in edges.items()}


@dataclass(frozen=True)
class AtStableRanking(Ranking):
    """The epoch in which the ranking has been the same `patience` times; the last where it never is."""

    _group: ClassVar[str] = "selection"

    def __call__(self, records: Sequence[EpochRecord]) -> tuple[int, str]:
        found = self.first(records)
        if found is None:
            return records[-1].epoch, f"the architecture of the last epoch, no ranking being {self.patience} epochs old"
        epoch = records[found].epoch
        return epoch, f"the architecture of epoch {epoch + 1}, the first whose ranking is {self.patience} epochs old"
