"""A search within a budget: what the architecture is expected to cost, as a term of alpha's loss.

Letters: K kinds of cost, E edges, O operations.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from nas_lightning.cells import CellSpec
from nas_lightning.genotypes.base import Genotype
from nas_lightning.penalties.base import Penalty
from nas_lightning.relaxations.view import CellView, View

Rows = Mapping[str, Sequence[Sequence[float]]]
"""By cell type, [E][O]."""


class ExpectedCost(nn.Module):
    """weight * the sum over kinds of max(0, cost / budget - 1), for costs that add up operation by operation, moved by E[cost].

    E[cost] = fixed + sum over edges and operations of kept_e * beta_eo * cost_eo; kept_e is how probably an architecture has
    the edge: 1, or where a node keeps some of its edges their number times the edge's weight among those that are left (equal
    ones where edges have no weights). The idea of an expected cost is ProxylessNAS' (arXiv 1812.00332, eq. 2), which has no
    budget.

    cost is that of the likeliest operations: of what would be derived now. E[cost] of a beta that is still undecided says
    nothing of it, and to lower that takes every edge's operations away. The gradient, where cost is beyond the budget, is
    that of E[cost] / budget at t = 1: at a small temperature a softmax that is sure of itself has none left.

    fixed: kind -> cost of what every architecture has, in units of the budget. shares: kind -> `Rows`, in these units, of
    what operations add. The numbers are buffers, so that a checkpoint holds them: times are measured and differ between runs.
    """

    fixed_K: Tensor

    def __init__(
        self, cells: Mapping[str, CellSpec], fixed: Mapping[str, float], shares: Mapping[str, Rows], weight: float
    ) -> None:
        super().__init__()
        self.cells = dict(cells)
        self.kinds = tuple(fixed)
        self.weight = weight
        self.register_buffer("fixed_K", torch.tensor([fixed[kind] for kind in self.kinds]))
        for name, spec in cells.items():
            self.register_buffer(f"share_{name}", torch.tensor([shares[kind][name] for kind in self.kinds]))
            is_none = torch.tensor([operation == "none" for operation in spec.operations])
            self.register_buffer(f"is_none_{name}", is_none, persistent=False)

    def expected(self, view: View) -> Tensor:
        """E[cost] / budget [K] at the temperature of `view`, attached to alpha."""
        return self._total(view, {name: cell.probabilities_EO for name, cell in view.items()})

    def likeliest(self, view: View) -> Tensor:
        """cost / budget [K] with the likeliest operation on each edge."""
        chosen = {name: _likeliest_EO(cell, self.get_buffer(f"is_none_{name}")) for name, cell in view.items()}
        return self._total(view, chosen)

    def _total(self, view: View, betas: Mapping[str, Tensor]) -> Tensor:
        total_K = self.fixed_K
        for name, cell in view.items():
            kept_EO = _kept_E(cell)[:, None] * betas[name]
            total_K = total_K + torch.einsum("keo,eo->k", self.get_buffer(f"share_{name}"), kept_EO)
        return total_K

    def of(self, genotype: Genotype) -> dict[str, float]:
        """kind -> cost / budget of an architecture."""
        total_K = self.fixed_K.double().cpu()
        for name, spec in self.cells.items():
            share_KEO = self.get_buffer(f"share_{name}").double().cpu()
            for choice in genotype.cells[name]:
                edge, operation = (
                    spec.edges.index((choice.source, choice.target)),
                    spec.operations.index(choice.operation),
                )
                total_K = total_K + share_KEO[:, edge, operation]
        return dict(zip(self.kinds, total_K.tolist(), strict=True))

    def forward(self, view: View, progress: Tensor) -> Tensor:
        """See `Penalty`."""
        excess_K = (self.likeliest(view) - 1).clamp(min=0).detach()
        steered_K = self.expected({name: cell.at(1.0) for name, cell in view.items()})
        moved_K = steered_K - steered_K.detach()  # 0, with a gradient
        return self.weight * (excess_K + moved_K * (excess_K > 0)).sum()


def _kept_E(cell: CellView) -> Tensor:
    """How probably an architecture has each edge; of an edge without a candidate it does not matter."""
    if cell.spec.inputs_a_node is None:
        return torch.ones_like(cell.alpha_EO[:, 0])
    shares_E = cell.edge_shares_E
    if shares_E is None:
        left_E = cell.mask_EO.any(-1).to(cell.alpha_EO.dtype)
        shares_E = torch.cat([left_N / left_N.sum().clamp(min=1) for left_N in left_E.split(cell.spec.edges_into())])
    return (cell.spec.inputs_a_node * shares_E).clamp(max=1.0)


def _likeliest_EO(cell: CellView, is_none_O: Tensor) -> Tensor:
    """1 at the operation that a cell would have on each edge; where a node keeps some of its edges that is never `none`."""
    probabilities_EO = cell.probabilities_EO.detach()
    if cell.spec.inputs_a_node is not None:
        probabilities_EO = probabilities_EO.masked_fill(is_none_O, 0.0)
    chosen_EO = torch.zeros_like(probabilities_EO).scatter(-1, probabilities_EO.argmax(-1, keepdim=True), 1.0)
    return chosen_EO * cell.mask_EO.any(-1, keepdim=True)


class Penalties(nn.Module):
    """The sum of penalties, of which those that hold tensors are modules."""

    def __init__(self, *penalties: Penalty) -> None:
        super().__init__()
        self.penalties = penalties
        self.held = nn.ModuleList(penalty for penalty in penalties if isinstance(penalty, nn.Module))

    def forward(self, view: View, progress: Tensor) -> Tensor:
        """See `Penalty`."""
        return torch.stack([penalty(view, progress) for penalty in self.penalties]).sum()
