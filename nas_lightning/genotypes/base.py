"""Genotype: which operation sits on which edge, as plain frozen data."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_lightning.errors import UserError
from nas_lightning.records.received import parsed_json, received_text

MOST_NODES = 1_000
"""Of a cell that is read: a text of a few characters could otherwise name a billion."""


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

    @property
    def output_node(self) -> int | None:
        """The node that is a cell's output; None where the output is several nodes side by side."""
        return _FORMS[self.space].output_node if self.space in _FORMS else None

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
            data: Any = parsed_json(text.encode())
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
        if genotype.space in _FORMS:
            _FORMS[genotype.space].check(genotype, place)
        return genotype

    @classmethod
    def read(cls, path: Path) -> "Genotype":
        """Read a `genotype.json`; UserError if there is none at `path` or it holds something else."""
        try:
            text = received_text(path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"the genotype {path} cannot be read ({error}); give the path of a genotype.json."
            ) from error
        return cls.from_json(text, str(path))

    def __str__(self) -> str:
        """The field's text: the benchmark's string, or `Genotype(normal=[...], normal_concat=range(2, 6), ...)`.

        Of pairs (operation, source) where every node has two, else of triples with the node.
        """
        if self.space in _FORMS:
            return _FORMS[self.space].text(self)
        parts = []
        for name, choices in self.cells.items():
            nodes = self.output_nodes(name)
            first, last = min(nodes, default=0), max(nodes, default=-1)
            together = f"range({first}, {last + 1})" if nodes == (*range(first, last + 1),) else str(list(nodes))
            paired = [c.target for c in choices] == [2 + position // 2 for position in range(len(choices))]
            paired = paired and len(choices) % 2 == 0
            listed = [(c.operation, c.source) if paired else (c.operation, c.source, c.target) for c in choices]
            parts += [f"{name}={listed}", f"{name}_concat={together}"]
        return f"Genotype({', '.join(parts)})"


@dataclass(frozen=True)
class Form:
    """How the architectures of a space are written, where it has a text of its own and cells with one output node.

    check(genotype, place): UserError where what was read at `place` is no architecture of the space.
    """

    text: Callable[[Genotype], str]
    check: Callable[[Genotype, str], None]
    output_node: int


_FORMS: dict[str, Form] = {}


def register_form(space: str, form: Form) -> None:
    """To be called by the module of the space's genotypes, when it is imported."""
    _FORMS[space] = form


def _read_choices(rows: Any) -> tuple[Choice, ...]:
    choices = []
    for row in rows:
        operation, source, target = row
        # bool is an int to isinstance; json gives exactly these types.
        if type(operation) is not str or type(source) is not int or type(target) is not int:
            raise TypeError(f"{row!r} is not [operation, source, target]")
        if not (0 <= source < MOST_NODES and 0 <= target < MOST_NODES):
            raise ValueError(f"{row!r} has a node beyond 0 to {MOST_NODES - 1}")
        choices.append(Choice(operation, source, target))
    return tuple(choices)


def _read_nodes(nodes: Any) -> tuple[int, ...]:
    if type(nodes) is not list or any(type(node) is not int for node in nodes):
        raise TypeError(f"{nodes!r} is not a list of nodes")
    if not all(0 <= node < MOST_NODES for node in nodes):
        raise ValueError(f"{nodes!r} has a node beyond 0 to {MOST_NODES - 1}")
    return tuple(nodes)
