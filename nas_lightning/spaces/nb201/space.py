"""The NAS-Bench-201 space (arXiv 2001.00326): one cell type with 6 edges of 5 operations, 15,625 architectures."""

from collections.abc import Mapping
from typing import Any

import torch

from nas_lightning.cells import CellSpec
from nas_lightning.derive.every_edge import EveryEdge
from nas_lightning.errors import UserError, check_flag, check_whole
from nas_lightning.genotypes.base import Genotype
from nas_lightning.genotypes.darts import known_genotype
from nas_lightning.genotypes.nb201 import NB201_EDGES, NB201_OPERATIONS, check_nb201, nb201_genotype, read_nb201
from nas_lightning.ramps import Ramp, as_ramp
from nas_lightning.spaces.nb201.network import NB201Network
from nas_lightning.spaces.nb201.supernet import NB201Supernet
from nas_lightning.spaces.stems import Stem, check_stem, side_multiple


class NB201:
    """NAS-Bench-201 with C channels in the first stage and N cells a stage (the benchmark: C=16, N=5).

    none: whether `none` is a candidate. partial: K; the operations act on 1/K of the channels (PC-DARTS; without
    edge_weights as in DrNAS), 1 for all. edge_weights: each edge is weighted by a softmax over the edges into its node.
    conv_bias: give the search cells' convolutions the (idle) bias of AutoDL-Projects, see `StackedConv`. stem: of supernet and
    networks, see `spaces.stems`; the benchmark's is "cifar", of its table's networks too.

    auxiliary_skip, drop_path, skip_dropout: ramps over the run, or their settings by name, of the supernet alone: see
    `CellSpec` and `RelaxedNodes`. Edges have stride 1, so that the auxiliary skip connection is the identity. auxiliary_mean:
    the mean with it instead of the sum, see `CellSpec`. running_statistics: of the supernet's batch norms, used in eval mode,
    see `SupernetNorm`.
    """

    name = "nb201"
    rule = EveryEdge()

    def __init__(
        self,
        C: int = 16,
        N: int = 5,
        none: bool = True,
        conv_bias: bool = False,
        partial: int = 1,
        edge_weights: bool = False,
        auxiliary_skip: Ramp | Mapping[str, Any] | None = None,
        auxiliary_mean: bool = False,
        drop_path: Ramp | Mapping[str, Any] | None = None,
        skip_dropout: Ramp | Mapping[str, Any] | None = None,
        stem: Stem = "cifar",
        running_statistics: bool = False,
    ) -> None:
        for key, value in (("C", C), ("N", N), ("partial", partial)):
            check_whole(f"space.{key}", value, 1)
        for key, flag in (
            ("none", none),
            ("conv_bias", conv_bias),
            ("edge_weights", edge_weights),
            ("auxiliary_mean", auxiliary_mean),
            ("running_statistics", running_statistics),
        ):
            check_flag(f"space.{key}", flag)
        check_stem(stem, C)
        self.stem = stem
        self.side_multiple = side_multiple(stem)
        self.channels = C
        self.cells_per_stage = N
        self.conv_bias = conv_bias
        self.partial = partial
        self.running_statistics = running_statistics
        row = tuple(none or operation != "none" for operation in NB201_OPERATIONS)
        cell = CellSpec(
            NB201_EDGES,
            NB201_OPERATIONS,
            (row,) * len(NB201_EDGES),
            outputs=(3,),
            edge_weights=edge_weights,
            auxiliary_skip=as_ramp("space.auxiliary_skip", auxiliary_skip),
            auxiliary_mean=auxiliary_mean,
            drop_path=as_ramp("space.drop_path", drop_path, below=1),
            skip_dropout=as_ramp("space.skip_dropout", skip_dropout, below=1),
        )
        self.cells = {"cell": cell}

    def supernet(self, num_classes: int) -> NB201Supernet:
        return NB201Supernet(
            self.cells["cell"],
            self.channels,
            self.cells_per_stage,
            num_classes,
            self.conv_bias,
            self.partial,
            self.stem,
            self.running_statistics,
        )

    def network(self, genotype: Genotype, num_classes: int) -> NB201Network:
        self.check(genotype, "the genotype")
        return NB201Network(genotype, self.channels, self.cells_per_stage, num_classes, self.stem)

    def parse(self, text: str) -> Genotype:
        """The benchmark's string, or an architecture's index in it."""
        if known_genotype(text):
            raise UserError(f"genotype={text} is an architecture of the DARTS space; set space=darts.")
        return read_nb201(text)

    def check(self, genotype: Genotype, place: str) -> None:
        if genotype.space != self.name:
            raise UserError(
                f"{place} is an architecture of the space {genotype.space!r}, not nb201; set space={genotype.space}."
            )
        check_nb201(genotype, place)

    def baselines(self, generator: torch.Generator) -> dict[str, Genotype]:
        kept = self.cells["cell"].candidates[0]
        candidates = [operation for operation, is_kept in zip(NB201_OPERATIONS, kept, strict=True) if is_kept]
        drawn = torch.randint(len(candidates), (len(NB201_EDGES),), generator=generator).tolist()
        return {
            "random": nb201_genotype(tuple(candidates[index] for index in drawn)),
            "all_skip": nb201_genotype(("skip_connect",) * len(NB201_EDGES)),
        }
