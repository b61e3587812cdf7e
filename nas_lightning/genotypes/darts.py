"""The DARTS family's genotypes: the field's text `Genotype(normal=[...], ...)`, and the published ones by name.

The field's pairs (operation, input) are two a node, in the order of the nodes. A cell whose nodes have fewer inputs cannot
be said so: its text has triples (operation, input, node).
"""

import ast
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import MOST_NODES, Choice, Genotype

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
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or call.args or getattr(call.func, "id", "") != "Genotype":
            raise ValueError("it is no Genotype(...) with named parts")
        parts = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        unknown = {*parts} - {name for cell in _CELLS for name in (cell, f"{cell}_concat")}
        if unknown or len(parts) < len(call.keywords):
            raise ValueError(f"it has the part {min(unknown, default='**')}")
        cells = {cell: _choices(ast.literal_eval(parts[cell])) for cell in _CELLS}
        stated = {cell: _nodes(parts[f"{cell}_concat"]) for cell in _CELLS if f"{cell}_concat" in parts}
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError) as error:
        reason = f"it lacks the part {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise UserError(
            f"genotype {_shortened(text)!r} is neither the name of a published architecture ({', '.join(_published())}), "
            f"nor a file, nor a text of the form {_FORMAT} ({reason}); give one of these."
        ) from error
    genotype = _with_concat(cells, stated)
    check_darts(genotype, "genotype")
    check_kept(genotype, "genotype")
    return genotype


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _choices(entries: object) -> tuple[Choice, ...]:
    """Of pairs (operation, input), two a node; or of triples (operation, input, node)."""
    if not isinstance(entries, list | tuple):
        raise ValueError("a cell must be a list of (operation, input) pairs")
    triples = any(isinstance(entry, list | tuple) and len(entry) == 3 for entry in entries)
    types, form = (
        ([str, int, int], "(operation, input, node) triple") if triples else ([str, int], "(operation, input) pair")
    )
    choices = []
    for position, entry in enumerate(entries):
        if not isinstance(entry, list | tuple) or [type(part) for part in entry] != types:
            raise ValueError(f"{entry!r} is no {form}")
        if triples and not 0 <= entry[2] < MOST_NODES:
            raise ValueError(f"{entry!r} has a node beyond 0 to {MOST_NODES - 1}")
        choices.append(Choice(entry[0], entry[1], entry[2] if triples else 2 + position // 2))
    if not triples and len(choices) % 2:
        raise ValueError(f"{len(choices)} pairs are not two a node; write (operation, input, node)")
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


@cache
def _published() -> dict[str, Genotype]:
    entries = json.loads(files("nas_lightning.genotypes").joinpath("published.json").read_text(encoding="utf-8"))
    return {entry["name"]: parse_darts(entry["genotype"]) for entry in entries}
