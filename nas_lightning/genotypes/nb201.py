"""NAS-Bench-201's genotypes (arXiv 2001.00326): one operation on each of six edges, and the benchmark's string."""

import random
import re
from functools import cache
from itertools import product

from nas_lightning.errors import UserError
from nas_lightning.escapes import shortened
from nas_lightning.genotypes.base import Choice, Form, Genotype, register_form
from nas_lightning.genotypes.foreign import foreign_form

NB201_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NB201_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))

_NB201_FORMAT = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
# Its groups come in the order of NB201_EDGES.
_NB201_PATTERN = re.compile(re.escape(_NB201_FORMAT).replace("op", "([a-z0-9_]+)"))


def nb201_genotype(operations: tuple[str, ...]) -> Genotype:
    """The NAS-Bench-201 genotype with these six operations, in edge order 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2."""
    choices = (Choice(op, *edge) for op, edge in zip(operations, NB201_EDGES, strict=True))
    return Genotype("nb201", {"cell": tuple(choices)})


def check_nb201(genotype: Genotype, place: str) -> None:
    cell = genotype.cells.get("cell", ())
    unknown = [choice.operation for choice in cell if choice.operation not in NB201_OPERATIONS]
    if unknown:
        known = ", ".join(NB201_OPERATIONS)
        raise UserError(f"{place} names the operation {unknown[0]!r}, which NAS-Bench-201 lacks; use one of {known}.")
    edges = [(choice.source, choice.target) for choice in cell]
    if edges != list(NB201_EDGES) or len(genotype.cells) != 1:
        raise UserError(
            f"{place} is no NAS-Bench-201 genotype (cells {', '.join(genotype.cells)}, edges of cell {edges}); it must "
            f"have the one cell 'cell' with the edges {list(NB201_EDGES)} in this order."
        )


def nb201_string(genotype: Genotype) -> str:
    """The benchmark's string `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|` (groups are targets, numbers are sources)."""
    groups = []
    for target in (1, 2, 3):
        items = [f"{c.operation}~{c.source}" for c in genotype.cells["cell"] if c.target == target]
        groups.append(f"|{'|'.join(items)}|")
    return "+".join(groups)


def parse_nb201(text: str) -> Genotype:
    """Read the benchmark's string, blanks ignored; UserError for one of another space or with an unknown operation."""
    match = _NB201_PATTERN.fullmatch("".join(text.split()))
    operations = match.groups() if match else ()
    unknown = [operation for operation in operations if operation not in NB201_OPERATIONS]
    if match is None or unknown:
        quoted = repr(shortened(text, 200))
        problem = f"{unknown[0]!r} in {quoted} is no operation" if unknown else f"{quoted} is no architecture"
        form = foreign_form(text, "nb201")
        raise UserError(
            f"{problem} of NAS-Bench-201{form and f' ({form})'}; write {_NB201_FORMAT} with op one of "
            f"{', '.join(NB201_OPERATIONS)}."
        )
    return nb201_genotype(operations)


def read_nb201(text: str) -> Genotype:
    """`parse_nb201`, or the architecture of that index of NAS-Bench-201 and NATS-Bench, 0 to 15,624."""
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        return parse_nb201(text)
    index = int(text)
    if index >= len(_in_official_order()):
        raise UserError(f"NAS-Bench-201 has no architecture {index}; give an index from 0 to 15624, or its string.")
    return nb201_genotype(_in_official_order()[index])


@cache
def _in_official_order() -> list[tuple[str, ...]]:
    """The benchmark's: all cells shuffled by Python's generator (exps/NAS-Bench-201/main.py of AutoDL-Projects)."""
    cells = list(product(NB201_OPERATIONS, repeat=len(NB201_EDGES)))
    random.Random(88).shuffle(cells)
    return cells


register_form("nb201", Form(nb201_string, check_nb201, output_node=3))
