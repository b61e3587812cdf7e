"""The DARTS space (arXiv 1806.09055) and its cut-down versions S1-S4 (arXiv 1909.09656).

Two cell types, `normal` and `reduce`. Nodes 0 and 1 are the outputs of the two cells before, nodes 2 to 5 each take two of
the nodes before them, and the output is all four side by side. A reduction cell halves the image: its edges from nodes 0
and 1 have stride 2.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch

from nas_lightning.cells import CellSpec
from nas_lightning.derive.two_inputs import Exact
from nas_lightning.errors import UserError, check_flag, check_whole
from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.genotypes.darts import (
    NETWORK_OPERATIONS,
    check_darts,
    check_kept,
    is_published,
    known_genotype,
    parse_darts,
)
from nas_lightning.ramps import Ramp, as_ramp
from nas_lightning.spaces.darts.network import DartsNetwork
from nas_lightning.spaces.darts.supernet import DartsSupernet
from nas_lightning.spaces.stems import Stem, check_stem, side_multiple

OPERATIONS = ("none", *(name for name in NETWORK_OPERATIONS if name != "sep_conv_7x7"))
OUTPUTS = (2, 3, 4, 5)
EDGES = tuple((source, target) for target in range(2, 6) for source in range(target))

CandidateSet = Literal["darts", "s1", "s2", "s3", "s4"]
_Table = tuple[tuple[str, ...], ...]

_SHORT = {
    "mp": "max_pool_3x3",
    "ap": "avg_pool_3x3",
    "sk": "skip_connect",
    "s3": "sep_conv_3x3",
    "d3": "dil_conv_3x3",
    "d5": "dil_conv_5x5",
}


def _table(text: str) -> _Table:
    """A row an edge: `sk+d3 sk+d5 ...`."""
    return tuple(tuple(_SHORT[name] for name in edge.split("+")) for edge in text.split())


def _everywhere(*operations: str) -> dict[str, _Table]:
    return {cell: (operations,) * len(EDGES) for cell in ("normal", "reduce")}


_WITHOUT_NONE = ("darts",)  # those that `none` may be added to
# Edge by edge, in the order of EDGES (automl/RobustDARTS, src/spaces.py).
_CANDIDATES: dict[CandidateSet, dict[str, _Table]] = {
    "darts": _everywhere(*(name for name in OPERATIONS if name not in ("none", "noise"))),
    "s1": {
        "normal": _table("sk+d3 sk+d5 sk+d5 sk+s3 sk+d3 mp+sk sk+s3 sk+s3 sk+d3 sk+s3 mp+sk sk+d3 d3+d5 d3+d5"),
        "reduce": _table("mp+ap mp+d3 mp+ap mp+ap sk+d5 mp+ap mp+s3 sk+d3 sk+d5 mp+ap mp+ap sk+d5 sk+d5 sk+d5"),
    },
    "s2": _everywhere("skip_connect", "sep_conv_3x3"),
    "s3": _everywhere("none", "skip_connect", "sep_conv_3x3"),
    "s4": _everywhere("noise", "sep_conv_3x3"),
}


class DARTS:
    """The DARTS space, or one of its subspaces, and the networks of its architectures.

    C: channels of the first cell (supernet: 16). num_cells: cells, of which those at 1/3 and 2/3 reduce (supernet: 8).
    none: with candidates=darts, whether `none` is a candidate: a weight that no operation gets, never derived.
    candidates: "darts" for seven operations on every edge, "s1" to "s4" for RobustDARTS' subspaces.
    partial: K; the operations act on 1/K of the channels (PC-DARTS), 1 for all. edge_weights: each edge is weighted by a
        softmax over the edges into its node (PC-DARTS' edge normalisation).
    auxiliary_skip, drop_path, skip_dropout: ramps over the run, or their settings by name, of the supernet alone: see
        `CellSpec` and `RelaxedNodes`. The auxiliary skip connection is the identity, at stride 2 a factorised reduction of
        its own.
    auxiliary_mean: the mean with it instead of the sum, see `CellSpec`.
    running_statistics: of the supernet's batch norms, used in eval mode, see `SupernetNorm`.
    stem: of supernet and networks, see `spaces.stems`. auxiliary_head, pool_norm: of the stand-alone networks only, see
        `DartsNetwork`.
    """

    name = "darts"
    rule = Exact()

    def __init__(
        self,
        C: int = 16,
        num_cells: int = 8,
        none: bool = False,
        candidates: CandidateSet = "darts",
        partial: int = 1,
        edge_weights: bool = False,
        auxiliary_skip: Ramp | Mapping[str, Any] | None = None,
        auxiliary_mean: bool = False,
        drop_path: Ramp | Mapping[str, Any] | None = None,
        skip_dropout: Ramp | Mapping[str, Any] | None = None,
        stem: Stem = "cifar",
        auxiliary_head: bool = False,
        pool_norm: bool = False,
        running_statistics: bool = False,
    ) -> None:
        for key, value, least in (("C", C, 1), ("num_cells", num_cells, 3), ("partial", partial, 1)):
            check_whole(f"space.{key}", value, least)
        for key, flag in (
            ("none", none),
            ("edge_weights", edge_weights),
            ("auxiliary_mean", auxiliary_mean),
            ("auxiliary_head", auxiliary_head),
            ("pool_norm", pool_norm),
            ("running_statistics", running_statistics),
        ):
            check_flag(f"space.{key}", flag)
        if candidates not in _CANDIDATES:
            raise UserError(f"space.candidates must be one of {', '.join(_CANDIDATES)}, got {candidates!r}.")
        check_stem(stem, C)
        if none and candidates not in _WITHOUT_NONE:
            raise UserError(f"space.none=true adds to candidates=darts only, not to {candidates}; drop it.")
        if C % partial or C % 2:
            raise UserError(f"space.C={C} must be even and divisible by space.partial={partial}; change one of them.")
        self.channels = C
        self.num_cells = num_cells
        self.candidates = candidates
        self.partial = partial
        self.stem = stem
        self.side_multiple = side_multiple(stem)
        self.auxiliary_head = auxiliary_head
        self.pool_norm = pool_norm
        self.running_statistics = running_statistics
        self.cells = {
            cell: replace(
                _spec(table, none, edge_weights),
                auxiliary_skip=as_ramp("space.auxiliary_skip", auxiliary_skip),
                auxiliary_mean=auxiliary_mean,
                drop_path=as_ramp("space.drop_path", drop_path, below=1),
                skip_dropout=as_ramp("space.skip_dropout", skip_dropout, below=1),
            )
            for cell, table in _CANDIDATES[candidates].items()
        }

    def supernet(self, num_classes: int) -> DartsSupernet:
        return DartsSupernet(
            self.cells, self.channels, self.num_cells, num_classes, self.partial, self.stem, self.running_statistics
        )

    def network(self, genotype: Genotype, num_classes: int) -> DartsNetwork:
        """Of a published architecture too that has operations or nodes beyond this space."""
        check_darts(genotype, "the genotype")
        check_kept(genotype, "the genotype")
        return DartsNetwork(
            genotype, self.channels, self.num_cells, num_classes, self.stem, self.auxiliary_head, self.pool_norm
        )

    def parse(self, text: str) -> Genotype:
        """A published architecture's name or text, whatever space it is of, or `Genotype(normal=[...], ...)` of this one."""
        known = known_genotype(text)
        if known is not None:
            return known
        genotype = parse_darts(text)
        self.check(genotype, "genotype")
        return genotype

    def check(self, genotype: Genotype, place: str) -> None:
        if genotype.space != self.name:
            raise UserError(
                f"{place} is an architecture of the space {genotype.space!r}, not {self.name}; set space={genotype.space}."
            )
        check_darts(genotype, place)
        if is_published(genotype):
            return
        for cell, choices in genotype.cells.items():
            for choice in choices:
                self._check_choice(cell, choice, place)

    def _check_choice(self, cell: str, choice: Choice, place: str) -> None:
        spec = self.cells[cell]
        edge = (choice.source, choice.target)
        if edge not in spec.edges:
            raise UserError(
                f"{place} takes input {choice.source} into node {choice.target} of the {cell} cell, but the nodes of "
                f"this space are 2 to {spec.edges[-1][1]}; give a genotype of this space."
            )
        row = spec.candidates[spec.edges.index(edge)]
        allowed = [name for name, may in zip(spec.operations, row, strict=True) if may and name != "none"]
        if choice.operation not in allowed:
            raise UserError(
                f"{place} has the operation {choice.operation!r} on input {choice.source} of node {choice.target} of the "
                f"{cell} cell, where space.candidates={self.candidates} has {', '.join(allowed)}; use one of these."
            )

    def baselines(self, generator: torch.Generator) -> dict[str, Genotype]:
        """`random`: two inputs a node and an operation on each, uniformly. `all_skip`, where skips from both inputs exist."""
        random = Genotype(self.name, {cell: _random_choices(spec, generator) for cell, spec in self.cells.items()})
        skips = tuple(Choice("skip_connect", source, target) for target in range(2, 6) for source in (0, 1))
        all_skip = Genotype(self.name, dict.fromkeys(self.cells, skips))
        try:
            self.check(all_skip, "all_skip")
        except UserError:
            return {"random": random}
        return {"random": random, "all_skip": all_skip}


def _spec(table: _Table, none: bool, edge_weights: bool) -> CellSpec:
    rows = [{"none", *row} if none else set(row) for row in table]
    operations = tuple(name for name in OPERATIONS if any(name in row for row in rows))
    candidates = tuple(tuple(name in row for name in operations) for row in rows)
    return CellSpec(EDGES, operations, candidates, OUTPUTS, edge_weights, inputs_a_node=2)


def _random_choices(spec: CellSpec, generator: torch.Generator) -> tuple[Choice, ...]:
    def draw(count: int, among: int) -> list[int]:
        drawn: list[int] = torch.randperm(among, generator=generator)[:count].tolist()
        return drawn

    choices = []
    for target in sorted({target for _, target in spec.edges}):
        edges = [e for e, edge in enumerate(spec.edges) if edge[1] == target]
        for e in sorted(edges[i] for i in draw(2, len(edges))):
            row = spec.candidates[e]
            names = [name for name, may in zip(spec.operations, row, strict=True) if may and name != "none"]
            choices.append(Choice(names[draw(1, len(names))[0]], *spec.edges[e]))
    return tuple(choices)
