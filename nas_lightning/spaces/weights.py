"""The weights of the operations of a cell's edges, and which of them a forward pass computes.

Letters: C channels, E edges of the cell, K edges of one bank, O operations.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor


class EdgeWeights:
    """The weights beta of one cell type for one forward pass, and which operations that pass computes.

    beta_EO: [E, O]; attached to alpha where alpha's gradient is wanted, else a constant.
    edge_E: weight of each edge as a whole, or None; it multiplies beta, and what passes the operations by.
    active: host-side booleans [E][O]; an operation that is not active is left out as if its beta were 0. They live on
        the host so that choosing what to run never waits for a device.
    dropped: edges without a candidate, which pass nothing on, not even what goes by the operations.
    offset_E: a scalar of value 0 for each edge, added to its operations' output, or None; it leads a gradient to alpha
        that no operation has to be computed for.
    """

    def __init__(
        self,
        beta_EO: Tensor,
        active: Sequence[Sequence[bool]],
        edge_E: Tensor | None = None,
        dropped: Collection[int] = (),
        offset_E: Tensor | None = None,
    ) -> None:
        self.beta_EO = beta_EO if edge_E is None else beta_EO * edge_E[:, None]
        self.active = active
        self.edge_E = edge_E
        self.dropped = dropped
        self.offset_E = offset_E if offset_E is None or edge_E is None else offset_E * edge_E
        self._vectors: dict[tuple[int, tuple[int, ...], int], Tensor] = {}

    def running(self, edges: Sequence[int], operation: int) -> tuple[int, ...]:
        """Positions within `edges` on which `operation` is computed."""
        return tuple(position for position, edge in enumerate(edges) if self.active[edge][operation])

    def edge(self, edge: int) -> Tensor | None:
        return None if self.edge_E is None else self.edge_E[edge]

    def offset(self, edge: int) -> Tensor | None:
        return None if self.offset_E is None or edge in self.dropped else self.offset_E[edge]

    def scalar(self, edge: int, operation: int) -> Tensor:
        return self.beta_EO[edge, operation]

    def per_channel(self, edges: tuple[int, ...], operation: int, channels: int) -> Tensor:
        """beta of `operation` on each of `edges`, repeated for each of an edge's channels: [K * C]."""
        # All cells of a stage ask for the same vectors. Views and one cat: an index list would be copied to the device.
        key = (operation, edges, channels)
        if key not in self._vectors:
            rows = self.beta_EO[:, operation, None].expand(-1, channels)
            self._vectors[key] = torch.cat([rows[edge] for edge in edges])
        return self._vectors[key]
