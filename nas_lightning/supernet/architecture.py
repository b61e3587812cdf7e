"""The architecture parameters of a search: alpha, the candidates that are left and the temperature.

Letters: B batch, E edges, L cells of the supernet, O operations.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nas_lightning.cells import CellSpec
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.ramps import Ramp
from nas_lightning.relaxations import CellView, Relaxation
from nas_lightning.relaxations.view import edge_shares, relaxed, seen
from nas_lightning.schedules import Observation
from nas_lightning.spaces.weights import EdgeWeights

Lists = dict[str, list[list[bool]]]
"""Cell type -> [E][O] on the host."""

DROP_PATH = "drop_path/"
"""Before a cell type's name: what is drawn for the drop path of its edges."""

_RAMPS = ("auxiliary_skip", "drop_path", "skip_dropout")


class Architecture(nn.Module):
    """Owns alpha_EO of each cell type and turns it into the weights beta of the operations.

    Where a cell type asks for edge weights it also owns one parameter an edge, `edge_alpha`, relaxed over the edges into a
    node at t = 1 always (PC-DARTS, arXiv 1907.05737). What alpha starts as is the relaxation's, drawn from `generator`.

    Buffers, so that a step never copies them from the host and a checkpoint holds them: `mask_<cell>` [E, O], the candidates
    that are left, which only `narrow` changes; `temperature`; `progress`, the share of the run that is done.

    version: a counter that rises with every change of the masks, and where a ramp of the cell types (auxiliary skip connection,
    drop path, dropout of skip connections) sets in or ends.
    """

    temperature: Tensor
    progress: Tensor

    def __init__(self, cells: Mapping[str, CellSpec], relaxation: Relaxation, generator: torch.Generator) -> None:
        super().__init__()
        self.cells = dict(cells)
        self.relaxations = {name: relaxation.of_cell(name) for name in self.cells}
        self.alpha = nn.ParameterDict(
            {
                name: nn.Parameter(self.relaxations[name].initial(spec.mask_EO, generator))
                for name, spec in self.cells.items()
            }
        )
        self.edge_alpha = nn.ParameterDict(
            {
                name: nn.Parameter(_initial_edges(spec, self.relaxations[name].of_edges(), generator))
                for name, spec in self.cells.items()
                if spec.edge_weights
            }
        )
        for name, spec in self.cells.items():
            self.register_buffer(f"mask_{name}", spec.mask_EO)
        self.register_buffer("temperature", torch.tensor(1.0))
        self.register_buffer("progress", torch.tensor(0.0))
        self.host_temperature = 1.0
        self.version = 0
        self._read_masks()
        self._ramps = self._in_effect(0.0)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For an optimiser: `operations`, and where edges have weights `edges`, whose `sizes` say how many edges lead into
        each node, parameter by parameter."""
        groups: list[dict[str, Any]] = [{"name": "operations", "params": list(self.alpha.values())}]
        if self.edge_alpha:
            sizes = [self.cells[name].edges_into() for name in self.edge_alpha]
            groups.append({"name": "edges", "params": list(self.edge_alpha.values()), "sizes": sizes})
        return groups

    def mask(self, cell: str) -> Tensor:
        mask: Tensor = getattr(self, f"mask_{cell}")
        return mask

    @property
    def candidates(self) -> Lists:
        """The masks on the host."""
        return self._candidates

    def _read_masks(self) -> None:
        self._candidates: Lists = {name: self.mask(name).tolist() for name in self.cells}
        # Edges without a candidate are seldom: a step without them skips what they need.
        self._has_dropped = {name: not all(map(any, rows)) for name, rows in self._candidates.items()}
        self._has_decided = {name: any(sum(row) < 2 for row in rows) for name, rows in self._candidates.items()}
        self.version += 1

    def _load_from_state_dict(self, *arguments: Any) -> None:
        """The host's copies follow the buffers."""
        super()._load_from_state_dict(*arguments)
        self.host_temperature = self.temperature.item()
        self._read_masks()
        self._ramps = self._in_effect(self.progress.item())

    @torch.no_grad()
    def narrow(self, masks: Mapping[str, Tensor]) -> None:
        """Take candidates away: masks[cell] is bool [E, O]; a row of False drops the edge. Cells not named stay.

        UserError for what is no mask of a cell type, where a mask brings a candidate back, and where it leaves an output of a
        cell without an input: then there is no architecture to find.
        """
        for name, mask_EO in masks.items():
            if name not in self.cells or mask_EO.dtype != torch.bool or mask_EO.shape != self.mask(name).shape:
                wanted = ", ".join(f"{cell} {[*self.mask(cell).shape]}" for cell in self.cells)
                raise UserError(
                    f"a decision gives a mask {name} {[*mask_EO.shape]} of {mask_EO.dtype}; masks are torch.bool: {wanted}."
                )
            if (mask_EO & ~self.mask(name).to(mask_EO.device)).any():
                raise UserError(f"a decision brings operations of the {name} cell back; a mask may only shrink.")
            cell = self.cells[name]
            lost = sorted({*cell.outputs} - cell.reached(mask_EO.tolist()))
            if lost:
                raise UserError(
                    f"a decision leaves node {lost[0]} of the {name} cell without an operation that leads to it: no "
                    "architecture is left; keep one (see the settings of decision and stages)."
                )
        for name, mask_EO in masks.items():
            self.mask(name).copy_(mask_EO)
        self._read_masks()

    @contextmanager
    def decided_at_rest(self) -> Iterator[None]:
        """Around a step of alpha's optimiser: edges with at most one candidate left have the same alpha after it.

        Their gradient is 0, but momentum and weight decay would move them on (SGAS' authors freeze a decided edge).
        """
        kept = {name: self.alpha[name].detach().clone() for name, decided in self._has_decided.items() if decided}
        yield
        with torch.no_grad():
            for name, before_EO in kept.items():
                is_open_E1 = self.mask(name).sum(-1, keepdim=True) > 1
                self.alpha[name].copy_(torch.where(is_open_E1, self.alpha[name], before_EO))

    def set_temperature(self, temperature: float) -> None:
        self.temperature.fill_(temperature)
        self.host_temperature = temperature

    def set_progress(self, progress: float) -> None:
        """At an epoch's start. What a ramp has at 0 is not computed at all: a choice on the host, once an epoch."""
        self.progress.fill_(progress)
        before, self._ramps = self._ramps, self._in_effect(progress)
        self.version += before != self._ramps

    def _in_effect(self, progress: float) -> dict[str, dict[str, Ramp]]:
        """By their name in `CellSpec` and by cell type: the ramps that are not 0."""
        at = torch.tensor(progress)
        ramps = {key: {name: getattr(spec, key) for name, spec in self.cells.items()} for key in _RAMPS}
        return {
            key: {name: ramp for name, ramp in of_cells.items() if ramp is not None and ramp(at).item() != 0}
            for key, of_cells in ramps.items()
        }

    def _at_progress(self, key: str, cell: str) -> Tensor | None:
        """What the ramp has in this epoch, None for nothing."""
        ramp = self._ramps[key].get(cell)
        return None if ramp is None else ramp(self.progress)

    def beta(self, drawn: Mapping[str, Tensor] | None = None, weight_step: bool = False) -> dict[str, Tensor]:
        """beta_EO of each cell type, attached to alpha. drawn: cell type -> what its relaxation drew. weight_step: with the
        gradient that alpha has of the weights' loss, see `Relaxation.of_weight_step`."""
        betas = {}
        for name, alpha_EO in self.alpha.items():
            arguments = alpha_EO, self.mask(name), self.temperature, (drawn or {}).get(name)
            relaxation = self.relaxations[name].of_weight_step() if weight_step else self.relaxations[name]
            betas[name] = relaxed(relaxation, *arguments) if self._has_dropped[name] else relaxation(*arguments)
        return betas

    def offsets(self, drawn: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """What is added to the edges' outputs so that alpha gets gradients; cell types that need no such are left out."""
        offsets = {
            name: self.relaxations[name].offset(alpha, seen(self.mask(name)), self.temperature, (drawn or {}).get(name))
            for name, alpha in self.alpha.items()
        }
        return {name: offset_E for name, offset_E in offsets.items() if offset_E is not None}

    def edge_weights(self, cell: str) -> Tensor | None:
        """[E], attached to the edges' parameters; None where the cell type has none."""
        if cell not in self.edge_alpha:
            return None
        return edge_shares(self.relaxations[cell], self.cells[cell], self.edge_alpha[cell], self.mask(cell))

    def weights(
        self,
        betas: Mapping[str, Tensor],
        active: Mapping[str, Sequence[Sequence[bool]]],
        offsets: Mapping[str, Tensor] | None = None,
        kept: Mapping[str, Tensor] | None = None,
    ) -> dict[str, EdgeWeights]:
        """What a supernet is called with, auxiliary skip connections included.

        active: host-side [E][O], the operations to compute. offsets, kept: see the methods of that name; only with `kept`,
        which half steps have, there are drop path and the dropout of skip connections.
        """
        offsets = offsets or {}
        return {
            name: self._edge_weights(name, beta, active[name], offsets.get(name), True, kept)
            for name, beta in betas.items()
        }

    def _edge_weights(
        self,
        cell: str,
        beta_EO: Tensor,
        active: Sequence[Sequence[bool]],
        offset_E: Tensor | None,
        auxiliary: bool,
        kept: Mapping[str, Tensor] | None = None,
    ) -> EdgeWeights:
        """auxiliary: with the auxiliary skip connections that the cell type has in this epoch."""
        gamma = self._at_progress("auxiliary_skip", cell) if auxiliary else None
        if gamma is not None and self.cells[cell].auxiliary_mean:
            share = 1 / (1 + gamma)
            beta_EO, gamma = beta_EO * share, gamma * share
            offset_E = None if offset_E is None else offset_E * share
        keep_LEB, dropout = (None, None) if kept is None else (kept.get(cell), self._at_progress("skip_dropout", cell))
        return EdgeWeights(
            beta_EO, active, self.edge_weights(cell), self._dropped(cell), offset_E, gamma, keep_LEB, dropout
        )

    def _dropped(self, cell: str) -> frozenset[int]:
        if not self._has_dropped[cell]:
            return frozenset()
        return frozenset(edge for edge, row in enumerate(self._candidates[cell]) if not any(row))

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> dict[str, Tensor]:
        """What the relaxations draw for one half step; cell types whose relaxation draws nothing are left out."""
        drawn = {
            name: self.relaxations[name].draw(alpha, seen(self.mask(name)), self.temperature, generator)
            for name, alpha in self.alpha.items()
        }
        return {name: value for name, value in drawn.items() if value is not None}

    def passes(self, drawn: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """What each forward pass of a half step sees of what was drawn for it: see `Relaxation.passes`.

        A cell type with fewer passes than another begins anew; what is not its relaxation's is the same in all of them.
        """
        each = {name: self.relaxations[name].passes(value) for name, value in drawn.items() if name in self.relaxations}
        count = max((len(passes) for passes in each.values()), default=1)
        return [{**drawn, **{name: of[n % len(of)] for name, of in each.items()}} for n in range(count)]

    @property
    def drops_paths(self) -> bool:
        """Whether any cell type has drop path in this epoch."""
        return bool(self._ramps["drop_path"])

    def draw_drop_path(self, generator: torch.Generator, cells: int, images: int) -> dict[str, Tensor]:
        """U(0, 1) for every cell of the supernet, edge and image [L, E, B] of the cell types with drop path in this epoch.

        By `drop_path/<cell>`; nothing is drawn where nothing is dropped.
        """
        return {
            DROP_PATH + name: torch.rand(
                cells, len(self.cells[name].edges), images, generator=generator, device=generator.device
            )
            for name in self._ramps["drop_path"]
        }

    def kept(self, drawn: Mapping[str, Tensor], images: int) -> dict[str, Tensor]:
        """[L, E, B] from what `draw_drop_path` drew: 0 where an image loses the edge's output, else 1 / (1 - p)."""
        kept = {}
        for name, ramp in self._ramps["drop_path"].items():
            if DROP_PATH + name in drawn:
                p = ramp(self.progress)
                kept[name] = (drawn[DROP_PATH + name][..., :images] >= p) / (1 - p)
        return kept

    @torch.no_grad()
    def one_hot(self, genotype: Genotype, auxiliary: bool = False) -> dict[str, EdgeWeights]:
        """The discretised supernet: weight 1 on the edges and operations of `genotype`, and only those are computed.

        Edges with weights of their own keep them. auxiliary: with the auxiliary skip connections of every edge in this epoch,
        which the architecture does not have.
        """
        weights = {}
        for name, spec in self.cells.items():
            hard = torch.zeros_like(self.alpha[name], device="cpu")
            for choice in genotype.cells[name]:
                if choice.operation in spec.operations:
                    edge = spec.edges.index((choice.source, choice.target))
                    hard[edge, spec.operations.index(choice.operation)] = 1.0
            beta_EO = hard.to(self.alpha[name].device)
            weights[name] = self.of_operations(name, beta_EO, hard.bool().tolist(), auxiliary=auxiliary)
        return weights

    def of_operations(
        self,
        cell: str,
        beta_EO: Tensor,
        active: Sequence[Sequence[bool]],
        offset_E: Tensor | None = None,
        auxiliary: bool = False,
    ) -> EdgeWeights:
        """The operations of a cell type at any weights, and nothing beside them but auxiliary skip connections where asked for.

        Edges with weights of their own keep them.
        """
        return self._edge_weights(cell, beta_EO, active, offset_E, auxiliary)

    def view(self) -> dict[str, CellView]:
        """What penalties and perturbations see: on the device, attached to alpha."""
        return {
            name: CellView(
                spec,
                self.relaxations[name],
                self.alpha[name],
                self.mask(name),
                self.temperature,
                self.edge_alpha.get(name),
            )
            for name, spec in self.cells.items()
        }

    @torch.no_grad()
    def snapshot(self) -> dict[str, CellView]:
        """What schedules, decisions, logs and derive rules see: copies on the CPU."""
        return {
            name: CellView(
                view.spec,
                view.relaxation,
                view.alpha_EO.detach().cpu(),
                view.mask_EO.cpu(),
                view.temperature.cpu(),
                None if view.edge_E is None else view.edge_E.detach().cpu(),
            )
            for name, view in self.view().items()
        }

    def observe(self) -> Observation:
        """Entropies (nats, one per edge) of beta as it stands and at t = 1, and the mean of max(alpha, 0)."""
        views = self.snapshot()
        positive = torch.cat([view.alpha_EO[view.mask_EO].clamp(min=0) for view in views.values()])
        return Observation(
            entropy={name: tuple(view.entropy_E.tolist()) for name, view in views.items()},
            entropy_at_1={name: tuple(view.at(1.0).entropy_E.tolist()) for name, view in views.items()},
            positive_alpha=positive.mean().item(),
        )


def _initial_edges(spec: CellSpec, relaxation: Relaxation, generator: torch.Generator) -> Tensor:
    """[E]: of each node's edges what the relaxation starts a row with."""
    rows = [relaxation.initial(torch.ones(1, size, dtype=torch.bool), generator)[0] for size in spec.edges_into()]
    return torch.cat(rows)
