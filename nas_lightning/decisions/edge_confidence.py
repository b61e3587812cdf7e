"""SGAS: edge after edge is decided, the surest first.

Letters: E edges, O operations.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from nas_lightning.decisions.base import Masks, Probe, State, only, undecided, within
from nas_lightning.decisions.leave_out import By, most_missed, worth_of
from nas_lightning.errors import UserError, check_whole
from nas_lightning.relaxations.view import CellView, View
from nas_lightning.schedules.recurrence import Recurrence


@dataclass(frozen=True)
class EdgeConfidence:
    """After epoch `start` and every `interval` epochs from there, one edge of each cell type (arXiv 1912.00195).

    Both are epochs (int) or shares of the run of `epochs` epochs (float): the authors' are 9 and 5 of 50. interval is one
    epoch at least.

    With p the relaxation's probabilities, q those of the operations other than `none`, divided by their sum: importance is
    that sum, certainty 1 - H(q) / ln(number of them). The undecided edge with the largest product of both, each scaled to
    [0, 1] over all edges, keeps its operation of largest q alone. Criterion 2 multiplies by stability, the mean overlap of q
    with its last `history` values, scaled too. Edges that are decided or dropped take part in the scaling with the p that
    their alpha gives on all of the space's candidates, as in the authors' program. In a space without `none` importance says
    nothing and is left out.

    A node with as many decided edges as an architecture keeps loses its others.

    by: which operation of the edge stays. "probability": that of largest q. "accuracy" or "loss": that without which the
    supernet loses most on the validation half (SGAS+PT of arXiv 2108.04392, section 5.1), each left out in turn, the others
    not renormalised, and `none` no candidate; cell types that follow are measured with the decision of those before.
    """

    epochs: int = 50
    criterion: int = 1
    start: int | float = 0.18
    interval: int | float = 0.1
    history: int = 4
    by: Literal["probability"] | By = "probability"

    def __post_init__(self) -> None:
        if self.criterion not in (1, 2) or isinstance(self.criterion, bool):
            raise UserError(f"decision.criterion must be 1 or 2, got {self.criterion!r}.")
        for name in ("epochs", "history"):
            check_whole(f"decision.{name}", getattr(self, name), 1)
        _ = self._recurrence
        if self.by not in ("probability", "accuracy", "loss"):
            raise UserError(f"decision.by must be probability, accuracy or loss, got {self.by!r}.")

    @property
    def _recurrence(self) -> Recurrence:
        return Recurrence("decision", self.start, self.interval, self.epochs)

    def __call__(
        self, epoch: int, epochs: int, view: View, probe: Probe, state: State, generator: torch.Generator
    ) -> tuple[Masks, State]:
        decides = self._recurrence.is_due(epoch)
        masks, remembered = {}, {}
        betas = {name: cell.probabilities_EO for name, cell in view.items()}
        for name, cell in view.items():
            importance_E, q_EO = _shares(cell)
            past = state.get(name, [])
            edge = self._surest(cell, importance_E, q_EO, past) if decides else None
            if edge is not None:
                stays = (
                    int(q_EO[edge].argmax())
                    if self.by == "probability"
                    else self._missed(name, cell, edge, betas, probe)
                )
                masks[name] = _without_surplus(cell, only(cell.mask_EO, edge, stays), edge)
                betas[name] = within(betas[name], masks[name])
            remembered[name] = [*past, q_EO.tolist()][-self.history :]
        return masks, remembered

    def _missed(self, name: str, cell: CellView, edge: int, betas: dict[str, Tensor], probe: Probe) -> int:
        """The operation without which the supernet is worst."""
        assert self.by != "probability"
        row = zip(cell.spec.operations, cell.mask_EO[edge].tolist(), strict=True)
        candidates = [column for column, (operation, may) in enumerate(row) if may and operation != "none"]
        return most_missed(betas[name], edge, candidates, worth_of(name, betas, probe, self.by))[0]

    def _surest(self, cell: CellView, importance_E: Tensor, q_EO: Tensor, past: list[list[list[float]]]) -> int | None:
        """The undecided edge of largest score."""
        open_edges = undecided(cell.mask_EO)
        if not open_edges:
            return None
        count = sum(name != "none" for name in cell.spec.operations)
        certainty_E = 1 + torch.xlogy(q_EO, q_EO).sum(-1) / math.log(max(2, count))
        score_E = _scaled(certainty_E)
        if "none" in cell.spec.operations:  # else importance is 1 but for rounding, which must not decide
            score_E = score_E * _scaled(importance_E)
        if self.criterion == 2:
            overlaps = [torch.minimum(q_EO, torch.tensor(old, dtype=q_EO.dtype)).sum(-1) for old in past]
            score_E = score_E * _scaled(torch.stack(overlaps).mean(0) if overlaps else torch.zeros_like(score_E))
        return max(open_edges, key=lambda e: score_E[e].item())


def _shares(cell: CellView) -> tuple[Tensor, Tensor]:
    """Of each edge the probability of all operations but `none`, and how it is shared among them."""
    # The mask would make a decided edge the surest and most important of all, and with that scale the others.
    is_open_E1 = cell.mask_EO.sum(-1, keepdim=True) > 1
    whole = replace(cell, mask_EO=torch.where(is_open_E1, cell.mask_EO, cell.spec.mask_EO))
    p_EO = whole.double().probabilities_EO.clone()
    for column, name in enumerate(cell.spec.operations):
        if name == "none":
            p_EO[:, column] = 0
    importance_E = p_EO.sum(-1)
    return importance_E, p_EO / importance_E.clamp_min(torch.finfo(p_EO.dtype).tiny)[:, None]


def _scaled(values_E: Tensor) -> Tensor:
    low, high = values_E.min(), values_E.max()
    return (values_E - low) / (high - low) if high > low else torch.zeros_like(values_E)


def _without_surplus(cell: CellView, mask_EO: Tensor, edge: int) -> Tensor:
    node, inputs = cell.spec.edges[edge][1], cell.spec.inputs_a_node
    into = [e for e, (_, target) in enumerate(cell.spec.edges) if target == node]
    decided = [e for e in into if mask_EO[e].sum() == 1]
    if inputs is not None and len(decided) >= inputs:
        for e in set(into) - set(decided):
            mask_EO[e] = False
    return mask_EO
