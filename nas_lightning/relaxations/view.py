"""A relaxed cell as schedules, penalties, perturbations, decisions and derive rules see it.

Letters: E edges, O operations, N edges into one node.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nas_lightning.cells import CellSpec
from nas_lightning.relaxations.base import Relaxation


def seen(mask_EO: Tensor) -> Tensor:
    """The mask as relaxations see it: an edge that has no candidate left has all, for no relaxation sees an empty row."""
    return mask_EO | ~mask_EO.any(-1, keepdim=True)


def relaxed(
    relaxation: Relaxation, alpha_EO: Tensor, mask_EO: Tensor, t: Tensor, drawn: Tensor | None = None
) -> Tensor:
    """relaxation(...), and weight 0 on the edges that have no candidate left."""
    return relaxation(alpha_EO, seen(mask_EO), t, drawn) * mask_EO.any(-1, keepdim=True)


def edge_shares(relaxation: Relaxation, spec: CellSpec, edge_E: Tensor, mask_EO: Tensor) -> Tensor:
    """The weight of each edge among those into its node [E], at t = 1; 0 for an edge that has no candidate left."""
    t = torch.ones((), dtype=edge_E.dtype, device=edge_E.device)
    sizes = spec.edges_into()
    parts = zip(edge_E.split(sizes), mask_EO.any(-1).split(sizes), strict=True)
    return torch.cat([relaxed(relaxation.of_edges(), part_N[None], mask_N[None], t)[0] for part_N, mask_N in parts])


@dataclass(frozen=True)
class CellView:
    """One cell type as it stands.

    alpha_EO, edge_E: the parameters of operations and, where the cell has such, of edges; attached to the graph inside of
    a half step, copies on the CPU elsewhere. mask_EO: the candidates that are left. temperature: scalar tensor.
    """

    spec: CellSpec
    relaxation: Relaxation
    alpha_EO: Tensor
    mask_EO: Tensor
    temperature: Tensor
    edge_E: Tensor | None = None

    def at(self, temperature: float) -> "CellView":
        """The same at another temperature."""
        return replace(self, temperature=torch.full_like(self.temperature, temperature))

    def of_derive(self) -> "CellView":
        """The same as derive rules see it."""
        return replace(self, relaxation=self.relaxation.of_derive())

    def double(self) -> "CellView":
        edge_E = None if self.edge_E is None else self.edge_E.double()
        return replace(self, alpha_EO=self.alpha_EO.double(), temperature=self.temperature.double(), edge_E=edge_E)

    @property
    def probabilities_EO(self) -> Tensor:
        """The deterministic beta, in alpha's precision; 0 on edges without a candidate."""
        return self._left(self.relaxation.probabilities(self.alpha_EO, self._mask, self.temperature), 0.0)

    @property
    def log_odds_EO(self) -> Tensor:
        """ln(p / (1 - p)), float64, -inf where there is no candidate; they rank where probabilities round to 1."""
        odds_EO = self.relaxation.log_odds(self.alpha_EO, self._mask, self.temperature)
        return self._left(odds_EO.masked_fill(~self._mask, -torch.inf), -torch.inf)

    @property
    def entropy_E(self) -> Tensor:
        """Nats, float64; 0 on edges without a candidate."""
        entropy_E = self.relaxation.entropy(self.alpha_EO, self._mask, self.temperature)
        return entropy_E.masked_fill(~self.mask_EO.any(-1), 0.0)

    @property
    def edge_shares_E(self) -> Tensor | None:
        """The weights of the edges as wholes; None where the cell has none."""
        return None if self.edge_E is None else edge_shares(self.relaxation, self.spec, self.edge_E, self.mask_EO)

    @property
    def _mask(self) -> Tensor:
        return seen(self.mask_EO)

    def _left(self, values_EO: Tensor, otherwise: float) -> Tensor:
        return values_EO.masked_fill(~self.mask_EO.any(-1, keepdim=True), otherwise)


View = Mapping[str, CellView]
"""Of every cell type by its name."""
