"""The genotype: round trips of both formats, and bad input."""

import itertools
import json
import time
from pathlib import Path

import pytest

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.genotypes.darts import parse_darts
from nas_lightning.genotypes.nb201 import (
    NB201_EDGES,
    NB201_OPERATIONS,
    nb201_genotype,
    nb201_string,
    parse_nb201,
    read_nb201,
)
from nas_lightning.genotypes.texts import read_genotype
from nas_lightning.spaces import DARTS as DARTSSpace
from nas_lightning.spaces import NB201

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


# --- an architecture in other programs' forms, and in a text that has more in it -------------------------------------

SPACES = {"darts": DARTSSpace(), "nb201": NB201()}
V1, V2, NASNET = (str(SPACES["darts"].parse(name)) for name in ("DARTS_V1", "DARTS_V2", "NASNet"))
FOUR = [("sep_conv_3x3", 1), ("skip_connect", 0), ("max_pool_3x3", 2), ("dil_conv_5x5", 0)]
PLAIN = f"Genotype(normal={FOUR}, normal_concat=range(2, 4), reduce={FOUR}, reduce_concat=range(2, 4))"
WEIGHTED = [tuple((*entry, 0.25) for entry in FOUR[node : node + 2]) for node in (0, 2)]
AUTODL = f"""GDAS = Genotype(
  normal = [
    (('sep_conv_3x3', 1), ('skip_connect', 0)), # step 1 (not the last
    (('max_pool_3x3', 2), ('dil_conv_5x5', 0)),
  ],
  normal_concat = [2, 3],
  reduce = {[tuple(FOUR[:2]), tuple(FOUR[2:])]},
  reduce_concat = [2, 3],
  connectN=None, connects=None,
)"""
FAIR = (
    "Genotype(normal=[('sep_conv_3x3', 2, 0), ('sep_conv_5x5', 2, 1), ('max_pool_3x3', 4, 0), ('sep_conv_3x3', 5, 0)], "
    "normal_concat=range(2, 6), reduce=[('max_pool_3x3', 2, 0)], reduce_concat=range(2, 6))"
)


@pytest.mark.parametrize(
    "text",
    [
        f"Genotype(reduce_concat=[2, 3], reduce={FOUR}, normal={FOUR}, normal_concat=range(2, 4))",
        f"{{'normal': {WEIGHTED}, 'normal_concat': [2, 3], 'reduce': {WEIGHTED}, 'reduce_concat': [2, 3]}}",
        json.dumps({"normal": [FOUR[:2], FOUR[2:]], "reduce": FOUR}),
        AUTODL,
        f"04/02 02:33:17 PM genotype = {PLAIN}",
        f"\x1b[1mgenotype\x1b[0m: {PLAIN.replace('Genotype', chr(27) + '[35mGenotype' + chr(27) + '[0m')} #",
        json.dumps({"genotype": json.loads(parse_darts(PLAIN).to_json()), "architecture": PLAIN}),
    ],
    ids=["fields reordered", "AutoDL-Projects' mapping", "JSON", "AutoDL-Projects", "a line", "colours", "a report"],
)
def test_forms_of_other_programs_are_the_same_architecture(text: str) -> None:
    assert parse_darts(PLAIN) == read_genotype(PLAIN, SPACES["darts"])[0]
    assert read_genotype(text, SPACES["darts"])[0] == parse_darts(PLAIN)


def test_fair_darts_names_the_node_before_the_input_and_puts_together_the_nodes_there_are() -> None:
    genotype = parse_darts(FAIR)
    assert genotype.cells["normal"] == (
        Choice("sep_conv_3x3", 0, 2),
        Choice("sep_conv_5x5", 1, 2),
        Choice("max_pool_3x3", 0, 4),
        Choice("sep_conv_3x3", 0, 5),
    )
    assert genotype.output_nodes("normal") == (2, 4, 5)
    with pytest.raises(UserError, match=r"inputs at nodes \[0, 1, 4, 0\]"):  # in two orders
        parse_darts(FAIR.replace("('max_pool_3x3', 4, 0)", "('max_pool_3x3', 0, 4)"))


@pytest.mark.parametrize("name", ["DARTS_V1", "DARTS_V2", "NASNet", "PC_DARTS_cifar", "DrNAS_cifar10"])
def test_what_is_printed_for_a_published_architecture_is_read_as_its_name_is(name: str) -> None:
    space = SPACES["darts"]
    named = space.parse(name)
    for text in (str(named), f"genotype = {named}", named.to_json(), f"{name}\n"):
        assert read_genotype(text, space)[0] == named


def test_the_last_architecture_of_a_log_is_taken_and_its_line_said() -> None:
    log = "\n".join(f"04/02 epoch {epoch}\n04/02 genotype = {text}" for epoch, text in enumerate((V1, NASNET, V2)))
    found, where = read_genotype(log, SPACES["darts"], "a.log")
    assert (str(found), where) == (V2, "line 6 of a.log, the last of 3 architectures")
    text = f"ep 0 {DISTINCT_STRING}\nStructure(4 nodes with {DISTINCT_STRING.replace('none', 'nor_conv_3x3')})\n"
    found, where = read_genotype(text, SPACES["nb201"], "b.log")
    assert str(found) == DISTINCT_STRING.replace("none", "nor_conv_3x3")
    assert where.startswith("line 2 of b.log")


def test_the_last_of_a_python_file_is_named() -> None:
    text = f"Genotype = namedtuple('Genotype', 'normal')\nclass Genotype(NamedTuple):\n  pass\nA = {V1}\n{AUTODL}\nB = GDAS"
    found, where = read_genotype(text, SPACES["darts"], "genotypes.py")
    assert found == parse_darts(PLAIN)
    assert where == "line 5 of genotypes.py (GDAS), the last of 2 architectures"


def test_a_log_of_p_darts_ends_with_another_architecture_than_its_result() -> None:
    log = f"Number of skip-connect: 2\n1 {V1}\nNumber of skip-connect: 0\n04/02 {V2}\n"
    assert "P-DARTS' for 0 skip connections; its authors take the one for 2" in read_genotype(log, SPACES["darts"])[1]


def test_the_panel_of_a_narrow_terminal_is_read() -> None:
    folded = f"│ {DISTINCT_STRING[:70]} │\n│ {DISTINCT_STRING[70:]}   │\n"
    assert str(read_genotype(folded, SPACES["nb201"])[0]) == DISTINCT_STRING


def test_an_index_is_the_official_one() -> None:
    """The three that the benchmark's own program asserts."""
    official = {
        0: "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
        9: "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
        123: "|avg_pool_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|",
    }
    assert {index: str(read_nb201(str(index))) for index in official} == official
    assert len({read_nb201(str(index)) for index in range(15_625)}) == 15_625


@pytest.mark.parametrize(
    ("space", "text", "sentence"),
    [
        ("darts", f"a\n{V1}\ngenotype = {V2[:-40]}\nnext", "line 3 of genotype, the last of 2 .*: nothing closes its"),
        ("darts", f"{V1}\n{V2.replace('sep_conv_3x3', 'sage', 1)}", "line 2 of genotype, .*the unknown operation 'sage'"),
        ("darts", DISTINCT_STRING, "is an architecture of NAS-Bench-201: set space=nb201"),
        ("darts", V2.replace("reduce=", "reduce_x="), "has the part reduce_x"),
        ("darts", f"Genotype(normal={FOUR}, normal_concat=range(2, 4))", "lacks the part 'reduce'"),
        ("darts", f"Genotype({FOUR}, range(2, 4), {FOUR}, range(2, 4))", "no Genotype\\(...\\) with named parts"),
        ("darts", '{"normal/op_2_0": "sep_conv_3x3", "normal/input_2": [0, 1]}', "an export of NNI"),
        ("darts", "{'NetworkSelectorDatasetInfo:darts:edge_normal_0': 'x'}", "NAS-Bench-301"),
        ("darts", "0 2 0 0 0 4 0 1 0 4 1 1", "a sequence of numbers, as of ENAS, NAO or NASLib"),
        ("darts", parse_nb201(DISTINCT_STRING).to_json(), "set space=nb201"),
        ("darts", DARTS.to_json()[:-20], "is no whole genotype.json"),
        ("nb201", "[4, 0, 3, 1, 4, 3]", "a sequence of numbers, as of ENAS, NAO or NASLib"),
        ("nb201", "DARTS_V2", "set space=darts"),
        ("nb201", V2, "set space=darts"),
        ("nb201", f"epoch\n{V2}", "line 2 of genotype: .*set space=darts"),
        ("nb201", f"{DISTINCT_STRING}\n{DISTINCT_STRING[:60]}", "line 2 of genotype, .*no architecture of NAS-Bench-201"),
        ("nb201", "15625", "no architecture 15625; give an index from 0 to 15624"),
        ("nb201", "64:64:64:32:16", "NATS-Bench's size space"),
        ("nb201", "x" * 70_000, "no architecture"),
    ],
)  # fmt: skip
def test_forms_that_are_not_read_are_refused_by_name_in_one_sentence(space: str, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as error:
        read_genotype(text, SPACES[space])
    one_sentence(error)


def test_nothing_in_a_log_is_run_and_a_huge_one_is_read_within_a_second() -> None:
    log = f"{'x' * 99}|a~0|a~0\n" * 60_000 + V1 + "\n" + "04/02 train 001 2.3 10.0\n" * 60_000
    start = time.process_time()
    assert str(read_genotype(log, SPACES["darts"])[0]) == V1
    assert time.process_time() - start < 2
    with pytest.raises(UserError, match="form Genotype"):
        read_genotype("a\nGenotype(normal=__import__('os').abort(), reduce=[])", SPACES["darts"])
