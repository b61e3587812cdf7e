"""From the scores of a cell to the edges and operations that are kept.

A rule says how strong every operation of every edge is. A node keeps the two incoming edges whose best operation is the
strongest, in this order, and on each its best operation; `none` takes part in the softmax but is never kept.

Letters: E edges, O operations.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from nas_lightning.cells import CellScores, CellSpec
from nas_lightning.errors import UserError, check_flag, is_whole
from nas_lightning.genotypes.base import Choice


class DeriveRule(Protocol):
    def __call__(self, spec: CellSpec, scores: CellScores) -> tuple[Choice, ...]: ...


@dataclass(frozen=True)
class Exact:
    """Rank by beta = softmax(alpha / t), without rounding.

    Compared are the log-odds ln(beta / (1 - beta)) = alpha_o / t - logsumexp of the others: they grow with beta and still
    differ where every edge's best beta rounds to 1. With edge weights, ln beta plus the edge's ln softmax, t = 1 there.
    """

    def __call__(self, spec: CellSpec, scores: CellScores) -> tuple[Choice, ...]:
        logits_EO = scores.alpha_EO.double() / scores.temperature
        others_EOO = logits_EO[:, None, :].masked_fill(torch.eye(logits_EO.shape[1], dtype=torch.bool), -torch.inf)
        odds_EO = torch.where(logits_EO > -torch.inf, logits_EO - others_EOO.logsumexp(-1), -torch.inf)
        if scores.edge_E is None:
            return two_inputs_a_node(spec, odds_EO)
        return two_inputs_a_node(spec, F.logsigmoid(odds_EO) + _log_edge_weights(spec, scores.edge_E)[:, None])


@dataclass(frozen=True)
class Softmax:
    """Rank by the probabilities softmax(alpha), times the edge's where edges have weights: DARTS and PC-DARTS.

    tempered: softmax(alpha / t) instead. decimals: round to so many; edges that tie go to the lower input.
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
        check_flag("space.derive.tempered", self.tempered)
        if self.decimals is not None and not is_whole(self.decimals, 0):
            raise UserError(
                f"space.derive.decimals must be a whole number, 0 or more, or null for no rounding, got {self.decimals!r}."
            )
        if self.op_ties not in ("first", "last"):
            raise UserError(f"space.derive.op_ties must be first or last, got {self.op_ties!r}.")

    def __call__(self, spec: CellSpec, scores: CellScores) -> tuple[Choice, ...]:
        temperature = scores.temperature if self.tempered else 1.0
        strength_EO = torch.softmax(scores.alpha_EO.double() / temperature, -1)
        if scores.edge_E is not None:
            strength_EO = strength_EO * _log_edge_weights(spec, scores.edge_E).exp()[:, None]
        if self.decimals is not None:
            strength_EO = strength_EO.round(decimals=self.decimals)
        return two_inputs_a_node(spec, strength_EO, self.op_ties == "last")


def two_inputs_a_node(spec: CellSpec, strength_EO: Tensor, last_op_wins: bool = False) -> tuple[Choice, ...]:
    """Per node the two strongest edges, strongest first, each with its strongest operation other than `none`.

    Edges that tie go to the lower input; operations that tie to the first, or with `last_op_wins` to the last.
    """
    choices = []
    best = [_best_operation(spec, edge, strength_EO[edge].tolist(), last_op_wins) for edge in range(len(spec.edges))]
    for node in sorted({target for _, target in spec.edges}):
        incoming = [edge for edge, (_, target) in enumerate(spec.edges) if target == node]
        for edge in sorted(incoming, key=lambda edge: -best[edge][0])[:2]:
            choices.append(Choice(best[edge][1], *spec.edges[edge]))
    return tuple(choices)


def _best_operation(spec: CellSpec, edge: int, strengths: list[float], last_wins: bool) -> tuple[float, str]:
    candidates = [
        (strength, name)
        for strength, name, may in zip(strengths, spec.operations, spec.candidates[edge], strict=True)
        if may and name != "none"
    ]
    return max(reversed(candidates) if last_wins else candidates, key=lambda candidate: candidate[0])


def _log_edge_weights(spec: CellSpec, edge_E: Tensor) -> Tensor:
    """ln of each edge's share among the edges into its node."""
    log_E = torch.empty(len(spec.edges), dtype=torch.float64)
    for node in {target for _, target in spec.edges}:
        incoming = [edge for edge, (_, target) in enumerate(spec.edges) if target == node]
        log_E[incoming] = torch.log_softmax(edge_E[incoming].double(), -1)
    return log_E
