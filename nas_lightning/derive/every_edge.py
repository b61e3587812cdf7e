"""One operation on every edge."""

from dataclasses import dataclass

from nas_lightning.genotypes.base import Choice
from nas_lightning.relaxations.view import CellView


@dataclass(frozen=True)
class EveryEdge:
    """Each edge's strongest operation, `none` included where it is a candidate (arXiv 2306.06855, eq. 2).

    Strength is the log-odds of the relaxation, the first operation wins a tie. An edge without a candidate gets `none`.
    """

    sentence = "each edge's strongest operation"

    def __call__(self, view: CellView) -> tuple[Choice, ...]:
        best = view.log_odds_EO.argmax(-1).tolist()
        left = view.mask_EO.any(-1).tolist()
        names = [view.spec.operations[o] if has else "none" for o, has in zip(best, left, strict=True)]
        return tuple(Choice(name, *edge) for name, edge in zip(names, view.spec.edges, strict=True))
