"""What nodes and edges of a cell are called: 0->1, 0->2, 1->2, ...; with two inputs, as in DARTS, c_{k-2}->0, ..."""

from collections.abc import Callable

from nas_lightning.genotypes.base import Genotype

_INPUTS = ("c_{k-2}", "c_{k-1}")


def node_namer(genotype: Genotype) -> Callable[[int], str]:
    """Gives a node's number; of two inputs the names of the cells that they come from, and then the others begin at 0."""
    return str if _inputs(genotype) == 1 else _name_beside_two_inputs


def edge_names(genotype: Genotype, cell: str, count: int) -> list[str]:
    """Of the `count` edges that the columns of a run number from 0, in the order of their targets.

    Files have no nodes for them: where `count` is not that of a cell with all edges, or the genotype has one that such a cell
    lacks, an edge keeps its number.
    """
    edges: list[tuple[int, int]] = []
    target = _inputs(genotype)
    while len(edges) < count:
        edges += [(source, target) for source in range(target)]
        target += 1
    kept = {(choice.source, choice.target) for choice in genotype.cells.get(cell, ())}
    if len(edges) != count or not kept <= set(edges):
        return [f"edge {number}" for number in range(count)]
    name = node_namer(genotype)
    return [f"{name(source)}->{name(target)}" for source, target in edges]


def _name_beside_two_inputs(node: int) -> str:
    return _INPUTS[node] if node < len(_INPUTS) else str(node - len(_INPUTS))


def _inputs(genotype: Genotype) -> int:
    """Two where the output is several nodes side by side and nothing leads into the first two nodes."""
    targets = {choice.target for choices in genotype.cells.values() for choice in choices}
    return 2 if genotype.output_node is None and not targets & {0, 1} else 1
