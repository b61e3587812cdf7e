"""Genotype: which operation sits on which edge, as plain frozen data."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_lightning.errors import UserError

NB201_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NB201_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))

_NB201_ITEM = re.compile(r"([a-z0-9_]+)~(\d+)")


@dataclass(frozen=True, order=True)
class Choice:
    """`operation` carries node `source` to node `target`."""

    operation: str
    source: int
    target: int


@dataclass(frozen=True)
class Genotype:
    """The discrete architecture of a search: for every cell type, the chosen operation of each kept edge.

    `space` names the search space; `cells` maps a cell type to its choices, in the space's edge order.
    """

    space: str
    cells: Mapping[str, tuple[Choice, ...]]

    def __hash__(self) -> int:
        return hash((self.space, tuple(sorted(self.cells.items()))))

    def to_json(self) -> str:
        cells = {name: [[c.operation, c.source, c.target] for c in choices] for name, choices in self.cells.items()}
        return json.dumps({"space": self.space, "cells": cells}, indent=2)

    @classmethod
    def from_json(cls, text: str, place: str = "genotype") -> "Genotype":
        """Read what `to_json` wrote; `place` names the source of `text` in the error message."""
        try:
            data: Any = json.loads(text)
            cells = {
                name: tuple(Choice(str(op), int(source), int(target)) for op, source, target in choices)
                for name, choices in data["cells"].items()
            }
            return cls(str(data["space"]), cells)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{place} is not a genotype file ({error}); it must hold "
                '{"space": ..., "cells": {"<cell>": [[operation, source, target], ...]}}.'
            ) from error

    @classmethod
    def read(cls, path: Path) -> "Genotype":
        try:
            return cls.from_json(path.read_text(), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"the genotype file {path} cannot be read ({error}); give the path of a genotype.json.") from error

    def __str__(self) -> str:
        if self.space == "nb201":
            return nb201_string(self)
        return json.dumps({name: [f"{c.operation}@{c.source}" for c in cs] for name, cs in self.cells.items()})


def nb201_genotype(operations: tuple[str, ...]) -> Genotype:
    """The NAS-Bench-201 genotype with these six operations, in edge order 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2."""
    choices = (Choice(op, *edge) for op, edge in zip(operations, NB201_EDGES, strict=True))
    return Genotype("nb201", {"cell": tuple(choices)})


def nb201_string(genotype: Genotype) -> str:
    """The benchmark's string `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|` (groups are targets, numbers are sources)."""
    groups = []
    for target in (1, 2, 3):
        chosen = [c for c in genotype.cells["cell"] if c.target == target]
        groups.append("|" + "|".join(f"{c.operation}~{c.source}" for c in sorted(chosen, key=lambda c: c.source)) + "|")
    return "+".join(groups)


def parse_nb201(text: str) -> Genotype:
    """Read the benchmark's string; a string of another space, or with an unknown operation, raises UserError."""
    expected = f"|op~0|+|op~0|op~1|+|op~0|op~1|op~2| with op one of {', '.join(NB201_OPERATIONS)}"
    by_edge: dict[tuple[int, int], str] = {}
    groups = text.strip().split("+")
    for target, group in enumerate(groups, start=1):
        items = group.strip().strip("|").split("|")
        for item in items:
            match = _NB201_ITEM.fullmatch(item.strip())
            if match is None or match[1] not in NB201_OPERATIONS:
                raise UserError(f"{item.strip()!r} in {text!r} is no part of a NAS-Bench-201 architecture; write {expected}.")
            by_edge[int(match[2]), target] = match[1]
    if len(groups) != 3 or set(by_edge) != set(NB201_EDGES):
        raise UserError(f"{text!r} is not a NAS-Bench-201 architecture: write {expected}.")
    return nb201_genotype(tuple(by_edge[edge] for edge in NB201_EDGES))
