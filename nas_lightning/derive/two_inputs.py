"""Two edges a node.

A rule says how strong every operation of every edge is. A node keeps the two incoming edges whose best operation is the
strongest, in this order, and on each its best operation; `none` takes part in the softmax but is never kept.

Letters: E edges, O operations.
"""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from nas_lightning.cells import CellSpec
from nas_lightning.errors import UserError, check_flag, is_whole
from nas_lightning.genotypes.base import Choice
from nas_lightning.relaxations.view import CellView


@dataclass(frozen=True)
class Exact:
    """Rank by the relaxation's probabilities as they stand, without rounding.

    Compared are its log-odds ln(p / (1 - p)): they grow with p and still differ where every edge's best p rounds to 1.
    With edge weights, ln p plus the ln of the edge's weight.
    """

    sentence = "two edges a node, ranked by beta without rounding"

    def __call__(self, view: CellView) -> tuple[Choice, ...]:
        odds_EO = view.log_odds_EO
        if view.edge_shares_E is None:
            return two_inputs_a_node(view, odds_EO)
        return two_inputs_a_node(view, F.logsigmoid(odds_EO) + view.edge_shares_E.log()[:, None])


@dataclass(frozen=True)
class Probabilities:
    """Rank by the relaxation's probabilities at t = 1, times the edge's where edges have weights: DARTS and PC-DARTS.

    tempered: at the search's temperature instead. decimals: round to so many; edges that tie go to the lower input.
    op_ties: which operation of an edge wins a tie, the first or the last in the space's order.

    The EDD authors' released programs (chaoji90/PCDEDD) are tempered with decimals=3; the one for S1-S4 differs by
    op_ties="last" (it compares by >=), which shows where softmax(alpha / t) is even. Two things about that one are
    assumptions: its search imports the network from a folder that was not published, taken here for the one of the same
    name beside it; and it looks for `none` by an edge's position within its node, which is taken for the edge's own list
    (the same in S1-S4, where either no edge or every edge has `none` first). The paper itself names only the largest weight
    of each edge (arXiv 2306.06855, eq. 2), not how a node's two edges are chosen.
    """

    tempered: bool = False
    decimals: int | None = None
    op_ties: Literal["first", "last"] = "first"

    def __post_init__(self) -> None:
        check_flag("derive.tempered", self.tempered)
        if self.decimals is not None and not is_whole(self.decimals, 0):
            raise UserError(
                f"derive.decimals must be a whole number, 0 or more, or null for no rounding, got {self.decimals!r}."
            )
        if self.op_ties not in ("first", "last"):
            raise UserError(f"derive.op_ties must be first or last, got {self.op_ties!r}.")

    @property
    def sentence(self) -> str:
        rounded = "" if self.decimals is None else f" rounded to {self.decimals} decimals"
        return f"two edges a node, ranked by beta at {'the temperature' if self.tempered else 't = 1'}{rounded}"

    def __call__(self, view: CellView) -> tuple[Choice, ...]:
        strength_EO = (view if self.tempered else view.at(1.0)).probabilities_EO
        if view.edge_shares_E is not None:
            strength_EO = strength_EO * view.edge_shares_E[:, None]
        if self.decimals is not None:
            strength_EO = strength_EO.round(decimals=self.decimals)
        return two_inputs_a_node(view, strength_EO, self.op_ties == "last")


def two_inputs_a_node(view: CellView, strength_EO: Tensor, last_op_wins: bool = False) -> tuple[Choice, ...]:
    """Per node the two strongest edges, strongest first, each with its strongest operation other than `none`.

    Edges that tie go to the lower input; operations that tie to the first, or with `last_op_wins` to the last. A node has
    fewer where fewer of its edges have such an operation left.
    """
    edges, mask = view.spec.edges, view.mask_EO.tolist()
    best = {
        edge: best_operation(view.spec, mask, edge, strength_EO[edge].tolist(), last_op_wins)
        for edge in range(len(edges))
        if view.spec.named(mask, edge)
    }
    choices = []
    for node in sorted({target for _, target in edges}):
        incoming = [edge for edge in best if edges[edge][1] == node]
        for edge in sorted(incoming, key=lambda edge: -best[edge][0])[:2]:
            choices.append(Choice(best[edge][1], *edges[edge]))
    return tuple(choices)


def best_operation(
    spec: CellSpec, mask: list[list[bool]], edge: int, strengths: list[float], last_wins: bool = False
) -> tuple[float, str]:
    """The strength and the name of the strongest operation other than `none` that `mask` [E][O] leaves on `edge`."""
    candidates = [
        (strength, name)
        for strength, name, may in zip(strengths, spec.operations, mask[edge], strict=True)
        if may and name != "none"
    ]
    return max(reversed(candidates) if last_wins else candidates, key=lambda candidate: candidate[0])
