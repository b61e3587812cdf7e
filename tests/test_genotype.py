"""The genotype: round trips of both formats, and bad input."""

import itertools
import json
from pathlib import Path

import pytest

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.genotypes.nb201 import NB201_EDGES, NB201_OPERATIONS, nb201_genotype, nb201_string, parse_nb201

DISTINCT = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3", "skip_connect")
DISTINCT_STRING = "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|skip_connect~2|"
DARTS = Genotype(
    "darts",
    {
        "normal": (Choice("sep_conv_3x3", 0, 2), Choice("skip_connect", 1, 2)),
        "reduce": (Choice("max_pool_3x3", 0, 2), Choice("dil_conv_5x5", 2, 3)),
    },
)


def as_json(cell: object, space: object = "nb201", name: str = "cell") -> str:
    return json.dumps({"space": space, "cells": {name: cell}})


def choices(*operations: str) -> list[list[str | int]]:
    return [[operation, *edge] for operation, edge in zip(operations, NB201_EDGES, strict=True)]


def one_sentence(error: pytest.ExceptionInfo[UserError]) -> str:
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


def test_every_string_of_nas_bench_201_round_trips() -> None:
    seen = set()
    for a, b, c, d, e, f in itertools.product(NB201_OPERATIONS, repeat=6):
        text = f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
        genotype = parse_nb201(text)
        assert nb201_string(genotype) == text
        seen.add(genotype)
    assert len(seen) == 15_625


def test_the_string_puts_each_operation_on_its_own_edge() -> None:
    expected = {(0, 1): "none", (0, 2): "skip_connect", (1, 2): "nor_conv_1x1"}
    expected |= {(0, 3): "nor_conv_3x3", (1, 3): "avg_pool_3x3", (2, 3): "skip_connect"}
    cell = parse_nb201(DISTINCT_STRING).cells["cell"]
    assert {(choice.source, choice.target): choice.operation for choice in cell} == expected
    assert str(nb201_genotype(DISTINCT)) == DISTINCT_STRING


def test_blanks_around_parts_of_the_string_do_not_matter() -> None:
    assert parse_nb201(f"  {DISTINCT_STRING.replace('+', ' + ')}\n") == nb201_genotype(DISTINCT)


@pytest.mark.parametrize("genotype", [DARTS, nb201_genotype(DISTINCT)], ids=["darts", "nb201"])
def test_json_round_trips(genotype: Genotype, tmp_path: Path) -> None:
    path = tmp_path / "genotype.json"
    path.write_text(genotype.to_json())
    again = Genotype.read(path)
    assert again == genotype
    assert hash(again) == hash(genotype)
    assert str(again) == str(genotype)


def test_genotypes_differ_when_one_operation_or_the_space_differs() -> None:
    other = Genotype("darts", {**DARTS.cells, "normal": (Choice("sep_conv_5x5", 0, 2), Choice("skip_connect", 1, 2))})
    assert len({DARTS, other, Genotype("s1", DARTS.cells), Genotype("darts", dict(DARTS.cells))}) == 3


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "''"),
        ("none", "'none'"),
        ("|none~0|+|none~0|none~1|", "none~1|'"),
        (DISTINCT_STRING + "+|none~0|", "+|none~0|'"),
        (DISTINCT_STRING.replace("nor_conv_3x3", "sep_conv_3x3"), "'sep_conv_3x3'"),
        (DISTINCT_STRING.replace("avg_pool_3x3~1", "avg_pool_3x3~0"), "avg_pool_3x3~0"),
        # A second operation on an edge must not silently win over the first.
        (DISTINCT_STRING.replace("|none~0|+", "|none~0|skip_connect~0|+"), "|none~0|skip_connect~0|"),
        (DISTINCT_STRING.replace("|", " "), "no architecture"),
        (DISTINCT_STRING.replace("~1", "~\N{ARABIC-INDIC DIGIT ONE}"), "no architecture"),
        ("Genotype(normal=[('sep_conv_3x3', 1)])", "sep_conv_3x3"),
    ],
)
def test_a_string_of_another_space_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(UserError) as error:
        parse_nb201(text)
    message = one_sentence(error)
    assert named in message
    assert "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|" in message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "JSONDecodeError"),
        ('{"space": "darts", "cells"', "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"cells": {}}', "'space'"),
        ('{"space": "darts"}', "'cells'"),
        ('{"space": "darts", "cells": []}', "AttributeError"),
        (as_json([["none", 0]], "darts"), "ValueError"),
        (as_json(["a01"], "darts"), "'a01'"),
        (as_json([[None, 0, 1]], "darts"), "[None, 0, 1]"),
        (as_json([["none", 0.5, 1]], "darts"), "['none', 0.5, 1]"),
        (as_json([["none", 0, float("inf")]], "darts"), "a number that no run has"),
        (as_json([["none", 0, 10**9]], "darts"), "['none', 0, 1000000000] has a node beyond 0 to 999"),
        (as_json([["none", False, 1]], "darts"), "['none', False, 1]"),
        (as_json([["none", 0, 1]], None), "None"),
        pytest.param("[" * 60_000, "nested deeper than 50", id="nested too deeply"),
        (as_json(choices(*DISTINCT[:-1], "sep_conv_3x3")), "'sep_conv_3x3'"),
        (as_json(choices(*DISTINCT)[:-1]), "(1, 3)]"),
        (as_json(choices(*DISTINCT)[::-1]), "in this order"),
        (as_json(choices(*DISTINCT), name="normal"), "normal"),
    ],
)
def test_a_broken_genotype_file_is_refused_in_one_sentence_that_names_it(text: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "genotype.json"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        Genotype.read(path)
    message = one_sentence(error)
    assert str(path) in message
    assert named in message


def test_a_missing_or_binary_genotype_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "absent.json", tmp_path / "binary.json", tmp_path):
        with pytest.raises(UserError) as error:
            Genotype.read(path)
        assert str(path) in one_sentence(error)
