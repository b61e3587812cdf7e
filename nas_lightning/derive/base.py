"""From a relaxed cell to the edges and operations that are kept."""

from typing import Protocol

from nas_lightning.errors import UserError, brief
from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.relaxations.view import CellView, View


class DeriveRule(Protocol):
    """The architecture that a search stands for. A pure function; settings are frozen."""

    @property
    def sentence(self) -> str:
        """What the rule keeps, for the report: "each edge's strongest operation"."""
        ...

    def __call__(self, view: CellView) -> tuple[Choice, ...]:
        """The kept operations of one cell type, targets ascending; only candidates that `view.mask_EO` leaves.

        view: float64 copies on the CPU.
        """
        ...


def derived(space: str, rule: DeriveRule, view: View) -> Genotype:
    """The architecture of the space named `space` that `view`, on the CPU, stands for by `rule`."""
    cells = {name: rule(cell.of_derive().double()) for name, cell in view.items()}
    for kept in cells.values():
        if not (isinstance(kept, tuple) and all(isinstance(choice, Choice) for choice in kept)):
            raise UserError(
                f"the derive rule {type(rule).__name__} gives {brief(kept)}, no tuple of Choice; see docs/extending.md."
            )
    return Genotype(space, cells)
