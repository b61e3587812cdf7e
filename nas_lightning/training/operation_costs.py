"""What each operation on each edge costs in the network that an architecture stands for, measured in that network.

Letters: E edges, O operations.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas_lightning.cells import CellSpec
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.spaces import SearchSpace
from nas_lightning.training.cost import network_cost
from nas_lightning.training.latency import one_thread

_Place = tuple[str, Choice]
_Spent = tuple[float, dict[_Place, float]]
"""By the whole network; by each choice, in all its cells."""

_WARM_UP, _ROUNDS = 2, 7


@dataclass(frozen=True)
class OperationCosts:
    """One kind of cost of every architecture of a space: `fixed`, of all that does not depend on alpha, and by cell type
    [E][O] what an operation adds where it is chosen, in all cells of the type together; 0 for `none`."""

    fixed: float
    by_cell: Mapping[str, tuple[tuple[float, ...], ...]]

    def divided(self, unit: float) -> dict[str, list[list[float]]]:
        """`by_cell` in units of so much."""
        return {name: [[cost / unit for cost in row] for row in rows] for name, rows in self.by_cell.items()}


def operation_costs(
    space: SearchSpace, num_classes: int, side: int, kinds: Collection[str]
) -> dict[str, OperationCosts]:
    """Of each of `kinds`, which are those of `costs.KINDS`, on images of `side` pixels.

    Parameters and multiply-adds are counted, and add up exactly; milliseconds are medians of an operation's own forward pass
    amid the network's, one image and one thread of this processor, so that their sum is the network's to some percent.
    UserError where the space's networks do not say which of their modules an operation is.
    """
    architectures = list(covering(space))
    network_cost(space, architectures[0], num_classes, side)  # refuses what does not pass through
    spent: dict[str, dict[_Place, float]] = {kind: {} for kind in kinds}
    fixed: dict[str, list[float]] = {kind: [] for kind in kinds}
    for genotype in architectures:
        for kind in kinds:
            whole, own = _MEASURES[kind](space, genotype, num_classes, side)
            spent[kind] |= own
            fixed[kind].append(whole - sum(own.values()))
    return {kind: OperationCosts(median(fixed[kind]), _by_cell(space.cells, spent[kind])) for kind in kinds}


def covering(space: SearchSpace) -> Iterator[Genotype]:
    """A few architectures among which every candidate is on every edge, `none` aside."""
    waiting = {
        name: [spec.named(spec.candidates, edge) for edge in range(len(spec.edges))]
        for name, spec in space.cells.items()
    }
    while any(map(any, waiting.values())):
        yield Genotype(space.name, {name: tuple(_next(spec, waiting[name])) for name, spec in space.cells.items()})


def _next(spec: CellSpec, waiting: list[list[str]]) -> Iterator[Choice]:
    """The choices of a cell, the edges with the most operations that wait first; takes what is chosen out of `waiting`."""
    for node in sorted({target for _, target in spec.edges}):
        incoming = [edge for edge, (_, target) in enumerate(spec.edges) if target == node]
        kept = sorted(incoming, key=lambda edge: -len(waiting[edge]))[: spec.inputs_a_node or len(incoming)]
        for edge in sorted(kept):
            known = spec.named(spec.candidates, edge)
            if known:
                yield Choice(waiting[edge].pop() if waiting[edge] else known[0], *spec.edges[edge])
            elif spec.inputs_a_node is None:
                yield Choice("none", *spec.edges[edge])


def _by_cell(cells: Mapping[str, CellSpec], spent: Mapping[_Place, float]) -> dict[str, tuple[tuple[float, ...], ...]]:
    return {
        name: tuple(
            tuple(spent.get((name, Choice(operation, *edge)), 0.0) for operation in spec.operations)
            for edge in spec.edges
        )
        for name, spec in cells.items()
    }


def _parameters(space: SearchSpace, genotype: Genotype, num_classes: int, side: int) -> _Spent:
    with torch.device("meta"):
        network = space.network(genotype, num_classes)
    own: dict[_Place, float] = {}
    for place, module in _chosen(space, network):
        own[place] = own.get(place, 0.0) + sum(parameter.numel() for parameter in module.parameters())
    auxiliary = sum(each.numel() for name, each in network.named_parameters() if name.startswith("auxiliary."))
    return sum(parameter.numel() for parameter in network.parameters()) - auxiliary, own


def _multiply_adds(space: SearchSpace, genotype: Genotype, num_classes: int, side: int) -> _Spent:
    with torch.device("meta"):
        network, image = space.network(genotype, num_classes).eval(), torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter:
        return _passed(space, network, image, lambda: counter.get_total_flops() / 2)


def _milliseconds(space: SearchSpace, genotype: Genotype, num_classes: int, side: int) -> _Spent:
    network, image = space.network(genotype, num_classes).eval(), torch.zeros(1, 3, side, side)
    with one_thread():
        passes = [_passed(space, network, image, lambda: 1e3 * time.perf_counter()) for _ in range(_WARM_UP + _ROUNDS)]
    rounds = passes[_WARM_UP:]
    own = {place: median(each[place] for _, each in rounds) for place in rounds[0][1]}
    return median(whole for whole, _ in rounds), own


_MEASURES: dict[str, Callable[[SearchSpace, Genotype, int, int], _Spent]] = {
    "params": _parameters,
    "macs": _multiply_adds,
    "latency_ms": _milliseconds,
}


@torch.inference_mode()
def _passed(space: SearchSpace, network: nn.Module, image: torch.Tensor, reading: Callable[[], float]) -> _Spent:
    """How much further `reading` is after `image` has passed through the network, and by the operations alone."""
    own: dict[_Place, float] = {}

    def before(place: _Place) -> Callable[..., None]:
        def note(*arguments: Any) -> None:
            own[place] = own.get(place, 0.0) - reading()

        return note

    def after(place: _Place) -> Callable[..., None]:
        def note(*arguments: Any) -> None:
            own[place] += reading()

        return note

    with ExitStack() as hooks:
        for place, module in _chosen(space, network):
            hooks.callback(module.register_forward_pre_hook(before(place)).remove)
            hooks.callback(module.register_forward_hook(after(place)).remove)
        start = reading()
        network(image)
        return reading() - start, own


def _chosen(space: SearchSpace, network: Any) -> list[tuple[_Place, nn.Module]]:
    if not hasattr(network, "chosen"):
        raise UserError(
            f"budget: {type(network).__name__}, the network of the space {space.name}, does not say which of its modules an "
            "operation is; give it the method chosen, see docs/extending.md, or drop the budget."
        )
    return [((cell, choice), module) for cell, choice, module in network.chosen()]
