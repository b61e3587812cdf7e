"""What is likely enough, and no more than that."""

from dataclasses import dataclass

from nas_lightning.derive.two_inputs import best_operation
from nas_lightning.errors import UserError, check_whole, is_number
from nas_lightning.genotypes.base import Choice
from nas_lightning.relaxations.view import CellView


@dataclass(frozen=True)
class Threshold:
    """Of a node's strongest edges those whose best operation has a beta of at least `at_least` (Fair-DARTS, arXiv 1911.12126).

    at_least: in (0, 1], inclusive; the authors' is 0.85. at_most: edges a node, 1 or more, where the space limits them (no
    more than it allows). Strength is the best beta other than `none`'s, times the edge's weight where edges have such; ties
    go to the lower input. A node may keep no edge at all; edges that leave such a node are dropped too, for they would
    carry zeros. In a space of an operation on every edge (NAS-Bench-201) an edge that is not kept gets `none`.
    """

    at_least: float = 0.85
    at_most: int = 2

    def __post_init__(self) -> None:
        if not (is_number(self.at_least) and 0 < self.at_least <= 1):
            raise UserError(f"derive.at_least must be a number above 0 and at most 1, got {self.at_least!r}.")
        check_whole("derive.at_most", self.at_most, 1)

    @property
    def sentence(self) -> str:
        return f"up to {self.at_most} edges a node, of beta {self.at_least} or more"

    def __call__(self, view: CellView) -> tuple[Choice, ...]:
        spec, mask = view.spec, view.mask_EO.tolist()
        shares = [1.0] * len(spec.edges) if view.edge_shares_E is None else view.edge_shares_E.tolist()
        best = {
            edge: best_operation(spec, mask, edge, beta_O)
            for edge, beta_O in enumerate(view.probabilities_EO.tolist())
            if spec.named(mask, edge)
        }
        if spec.inputs_a_node is None:
            kept = {edge: name for edge, (beta, name) in best.items() if beta >= self.at_least}
            return tuple(Choice(kept.get(edge, "none"), *ends) for edge, ends in enumerate(spec.edges))
        limit = min(self.at_most, spec.inputs_a_node)
        choices = []
        reached = {source for source, _ in spec.edges} - {target for _, target in spec.edges}
        for node in sorted({target for _, target in spec.edges}):
            incoming = [edge for edge in best if spec.edges[edge][1] == node]
            strongest = sorted(incoming, key=lambda edge: -best[edge][0] * shares[edge])[:limit]
            sure = [edge for edge in strongest if best[edge][0] >= self.at_least and spec.edges[edge][0] in reached]
            choices += [Choice(best[edge][1], *spec.edges[edge]) for edge in sure]
            reached |= {node} if sure else set()
        return tuple(choices)
