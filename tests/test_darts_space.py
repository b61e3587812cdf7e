"""The DARTS space's architectures: their text, the derive rules, what is refused."""

import json

import pytest
import torch

from nas_lightning.derive import Exact, Probabilities
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.genotypes.darts import parse_darts
from nas_lightning.spaces import DARTS
from nas_lightning.spaces.darts.space import EDGES
from tests.conftest import derive

NORMAL = (
    "('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)"
)
TEXT = f"Genotype(normal=[{NORMAL}], normal_concat=range(2, 6), reduce=[{NORMAL}], reduce_concat=[2, 3, 4, 5])"
PUBLISHED = ("DARTS_V1", "DARTS_V2", "NASNet", "PC_DARTS_cifar", "DrNAS_cifar10")


def logits(space):
    """Those that the derive examples were computed with, by running each repository's program."""
    e = torch.arange(14.0)[:, None]
    o = torch.arange(float(len(space.cells["normal"].operations)))
    return {"normal": 0.1 * torch.cos(7 * e + 3 * o), "reduce": 0.1 * torch.sin(5 * e + 2 * o)}


def compact(genotype):
    return tuple(" ".join(f"{c.operation}@{c.source}" for c in genotype.cells[cell]) for cell in ("normal", "reduce"))


def test_darts_rule_equals_quark0s_program():
    space = DARTS(none=True)
    assert compact(derive(space, logits(space), rule=Probabilities())) == (
        "dil_conv_3x3@1 avg_pool_3x3@0 max_pool_3x3@2 dil_conv_3x3@0 skip_connect@0 dil_conv_5x5@1 dil_conv_3x3@1 "
        "max_pool_3x3@4",
        "dil_conv_5x5@0 max_pool_3x3@1 avg_pool_3x3@0 dil_conv_3x3@1 avg_pool_3x3@2 dil_conv_3x3@3 avg_pool_3x3@3 "
        "dil_conv_3x3@4",
    )


@pytest.mark.parametrize("rule", [Probabilities(), Exact()])
def test_edge_weights_count_as_in_pc_darts_program(rule):
    space = DARTS(none=True, edge_weights=True)
    e = torch.arange(14.0)
    edges = {"normal": torch.cos(2 * e), "reduce": torch.sin(3 * e)}
    assert compact(derive(space, logits(space), edges=edges, rule=rule)) == (
        "avg_pool_3x3@0 dil_conv_3x3@1 max_pool_3x3@1 max_pool_3x3@2 dil_conv_5x5@1 dil_conv_5x5@2 avg_pool_3x3@0 "
        "max_pool_3x3@4",
        "max_pool_3x3@1 dil_conv_5x5@0 dil_conv_3x3@1 avg_pool_3x3@0 avg_pool_3x3@2 sep_conv_3x3@0 sep_conv_5x5@2 "
        "dil_conv_3x3@4",
    )


@pytest.mark.parametrize(
    ("temperature", "normal", "reduce"),
    [
        (
            1,
            "max_pool_3x3@0 sep_conv_5x5@1 avg_pool_3x3@2 dil_conv_5x5@0 sep_conv_3x3@0 dil_conv_3x3@1 avg_pool_3x3@4 "
            "dil_conv_5x5@1",
            "sep_conv_5x5@0 avg_pool_3x3@1 skip_connect@0 dil_conv_5x5@1 avg_pool_3x3@0 skip_connect@2 avg_pool_3x3@1 "
            "dil_conv_3x3@2",
        ),
        (
            0.01,
            "max_pool_3x3@0 dil_conv_5x5@1 dil_conv_5x5@0 avg_pool_3x3@2 max_pool_3x3@3 dil_conv_3x3@1 avg_pool_3x3@3 "
            "dil_conv_5x5@2",
            "sep_conv_5x5@0 avg_pool_3x3@1 max_pool_3x3@2 dil_conv_5x5@1 dil_conv_3x3@1 skip_connect@2 dil_conv_3x3@2 "
            "max_pool_3x3@0",
        ),
        (
            0.001,
            "max_pool_3x3@0 dil_conv_5x5@1 dil_conv_5x5@0 avg_pool_3x3@1 dil_conv_3x3@1 dil_conv_3x3@2 dil_conv_5x5@2 "
            "avg_pool_3x3@3",
            "sep_conv_5x5@0 avg_pool_3x3@1 skip_connect@0 dil_conv_5x5@1 dil_conv_3x3@1 skip_connect@2 max_pool_3x3@0 "
            "dil_conv_3x3@2",
        ),
    ],
)
def test_rounded_rule_equals_the_edd_authors_program(temperature, normal, reduce):
    space, rule = DARTS(), Probabilities(tempered=True, decimals=3)
    assert compact(derive(space, logits(space), temperature, rule=rule)) == (normal, reduce)


@pytest.mark.parametrize(
    ("candidates", "temperature", "normal", "reduce"),
    [
        (
            "s2",
            0.01,
            "skip_connect@0 skip_connect@1 sep_conv_3x3@1 sep_conv_3x3@2 sep_conv_3x3@0 sep_conv_3x3@1 skip_connect@0 "
            "skip_connect@1",
            "sep_conv_3x3@0 sep_conv_3x3@1 skip_connect@1 skip_connect@2 sep_conv_3x3@0 sep_conv_3x3@1 sep_conv_3x3@1 "
            "sep_conv_3x3@2",
        ),
        (
            "s3",
            0.001,
            "sep_conv_3x3@1 sep_conv_3x3@0 sep_conv_3x3@0 skip_connect@1 skip_connect@0 skip_connect@1 sep_conv_3x3@1 "
            "sep_conv_3x3@2",
            "skip_connect@0 skip_connect@1 sep_conv_3x3@0 sep_conv_3x3@1 skip_connect@0 sep_conv_3x3@2 skip_connect@1 "
            "sep_conv_3x3@2",
        ),
    ],
)
def test_rounded_rule_for_subspaces_equals_the_edd_authors_program(candidates, temperature, normal, reduce):
    space, rule = DARTS(candidates=candidates), Probabilities(tempered=True, decimals=3, op_ties="last")
    assert compact(derive(space, logits(space), temperature, rule=rule)) == (normal, reduce)


def test_exact_rule_equals_darts_at_temperature_1():
    space = DARTS(none=True)
    assert derive(space, logits(space), rule=Exact()) == derive(space, logits(space), rule=Probabilities())


def test_exact_rule_ranks_edges_that_are_all_saturated():
    """At t=1e-5 every edge's best beta is 1 in any float; the gap to the other operations still decides."""
    alpha = torch.zeros(14, 7)
    for edge in range(14):
        alpha[edge, 3] = 0.1 + 0.01 * edge  # the last inputs are the surest
    assert compact(derive(DARTS(), {"normal": alpha, "reduce": alpha}, 1e-5))[0] == " ".join(
        f"sep_conv_3x3@{source}" for target in range(2, 6) for source in (target - 1, target - 2)
    )


def test_none_is_in_the_softmax_but_never_derived():
    """Edge 2 <- 0 is sure of `none`, so of the inputs 0, 1, 2 of node 3 it is the sure ones that win."""
    space = DARTS(candidates="s3")
    alpha = torch.zeros(14, 3)
    alpha[2, 0] = 5.0
    alpha[2, 1] = 1.0
    normal = compact(derive(space, {"normal": alpha, "reduce": alpha}))[0].split()
    assert normal[2:4] == ["skip_connect@1", "skip_connect@2"]
    assert "none" not in " ".join(normal)


def test_the_last_of_tied_operations_wins_where_asked():
    alphas = dict.fromkeys(("normal", "reduce"), torch.zeros(14, 2))
    for ties, operation in (("first", "skip_connect"), ("last", "sep_conv_3x3")):
        rule = Probabilities(tempered=True, decimals=3, op_ties=ties)
        nodes = " ".join(f"{operation}@0 {operation}@1" for _ in range(4))
        assert compact(derive(DARTS(candidates="s2"), alphas, 0.001, rule=rule)) == (nodes, nodes)


def test_subspaces_have_the_published_candidates():
    s1 = DARTS(candidates="s1").cells
    rows = {
        cell: ["+".join(n for n, may in zip(spec.operations, row, strict=True) if may) for row in spec.candidates]
        for cell, spec in s1.items()
    }
    assert rows["normal"][5] == "max_pool_3x3+skip_connect"
    assert rows["normal"][13] == "dil_conv_3x3+dil_conv_5x5"
    assert rows["reduce"][1] == "max_pool_3x3+dil_conv_3x3"
    assert all(sum(row) == 2 for spec in s1.values() for row in spec.candidates)
    for name, operations in (
        ("s2", ("skip_connect", "sep_conv_3x3")),
        ("s3", ("none", "skip_connect", "sep_conv_3x3")),
        ("s4", ("noise", "sep_conv_3x3")),
    ):
        for spec in DARTS(candidates=name).cells.values():
            assert spec.operations == operations
            assert spec.mask_EO.all()
    assert len(DARTS(none=True).cells["normal"].operations) == 1 + len(DARTS().cells["normal"].operations) == 8
    assert EDGES[:5] == ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


@pytest.mark.parametrize("candidates", ["darts", "s1", "s2", "s3", "s4"])
def test_random_architectures_are_of_their_space_and_reach_all_of_it(candidates):
    space = DARTS(candidates=candidates)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(300):
        genotype = space.baselines(generator)["random"]
        space.check(genotype, "random")
        seen |= {(cell, *vars(c).values()) for cell, choices in genotype.cells.items() for c in choices}
    spec = space.cells
    assert len(seen) == sum(
        may and name != "none"
        for cell in spec.values()
        for row in cell.candidates
        for name, may in zip(cell.operations, row, strict=True)
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_text_and_json_give_the_architecture_back(name):
    genotype = DARTS().parse(name)
    assert parse_darts(str(genotype)) == genotype
    assert hash(parse_darts(str(genotype))) == hash(genotype)
    assert Genotype.from_json(genotype.to_json()) == genotype


def test_concat_is_read_from_range_and_list_and_kept_only_where_it_is_not_all_nodes():
    assert DARTS().parse(TEXT).concat == {}
    assert str(DARTS().parse(TEXT)) == TEXT.replace("[2, 3, 4, 5]", "range(2, 6)")
    nasnet = DARTS().parse("NASNet")
    assert nasnet.concat == {"reduce": (4, 5, 6)}
    assert nasnet.output_nodes("normal") == (2, 3, 4, 5, 6)
    some = DARTS().parse(TEXT.replace("[2, 3, 4, 5]", "[3, 5]"))
    assert some.output_nodes("reduce") == (3, 5)
    assert "reduce_concat=[3, 5]" in str(some)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("sep_conv_3x3', 0", "sep_conv_9x9', 0"), "unknown operation 'sep_conv_9x9'"),
        (("sep_conv_3x3', 0", "sep_conv_7x7', 0"), "'sep_conv_7x7' on input 0 of node 2"),
        (("sep_conv_3x3', 0", "none', 0"), "unknown operation 'none'"),
        (("dil_conv_3x3', 2", "dil_conv_3x3', 5"), "input 5 into node 5"),
        (("dil_conv_3x3', 2", "dil_conv_3x3', -1"), "input -1 into node 5"),
        (("('dil_conv_3x3', 2)", ""), "two a node"),
        (("[2, 3, 4, 5]", "[2, 7]"), "puts the nodes \\[2, 7\\]"),
        (("[2, 3, 4, 5]", "range(9**9)"), "form Genotype"),
        (("[2, 3, 4, 5]", "range(0, 99999999999)"), "no range of nodes"),
        (("reduce=", "reduced="), "the part reduced"),
        (("reduce=[", "reduce=print('x') or ["), "form Genotype"),
        (("'sep_conv_3x3', 0", "__import__('os').name, 0"), "form Genotype"),
        ((TEXT, "DARTS_V3"), "neither the name of a published architecture"),
        ((TEXT, ""), "neither the name"),
        ((TEXT, "|nor_conv_3x3~0|"), "neither the name"),
    ],
)
def test_what_is_no_architecture_of_the_space_is_one_sentence(change, sentence):
    with pytest.raises(UserError, match=sentence) as raised:
        DARTS().parse(TEXT.replace(*change))
    assert "\n" not in str(raised.value)


def test_nothing_in_a_text_is_ever_run(capsys):
    with pytest.raises(UserError):
        DARTS().parse("Genotype(normal=print('ran'), reduce=[])")
    assert capsys.readouterr().out == ""


def test_subspaces_refuse_other_operations_but_take_published_architectures_for_comparison():
    with pytest.raises(
        UserError, match=r"'dil_conv_3x3' on input 2 of node 5 of the normal cell, where space.candidates=s2"
    ):
        DARTS(candidates="s2").parse(TEXT)
    assert DARTS(candidates="s2").parse("DARTS_V1") == DARTS().parse("DARTS_V1")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"C": 6, "partial": 4}, "divisible by space.partial=4"),
        ({"C": 7}, "must be even"),
        ({"C": 0}, "space.C must be"),
        ({"num_cells": 2}, "space.num_cells must be"),
        ({"candidates": "s5"}, "space.candidates must be"),
        ({"candidates": "s2", "none": True}, "space.none=true adds"),
        ({"stem": "svhn"}, "space.stem must be"),
        ({"auxiliary_head": "yes"}, "space.auxiliary_head must be"),
    ],
)
def test_nonsense_settings_are_one_sentence(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        DARTS(**settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"tempered": "no"}, "derive.tempered must be"),
        ({"decimals": "three"}, "derive.decimals must be"),
        ({"decimals": -1}, "derive.decimals must be"),
        ({"op_ties": "middle"}, "derive.op_ties must be"),
    ],
)
def test_nonsense_settings_of_a_rule_are_one_sentence(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        Probabilities(**settings)


def test_a_genotype_file_with_missing_cells_is_one_sentence():
    genotype = Genotype.from_json(json.dumps({"space": "darts", "cells": {"normal": [["noise", 0, 2]]}}))
    with pytest.raises(UserError, match="it must have normal and reduce"):
        DARTS().check(genotype, "x.json")
