"""Genotype: which operation sits on which edge, as plain frozen data."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_lightning.errors import UserError

NB201_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NB201_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))

_NB201_FORMAT = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
# Its groups come in the order of NB201_EDGES.
_NB201_PATTERN = re.compile(re.escape(_NB201_FORMAT).replace("op", "([a-z0-9_]+)"))


@dataclass(frozen=True, order=True)
class Choice:
    """`operation` carries node `source` to node `target`."""

    operation: str
    source: int
    target: int


@dataclass(frozen=True)
class Genotype:
    """The discrete architecture of a search: for every cell type, the chosen operation of each kept edge.

    `space` names the search space; `cells` maps a cell type to its choices, targets ascending. `concat` maps a cell type
    to the nodes that its output puts side by side, where these are not all that have inputs.
    """

    space: str
    cells: Mapping[str, tuple[Choice, ...]]
    concat: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.space, tuple(sorted(self.cells.items())), tuple(sorted(self.concat.items()))))

    def output_nodes(self, cell: str) -> tuple[int, ...]:
        """The nodes that the output of `cell` puts side by side."""
        return self.concat.get(cell) or tuple(sorted({choice.target for choice in self.cells[cell]}))

    def to_json(self) -> str:
        cells = {name: [[c.operation, c.source, c.target] for c in choices] for name, choices in self.cells.items()}
        concat = {"concat": {name: list(nodes) for name, nodes in self.concat.items()}} if self.concat else {}
        return json.dumps({"space": self.space, "cells": cells, **concat}, indent=2)

    @classmethod
    def from_json(cls, text: str, place: str = "genotype") -> "Genotype":
        """Read what `to_json` wrote; UserError if `text` is something else. `place` names its source in the message."""
        try:
            data: Any = json.loads(text)
            if type(data["space"]) is not str:
                raise TypeError(f"space {data['space']!r} is not a name")
            cells = {name: _read_choices(choices) for name, choices in data["cells"].items()}
            concat = {name: _read_nodes(nodes) for name, nodes in data.get("concat", {}).items()}
            genotype = cls(data["space"], cells, concat)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{place} is not a genotype ({type(error).__name__}: {error}); it must hold "
                '{"space": ..., "cells": {"<cell>": [[operation, source, target], ...]}}.'
            ) from error
        if genotype.space == "nb201":
            _check_nb201(genotype, place)
        return genotype

    @classmethod
    def read(cls, path: Path) -> "Genotype":
        """Read a `genotype.json`; UserError if there is none at `path` or it holds something else."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"the genotype {path} cannot be read ({error}); give the path of a genotype.json."
            ) from error
        return cls.from_json(text, str(path))

    def __str__(self) -> str:
        """The field's text: the benchmark's string, or `Genotype(normal=[...], normal_concat=range(2, 6), ...)`."""
        if self.space == "nb201":
            return nb201_string(self)
        parts = []
        for name, choices in self.cells.items():
            nodes = self.output_nodes(name)
            first, last = min(nodes, default=0), max(nodes, default=-1)
            together = f"range({first}, {last + 1})" if nodes == (*range(first, last + 1),) else str(list(nodes))
            parts += [f"{name}={[(c.operation, c.source) for c in choices]}", f"{name}_concat={together}"]
        return f"Genotype({', '.join(parts)})"


def _read_choices(rows: Any) -> tuple[Choice, ...]:
    choices = []
    for row in rows:
        operation, source, target = row
        # bool is an int to isinstance; json gives exactly these types.
        if type(operation) is not str or type(source) is not int or type(target) is not int:
            raise TypeError(f"{row!r} is not [operation, source, target]")
        choices.append(Choice(operation, source, target))
    return tuple(choices)


def _read_nodes(nodes: Any) -> tuple[int, ...]:
    if type(nodes) is not list or any(type(node) is not int for node in nodes):
        raise TypeError(f"{nodes!r} is not a list of nodes")
    return tuple(nodes)


def nb201_genotype(operations: tuple[str, ...]) -> Genotype:
    """The NAS-Bench-201 genotype with these six operations, in edge order 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2."""
    choices = (Choice(op, *edge) for op, edge in zip(operations, NB201_EDGES, strict=True))
    return Genotype("nb201", {"cell": tuple(choices)})


def _check_nb201(genotype: Genotype, place: str) -> None:
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
        problem = f"{unknown[0]!r} in {text!r} is no operation" if unknown else f"{text!r} is no architecture"
        raise UserError(
            f"{problem} of NAS-Bench-201; write {_NB201_FORMAT} with op one of {', '.join(NB201_OPERATIONS)}."
        )
    return nb201_genotype(operations)
