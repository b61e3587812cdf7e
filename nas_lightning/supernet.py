"""The relaxed cell: banks run source node by source node, their contributions are added up at the target nodes."""

from torch import Tensor, nn

from nas_lightning.banks import EdgeWeights, SourceBank
from nas_lightning.spaces.base import CellSpec


class RelaxedCell(nn.Module):
    """A cell whose every edge carries all candidate operations; node 0 is the input, the last node the output."""

    def __init__(self, spec: CellSpec, channels: int, conv_bias: bool) -> None:
        super().__init__()
        self.num_nodes = 1 + max(target for _, target in spec.edges)
        outgoing = [[e for e, (source, _) in enumerate(spec.edges) if source == node] for node in range(self.num_nodes)]
        self.targets = [[spec.edges[e][1] for e in edges] for edges in outgoing]
        self.banks = nn.ModuleList(
            SourceBank(edges, spec.operations, channels, conv_bias) for edges in outgoing if edges
        )

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        """[B, C, H, W] and the beta of this cell type -> [B, C, H, W]."""
        nodes: list[Tensor | None] = [x] + [None] * (self.num_nodes - 1)
        for source, bank in enumerate(self.banks):
            features = nodes[source]
            if features is None:  # nothing but `none` leads here, and so nothing but zeros leaves
                continue
            for target, contribution in zip(self.targets[source], bank(features, weights), strict=True):
                if contribution is not None:
                    previous = nodes[target]
                    nodes[target] = contribution if previous is None else previous + contribution
        output = nodes[-1]
        return x.new_zeros(x.shape) if output is None else output
