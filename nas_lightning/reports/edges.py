"""What nodes and edges of a cell are called: 0->1, 0->2, 1->2, ...; with two inputs, as in DARTS, c_{k-2}->0, ..."""

from nas_lightning.genotypes.base import Genotype

_INPUTS = ("c_{k-2}", "c_{k-1}")


def node_name(genotype: Genotype, node: int) -> str:
    """Its number; in cells with two inputs these have the names of the cells that they come from, and the others begin at 0."""
    if _inputs(genotype) == 1:
        return str(node)
    return _INPUTS[node] if node < len(_INPUTS) else str(node - len(_INPUTS))


def edge_name(genotype: Genotype, source: int, target: int) -> str:
    return f"{node_name(genotype, source)}->{node_name(genotype, target)}"


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
    return [edge_name(genotype, *edge) for edge in edges]


def _inputs(genotype: Genotype) -> int:
    """Two where the output is several nodes side by side and nothing leads into the first two nodes."""
    targets = {choice.target for choices in genotype.cells.values() for choice in choices}
    return 2 if genotype.output_node is None and not targets & {0, 1} else 1
