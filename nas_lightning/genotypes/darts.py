"""The DARTS family's genotypes: the field's text `Genotype(normal=[...], ...)`, and the published ones by name.

The field's pairs (operation, input) are two a node, in the order of the nodes. A cell whose nodes have fewer inputs cannot
be said so: its text has triples (operation, input, node). Other programs' forms are read where they leave no doubt: triples
(operation, node, input), as of Fair DARTS; a list of lists, one a node, as of AutoDL-Projects and pt.darts; a mapping.
"""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import MOST_NODES, Choice, Genotype
from nas_lightning.genotypes.foreign import foreign_form
from nas_lightning.records.received import TEXT_BYTES

NETWORK_OPERATIONS = (
    "noise",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""What a stand-alone network can compute: the space's operations and sep_conv_7x7, which NASNet has."""

_FORMAT = (
    "Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6))"
)
_CELLS = ("normal", "reduce")


def parse_darts(text: str) -> Genotype:
    """Read the field's text, which is never evaluated; UserError where it is not a genotype."""
    try:
        parts = _parts(text)
        lists = {cell: ast.literal_eval(parts[cell]) for cell in _CELLS}
        cells = {cell: _choices(entries) for cell, entries in lists.items()}
        stated = {cell: _nodes(parts[f"{cell}_concat"]) for cell in _CELLS if f"{cell}_concat" in parts}
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError) as error:
        reason = f"it lacks the part {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        if re.match(r"\s*(Genotype\s*\(|\{)", text):
            known = foreign_form(text, "darts")
            raise UserError(
                f"genotype {_shortened(text)!r} is no text of the form {_FORMAT} ({known or reason}); correct it."
            ) from error
        raise UserError(
            f"genotype {_shortened(text)!r} is neither the name of a published architecture ({', '.join(_published())}), "
            f"nor a file, nor a text of the form {_FORMAT} ({foreign_form(text, 'darts') or reason}); give one of these."
        ) from error
    # Fair DARTS' program puts together whatever nodes there are, and says range(2, 6) of cells without node 3 too.
    genotype = _with_concat(cells, {cell: nodes for cell, nodes in stated.items() if not _node_first(lists[cell])})
    check_darts(genotype, "genotype")
    check_kept(genotype, "genotype")
    return genotype


def _shortened(text: str) -> str:
    text = " ".join(text[:1_000].split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _parts(text: str) -> dict[str, ast.expr]:
    """The parts of `Genotype(normal=..., ...)` or `{'normal': ..., ...}` by name."""
    if len(text) > TEXT_BYTES:
        raise ValueError(f"it has more than {TEXT_BYTES:,} characters")
    node = ast.parse(text.strip(), mode="eval").body
    if isinstance(node, ast.Dict):
        keys = [key.value if isinstance(key, ast.Constant) else "**" for key in node.keys]
        named = [*zip(keys, node.values, strict=True)]
    elif isinstance(node, ast.Call) and not node.args and getattr(node.func, "id", "") == "Genotype":
        named = [(keyword.arg or "**", keyword.value) for keyword in node.keywords]
    else:
        raise ValueError("it is no Genotype(...) with named parts")
    # AutoDL-Projects' have connectN=None, connects=None too.
    named = [(name, value) for name, value in named if not (isinstance(value, ast.Constant) and value.value is None)]
    parts = {str(name): value for name, value in named}
    unknown = {*parts} - {name for cell in _CELLS for name in (cell, f"{cell}_concat")}
    if unknown:
        raise ValueError(f"it has the part {min(unknown)}")
    if len(parts) < len(named):
        raise ValueError("it has a part twice")
    return parts


def _choices(entries: object) -> tuple[Choice, ...]:
    """Of pairs (operation, input), two a node; of a list of them for each node; or of triples with the node."""
    if not isinstance(entries, list | tuple):
        raise ValueError("a cell must be a list of (operation, input) pairs")
    if entries and all(_is_list(entry) and all(map(_is_list, entry)) for entry in entries):
        nodes = [(2 + position, *_weightless(entry)) for position, node in enumerate(entries) for entry in node]
        return tuple(Choice(operation, source, target) for target, operation, source in nodes)
    triples = any(_is_list(entry) and len(entry) == 3 for entry in entries)
    types, form = (
        ([str, int, int], "(operation, input, node) triple") if triples else ([str, int], "(operation, input) pair")
    )
    for entry in entries:
        if not _is_list(entry) or [type(part) for part in entry] != types:
            raise ValueError(f"{entry!r} is no {form}")
    if triples:
        return _from_triples(entries)
    if len(entries) % 2:
        raise ValueError(f"{len(entries)} pairs are not two a node; write (operation, input, node)")
    return tuple(Choice(operation, source, 2 + at // 2) for at, (operation, source) in enumerate(entries))


def _is_list(entry: object) -> bool:
    return isinstance(entry, list | tuple)


def _weightless(entry: Sequence[Any]) -> tuple[str, int]:
    """A pair; a third number is how strong the edge was in the search."""
    if [type(part) for part in entry] not in ([str, int], [str, int, float]):
        raise ValueError(f"{entry!r} is no (operation, input) pair")
    return entry[0], entry[1]


def _node_first(entries: Sequence[Any]) -> bool:
    """Whether they are triples (operation, node, input): an input comes before its node."""
    return bool(entries) and all(len(entry) == 3 and type(entry[2]) is int and entry[1] > entry[2] for entry in entries)


def _from_triples(entries: Sequence[tuple[str, int, int]]) -> tuple[Choice, ...]:
    node_first = _node_first(entries)
    choices = []
    for operation, first, second in entries:
        source, target = (second, first) if node_first else (first, second)
        if not 0 <= target < MOST_NODES:
            raise ValueError(f"{(operation, first, second)!r} has a node beyond 0 to {MOST_NODES - 1}")
        choices.append(Choice(operation, source, target))
    return tuple(choices)


def _nodes(node: ast.expr) -> tuple[int, ...]:
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "range" and not node.keywords:
        arguments = [ast.literal_eval(argument) for argument in node.args]
        # A huge range would be a huge tuple.
        if not 1 <= len(arguments) <= 3 or not all(type(a) is int and abs(a) < 100 for a in arguments):
            raise ValueError(f"range{(*arguments,)} is no range of nodes")
        return tuple(range(*arguments))
    nodes = ast.literal_eval(node)
    if not isinstance(nodes, list | tuple) or any(type(n) is not int for n in nodes):
        raise ValueError(f"{nodes!r} is no list of nodes")
    return tuple(nodes)


def _with_concat(cells: dict[str, tuple[Choice, ...]], stated: Mapping[str, tuple[int, ...]]) -> Genotype:
    """Only what differs from all nodes is kept, so that equal architectures are equal."""
    plain = Genotype("darts", cells)
    return Genotype(
        "darts", cells, {cell: nodes for cell, nodes in stated.items() if nodes != plain.output_nodes(cell)}
    )


def check_darts(genotype: Genotype, place: str) -> None:
    """UserError where no network of the DARTS family can be built of `genotype`, which was found at `place`."""
    if (*genotype.cells,) != _CELLS:
        raise UserError(
            f"{place} has the cells {', '.join(genotype.cells) or 'none'}; it must have {' and '.join(_CELLS)}."
        )
    for cell, choices in genotype.cells.items():
        targets = [choice.target for choice in choices]
        if targets != sorted(targets) or min(targets, default=2) < 2 or max(map(targets.count, targets), default=0) > 2:
            raise UserError(
                f"{place} gives the nodes of the {cell} cell {len(choices)} inputs at nodes {targets}; it must be at most "
                "two a node, for nodes 2, 3, ... in order."
            )
        for choice in choices:
            if choice.operation not in NETWORK_OPERATIONS:
                raise UserError(
                    f"{place} has the unknown operation {choice.operation!r} in the {cell} cell; use one of "
                    f"{', '.join(NETWORK_OPERATIONS)}."
                )
            if not 0 <= choice.source < choice.target:
                raise UserError(
                    f"{place} takes input {choice.source} into node {choice.target} of the {cell} cell, which has the "
                    f"inputs 0 to {choice.target - 1} only; use one of them."
                )
            if choice.source >= 2 and choice.source not in targets:
                raise UserError(
                    f"{place} takes input {choice.source} into node {choice.target} of the {cell} cell, but nothing leads "
                    f"into node {choice.source}; drop it, or give node {choice.source} an input."
                )
        nodes = genotype.output_nodes(cell)
        if len({*nodes}) < len(nodes) or not {*nodes} <= {*targets}:
            raise UserError(
                f"{place} puts the nodes {[*nodes]} of the {cell} cell together, but its nodes are "
                f"{', '.join(map(str, sorted({*targets})))}; name some of these, each once, in {cell}_concat."
            )


def check_kept(genotype: Genotype, place: str) -> None:
    """UserError where a cell has no operation at all: an architecture while one searches, but no network."""
    for cell, choices in genotype.cells.items():
        if not choices:
            raise UserError(
                f"{place} keeps no operation in the {cell} cell, of which no network can be built; search longer, or with "
                "a lower derive.at_least."
            )


def known_genotype(name: str) -> Genotype | None:
    """The published architecture of that name, or None."""
    return _published().get(name)


def is_published(genotype: Genotype) -> bool:
    return genotype in _published().values()


@cache
def _published() -> dict[str, Genotype]:
    entries = json.loads(files("nas_lightning.genotypes").joinpath("published.json").read_text(encoding="utf-8"))
    return {entry["name"]: parse_darts(entry["genotype"]) for entry in entries}
