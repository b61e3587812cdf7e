"""The architecture parameters of a search: alpha, the candidate mask and the temperature.

Letters: E edges, O operations.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from nas_lightning.cells import CellScores, CellSpec
from nas_lightning.genotypes.base import Genotype
from nas_lightning.relaxations import Relaxation
from nas_lightning.schedules import Observation
from nas_lightning.search.skipping import ActiveOperations
from nas_lightning.spaces.weights import EdgeWeights


class Architecture(nn.Module):
    """Owns alpha_EO of each cell type and turns it into the weights beta of the operations, once per forward.

    Where a cell type asks for edge weights it also owns one logit an edge; their softmax, at t = 1 always, runs over the
    edges into a node (PC-DARTS, arXiv 1907.05737). alpha and these logits start as 1e-3 * N(0, 1) (arXiv 1806.09055's
    code), drawn from `generator`. `temperature` is a scalar tensor beside alpha, so that a step never copies it from the
    host.
    """

    temperature: Tensor

    def __init__(self, cells: Mapping[str, CellSpec], relaxation: Relaxation, generator: torch.Generator) -> None:
        super().__init__()
        self.cells = dict(cells)
        self.relaxations = {name: relaxation.of_cell(name) for name in self.cells}
        self.alpha = nn.ParameterDict(
            {
                name: nn.Parameter(1e-3 * torch.randn(spec.mask_EO.shape, generator=generator))
                for name, spec in self.cells.items()
            }
        )
        self.edge_logits = nn.ParameterDict(
            {
                name: nn.Parameter(1e-3 * torch.randn(len(spec.edges), generator=generator))
                for name, spec in self.cells.items()
                if spec.edge_weights
            }
        )
        for name, spec in self.cells.items():
            self.register_buffer(f"mask_{name}", spec.mask_EO)
        self.register_buffer("temperature", torch.tensor(1.0))
        self._host_temperature = 1.0
        self.active: ActiveOperations | None = None  # before an epoch has begun, all candidates are

    def mask(self, cell: str) -> Tensor:
        mask: Tensor = getattr(self, f"mask_{cell}")
        return mask

    def set_temperature(self, temperature: float) -> None:
        self.temperature.fill_(temperature)
        self._host_temperature = temperature

    def start_epoch(self, step_bound: float, skip: bool = True) -> None:
        """Decide what the weight steps compute; `step_bound` as in ActiveOperations, `skip` false for every candidate."""
        masks = {name: spec.mask_EO for name, spec in self.cells.items()}

        def support(name: str, alpha: Tensor, drift: float) -> Tensor:
            if not skip:
                return masks[name]
            return self.relaxations[name].support(alpha, masks[name], self._host_temperature, drift)

        candidates = {name: spec.candidates for name, spec in self.cells.items()}
        self.active = ActiveOperations(candidates, support, lag=1 if self.temperature.is_cuda else 0)
        self.active.restart(dict(self.alpha.items()), step_bound)

    def beta(self) -> dict[str, Tensor]:
        """beta_EO of each cell type, attached to alpha."""
        return {
            name: self.relaxations[name](alpha, self.mask(name), self.temperature) for name, alpha in self.alpha.items()
        }

    def edge_weights(self, cell: str) -> Tensor | None:
        """[E], attached to the edges' logits; None where the cell type has none."""
        if cell not in self.edge_logits:
            return None
        into = Counter(target for _, target in self.cells[cell].edges)
        parts = self.edge_logits[cell].split([into[target] for target in sorted(into)])
        return torch.cat([torch.softmax(part, 0) for part in parts])

    def _weights(self, active: Mapping[str, Sequence[Sequence[bool]]]) -> dict[str, EdgeWeights]:
        return {name: EdgeWeights(beta, active[name], self.edge_weights(name)) for name, beta in self.beta().items()}

    def relaxed(self) -> dict[str, EdgeWeights]:
        """For the architecture step: every candidate is computed, since dL/dbeta is wanted even where beta is 0."""
        return self._weights({name: spec.candidates for name, spec in self.cells.items()})

    def follow(self, step_bound: float) -> None:
        """To be told after every step of alpha's optimiser, with what start_epoch was told."""
        if self.active is not None:
            self.active.follow(dict(self.alpha.items()), step_bound)

    @torch.no_grad()
    def constant(self) -> dict[str, EdgeWeights]:
        """For the weight step: beta as a constant; operations whose beta is negligible are left out."""
        return self.relaxed() if self.active is None else self._weights(self.active.lists)

    @torch.no_grad()
    def scores(self) -> dict[str, CellScores]:
        """What architectures are derived from, for each cell type."""
        temperature = self.temperature.item()
        return {
            name: CellScores(
                alpha.detach().masked_fill(~self.mask(name), -torch.inf).cpu(),
                temperature,
                self.edge_logits[name].detach().cpu() if name in self.edge_logits else None,
            )
            for name, alpha in self.alpha.items()
        }

    @torch.no_grad()
    def one_hot(self, genotype: Genotype) -> dict[str, EdgeWeights]:
        """The discretised supernet: weight 1 on the edges and operations of `genotype`, and only those are computed.

        Edges with weights of their own keep them.
        """
        weights = {}
        for name, spec in self.cells.items():
            hard = torch.zeros_like(self.alpha[name], device="cpu")
            for choice in genotype.cells[name]:
                edge = spec.edges.index((choice.source, choice.target))
                hard[edge, spec.operations.index(choice.operation)] = 1.0
            weights[name] = EdgeWeights(hard.to(self.alpha[name].device), hard.bool().tolist(), self.edge_weights(name))
        return weights

    @torch.no_grad()
    def observe(self) -> Observation:
        """Entropies (nats, one per edge) of softmax(alpha / t) and softmax(alpha), and the mean of max(alpha, 0)."""
        scores = {name: score.alpha_EO for name, score in self.scores().items()}
        temperature = self.temperature.item()
        positive = torch.cat([s[s > -torch.inf].clamp(min=0) for s in scores.values()])
        return Observation(
            tempered={name: _entropy(s / temperature) for name, s in scores.items()},
            untempered={name: _entropy(s) for name, s in scores.items()},
            positive_alpha=positive.mean().item(),
        )


def _entropy(logits_EO: Tensor) -> tuple[float, ...]:
    """-sum p ln p of softmax(logits) for each edge, with 0 ln 0 = 0."""
    log_p = torch.log_softmax(logits_EO.double(), -1)
    p = log_p.exp()
    return tuple((-torch.where(p > 0, p * log_p, p).sum(-1)).tolist())
