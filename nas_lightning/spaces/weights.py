"""The weights of the operations of a cell's edges, and which of them a forward pass computes.

Letters: B batch, C channels, E edges of the cell, K edges of one bank, L cells of the supernet, O operations.
"""

import copy
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from nas_lightning.spaces.kernels import dropped_out


class EdgeWeights:
    """The weights beta of one cell type for one forward pass, and which operations that pass computes.

    beta_EO: [E, O]; attached to alpha where alpha's gradient is wanted, else a constant.
    edge_E: weight of each edge as a whole, or None; it multiplies beta, and what passes the operations by.
    active: host-side booleans [E][O]; an operation that is not active is left out as if its beta were 0. They live on
        the host so that choosing what to run never waits for a device.
    dropped: edges without a candidate, which pass nothing on, not even what goes by the operations.
    offset_E: a scalar of value 0 for each edge, added to its operations' output, or None; it leads a gradient to alpha
        that no operation has to be computed for.
    auxiliary: gamma, scalar, or None: every edge that is not dropped adds gamma * skip(x) to its operations' output, before
        the edge's weight, whichever operations are computed (DARTS-).
    keep_LEB: what the output of each edge of each cell is multiplied by, image by image, or None (drop path).
    skip_dropout: scalar, with which probability a candidate skip connection loses an entry of its features, or None.
    """

    def __init__(
        self,
        beta_EO: Tensor,
        active: Sequence[Sequence[bool]],
        edge_E: Tensor | None = None,
        dropped: Collection[int] = (),
        offset_E: Tensor | None = None,
        auxiliary: Tensor | None = None,
        keep_LEB: Tensor | None = None,
        skip_dropout: Tensor | None = None,
    ) -> None:
        self.beta_EO = beta_EO if edge_E is None else beta_EO * edge_E[:, None]
        self.active = active
        self.edge_E = edge_E
        self.dropped = dropped
        self.offset_E = offset_E if offset_E is None or edge_E is None else offset_E * edge_E
        self.auxiliary = auxiliary
        self.skip_dropout = skip_dropout
        self._keep_LEB = keep_LEB
        self._keep_EB: Tensor | None = None
        self._vectors: dict[tuple[int | None, tuple[int, ...], int], Tensor] = {}
        self._gammas: dict[int, Tensor] = {}
        self._identities: dict[int, Tensor] = {}

    def of_cell(self, index: int) -> "EdgeWeights":
        """For the supernet's cell `index`, counted as its `cells()` come: with the masks of that cell."""
        if self._keep_LEB is None:
            return self
        own = copy.copy(self)  # what the cells share is made once all the same
        own._keep_EB = self._keep_LEB[index]
        return own

    def running(self, edges: Sequence[int], operation: int) -> tuple[int, ...]:
        """Positions within `edges` on which `operation` is computed."""
        return tuple(position for position, edge in enumerate(edges) if self.active[edge][operation])

    def edge(self, edge: int) -> Tensor | None:
        return None if self.edge_E is None else self.edge_E[edge]

    def offset(self, edge: int) -> Tensor | None:
        return None if self.offset_E is None or edge in self.dropped else self.offset_E[edge]

    def kept(self, edge: int, output: Tensor) -> Tensor:
        """What drop path leaves of the edge's output [B, C, H, W]."""
        if self._keep_EB is None:
            return output
        return output * self._keep_EB[edge].to(output.dtype)[:, None, None, None]

    def scalar(self, edge: int, operation: int) -> Tensor:
        return self.beta_EO[edge, operation]

    def with_auxiliary(self, edges: Sequence[int]) -> tuple[int, ...]:
        """Positions within `edges` on which the auxiliary skip connection is computed."""
        if self.auxiliary is None:
            return ()
        return tuple(position for position, edge in enumerate(edges) if edge not in self.dropped)

    def identities(self, x: Tensor, edge: int, operation: int | None) -> list[tuple[Tensor, Tensor]]:
        """(weight, features) of what passes x on in the output of an edge of stride 1; none where x is not computed.

        x itself with the weight of `operation`, the skip connection among the candidates if there is one, plus the auxiliary
        one's. Two where dropout acts on the candidate's features, as it never does on the auxiliary one's.
        """
        beta = None if operation is None or not self.active[edge][operation] else self.scalar(edge, operation)
        gamma = None if self.auxiliary is None or edge in self.dropped else self._gamma(edge)
        if beta is not None and self.skip_dropout is not None:
            dropped = beta, dropped_out(x, self.skip_dropout)
            return [dropped] if gamma is None else [dropped, (gamma, x)]
        if beta is None or gamma is None:
            return [(weight, x) for weight in (beta, gamma) if weight is not None]
        if edge not in self._identities:
            self._identities[edge] = beta + gamma
        return [(self._identities[edge], x)]

    def _gamma(self, edge: int) -> Tensor:
        assert self.auxiliary is not None
        if edge not in self._gammas:  # all cells ask for the same products and sums
            self._gammas[edge] = self.auxiliary if self.edge_E is None else self.auxiliary * self.edge_E[edge]
        return self._gammas[edge]

    def per_channel(self, edges: tuple[int, ...], operation: int, channels: int) -> Tensor:
        """beta of `operation` on each of `edges`, repeated for each of an edge's channels: [K * C]."""
        # All cells of a stage ask for the same vectors. Views and one cat: an index list would be copied to the device.
        key = (operation, edges, channels)
        if key not in self._vectors:
            rows = self.beta_EO[:, operation, None].expand(-1, channels)
            self._vectors[key] = torch.cat([rows[edge] for edge in edges])
        return self._vectors[key]

    def auxiliary_per_channel(self, edges: tuple[int, ...], channels: int) -> Tensor:
        """The auxiliary skip connection's weight on each of `edges`, repeated for each of an edge's channels: [K * C]."""
        key = (None, edges, channels)
        if key not in self._vectors:
            self._vectors[key] = torch.cat([self._gamma(edge).expand(channels) for edge in edges])
        return self._vectors[key]
