"""The relaxed cell: banks run source node by source node, their contributions are added up at the target nodes.

Letters: B batch, C channels, K the partial channels' divisor.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_lightning.errors import UserError
from nas_lightning.spaces.kernels import EdgeScale
from nas_lightning.spaces.weights import EdgeWeights
from nas_lightning.spaces.widening import Widening, widened_channels

BankFactory = Callable[[int, Sequence[int], int], nn.Module]
"""(source node, the edges that leave it, the channels their operations act on) -> their bank"""


class RelaxedNodes(nn.Module):
    """The nodes of a cell whose every edge carries all candidate operations.

    inputs: how many of the nodes, the first ones, are given. halving: of these, the ones whose edges have stride 2.
    partial: K > 1 sends only the first C/K channels through the operations (arXiv 1907.05737). The others pass them by,
    max-pooled 2x2 where the edge has stride 2, and the channels are shuffled in K groups. What passes by is scaled by
    the edge's weight, as the operations are through beta. Scaling and shuffling commute with the sum over edges, so
    that each node is shuffled once.

    An auxiliary skip connection belongs to the operations: an edge's weight scales it, and of partial channels it takes
    those of the operations, for the others pass by as they are. Drop path takes the whole edge, what passes by included.
    """

    def __init__(
        self,
        edges: Sequence[tuple[int, int]],
        channels: int,
        bank: BankFactory,
        inputs: int = 1,
        halving: Sequence[int] = (),
        partial: int = 1,
    ) -> None:
        super().__init__()
        if channels % partial:
            raise UserError(
                f"space.partial={partial} does not divide a cell's {channels} channels; make space.C a multiple of it."
            )
        self.num_nodes = 1 + max(target for _, target in edges)
        self.num_inputs = inputs
        self.halving = frozenset(halving)
        self.width = channels
        self.partial = partial
        outgoing = [[e for e, (source, _) in enumerate(edges) if source == node] for node in range(self.num_nodes)]
        self.outgoing = [[(e, edges[e][1]) for e in own] for own in outgoing if own]
        self.banks = nn.ModuleList(bank(node, own, channels // partial) for node, own in enumerate(outgoing) if own)

    def widen(self, partial: int, widening: Widening) -> None:
        """Let the operations act on 1/partial of the channels, more than now; UserError where that cannot be."""
        channels = widened_channels(self.width, partial, self.partial)
        for bank in self.banks:
            bank.widen(channels, widening)  # type: ignore[operator]
        self.partial = partial

    def run(self, inputs: Sequence[Tensor], weights: EdgeWeights) -> list[Tensor | None]:
        """Features [B, C, H, W] of the inputs -> of all nodes; None stands for zeros, where nothing but `none` leads."""
        nodes: list[Tensor | None] = [*inputs, *[None] * (self.num_nodes - len(inputs))]
        passing: list[Tensor | None] = [None] * self.num_nodes
        for node in range(self.num_nodes):
            if self.partial > 1 and node >= self.num_inputs:
                nodes[node] = self._shuffled(nodes[node], passing[node])
            features = nodes[node]
            if features is None or node >= len(self.banks):  # nothing but zeros leaves, or nothing
                continue
            if self.partial > 1:
                features = self._pass_by(node, features, passing, weights)
            for (edge, target), mixed in zip(self.outgoing[node], self.banks[node](features, weights), strict=True):
                contribution = self._offset(node, edge, features, mixed, weights)
                if contribution is not None:
                    contribution = weights.kept(edge, contribution)
                    previous = nodes[target]
                    nodes[target] = contribution if previous is None else previous + contribution
        return nodes

    def _offset(self, node: int, edge: int, x: Tensor, mixed: Tensor | None, weights: EdgeWeights) -> Tensor | None:
        """What the operations make of x on the edge, plus the edge's offset where it has one."""
        offset = weights.offset(edge)
        if offset is None:
            return mixed
        output = torch.zeros_like(x[:, :, ::2, ::2] if node in self.halving else x) if mixed is None else mixed
        return output + offset.to(output.dtype)

    def _pass_by(self, node: int, x: Tensor, passing: list[Tensor | None], weights: EdgeWeights) -> Tensor:
        """Add the channels that no operation sees to the targets' `passing`; returns those for the operations."""
        mixed = x.shape[1] // self.partial
        for_operations, rest = x.split([mixed, x.shape[1] - mixed], 1)
        if node in self.halving:
            rest = F.max_pool2d(rest, 2, 2, ceil_mode=True)  # ceil: an odd size halves as it does by the operations
        for edge, target in self.outgoing[node]:
            if edge in weights.dropped:
                continue
            scale, previous, kept = weights.edge(edge), passing[target], weights.kept(edge, rest)
            if scale is None:
                passing[target] = kept if previous is None else previous + kept
            elif previous is None:
                passing[target] = kept * scale.to(kept.dtype)
            else:
                passing[target] = EdgeScale.apply(previous, kept, scale)
        return for_operations.contiguous(memory_format=torch.channels_last)

    def _shuffled(self, mixed: Tensor | None, passed: Tensor | None) -> Tensor | None:
        """Both parts, [B, C/K, H, W] and [B, C - C/K, H, W], with the K groups' channels interleaved."""
        if passed is None:
            return mixed
        groups = list(passed.chunk(self.partial - 1, 1))
        groups.insert(0, torch.zeros_like(groups[0]) if mixed is None else mixed)
        return torch.stack([group.permute(0, 2, 3, 1) for group in groups], -1).flatten(3).permute(0, 3, 1, 2)
