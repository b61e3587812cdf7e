"""Fair-DARTS: independent weights, their regulariser, the threshold, and architectures whose nodes have fewer inputs."""

import copy

import pytest
import torch
import torch.nn.functional as F

from nas_lightning.derive import Threshold
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.genotypes.darts import parse_darts
from nas_lightning.penalties import ZeroOne
from nas_lightning.relaxations import Sigmoid
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.supernet import HalfSteps
from nas_lightning.supernet.architecture import Architecture
from speed.reference import ReferenceSupernet
from tests.conftest import view_of

RULE = Threshold(0.85, at_most=2)
FEWER = Genotype(
    "darts",
    {
        "normal": (Choice("sep_conv_3x3", 0, 2), Choice("skip_connect", 2, 4), Choice("dil_conv_3x3", 1, 4)),
        "reduce": (Choice("max_pool_3x3", 1, 5),),
    },
)
TEXT = (
    "Genotype(normal=[('sep_conv_3x3', 0, 2), ('skip_connect', 2, 4), ('dil_conv_3x3', 1, 4)], normal_concat=[2, 4], "
    "reduce=[('max_pool_3x3', 1, 5)], reduce_concat=range(5, 6))"
)


def derived_cell(space, alpha, rule=RULE):
    cell = next(iter(space.cells))
    return rule(view_of(space, {cell: alpha.double()}, relaxation=Sigmoid())[cell])


def logit(p):
    return torch.logit(torch.tensor(p, dtype=torch.float64))


def test_every_candidate_starts_at_one_half():
    beta = Architecture(NB201(C=4, N=1, none=False).cells, Sigmoid(), torch.Generator()).beta()["cell"]
    assert torch.equal(beta, torch.tensor([[0.0, 0.5, 0.5, 0.5, 0.5]] * 6))


@pytest.mark.parametrize("l1", [False, True])
def test_alphas_step_is_the_textbooks(l1):
    torch.manual_seed(0)
    space = NB201(C=2, N=1, none=False)
    supernet = space.supernet(4).double()
    architecture = Architecture(space.cells, Sigmoid(), torch.Generator()).double()
    alpha = architecture.alpha["cell"]
    alpha.data = torch.randn(6, 5, dtype=torch.float64)
    halves = HalfSteps(architecture, supernet, ZeroOne(10.0, l1))
    x, y = torch.randn(6, 3, 8, 8, dtype=torch.float64), torch.randint(4, (6,))
    loss, _ = halves.loss((x, y), {})
    (ours,) = torch.autograd.grad(loss + halves.penalty_term(), alpha)

    leaf = alpha.detach().clone().requires_grad_()
    beta = 1 / (1 + torch.exp(-leaf))
    reference = ReferenceSupernet(copy.deepcopy(supernet))
    task = F.cross_entropy(reference(x, beta * architecture.mask("cell")), y)
    terms = [beta[e, o] - 0.5 for e in range(6) for o in range(1, 5)]
    zero_one = -sum(abs(term) if l1 else term**2 for term in terms) / len(terms)
    (expected,) = torch.autograd.grad(task + 10 * zero_one, leaf)
    assert torch.allclose(ours, expected, rtol=1e-9, atol=1e-13)


def test_the_regulariser_is_a_mean_over_both_cell_types():
    space = DARTS(C=4, num_cells=3)
    alphas = {"normal": torch.zeros(14, 7), "reduce": torch.full((14, 7), 100.0)}
    view = view_of(space, alphas, relaxation=Sigmoid())
    assert ZeroOne(10.0)(view, torch.tensor(0.3)).item() == pytest.approx(-10 * 0.25 / 2)


def test_the_threshold_is_inclusive_and_two_edges_a_node_are_enough():
    alpha = torch.full((14, 7), -1.0)
    skip, separable = (DARTS().cells["normal"].operations.index(name) for name in ("skip_connect", "sep_conv_3x3"))
    alpha[0, skip], alpha[1, skip] = logit(0.85), logit(0.84)  # node 2
    for edge, p in enumerate((0.9, 0.99, 0.95), start=2):  # node 3 <- 0, 1, 2
        alpha[edge, separable] = logit(p)
    exactly = torch.sigmoid(alpha[0, skip].double()).item()
    assert derived_cell(DARTS(), alpha, Threshold(exactly)) == (
        Choice("skip_connect", 0, 2),
        Choice("sep_conv_3x3", 1, 3),
        Choice("sep_conv_3x3", 2, 3),
    )
    assert derived_cell(DARTS(), alpha, Threshold(0.98)) == (Choice("sep_conv_3x3", 1, 3),)
    assert derived_cell(DARTS(), torch.zeros(14, 7)) == ()


def test_what_leaves_a_node_without_inputs_is_dropped():
    alpha = torch.full((14, 7), -1.0)
    alpha[4, 3] = alpha[11, 3] = 5.0  # 3 <- 2 and 5 <- 2: nothing leads into 2
    alpha[5, 3] = 5.0  # 4 <- 0
    alpha[13, 3] = 6.0  # 5 <- 4
    kept = [(choice.source, choice.target) for choice in derived_cell(DARTS(), alpha)]
    assert kept == [(0, 4), (4, 5)]


def test_on_nas_bench_201_an_edge_below_the_threshold_is_none():
    alpha = torch.zeros(6, 5)
    alpha[4, 3] = 5.0
    names = [choice.operation for choice in derived_cell(NB201(), alpha)]
    assert names == ["none"] * 4 + ["nor_conv_3x3", "none"]


def test_text_and_json_of_nodes_with_fewer_inputs_give_the_architecture_back():
    assert str(FEWER) == TEXT
    assert DARTS().parse(TEXT) == parse_darts(str(FEWER)) == FEWER
    assert Genotype.from_json(FEWER.to_json()) == FEWER


def test_its_network_adds_up_what_there_is():
    torch.manual_seed(0)
    network = DARTS(C=4, num_cells=3).network(FEWER, 10)
    cell = network.cells[0]
    before, last = torch.randn(2, 12, 8, 8), torch.randn(2, 12, 8, 8)
    zero, one = (layer(F.relu(x)) for layer, x in zip(cell.preprocess, (before, last), strict=True))
    separable, _, dilated = cell.edges
    two = separable(F.relu(zero))
    assert torch.equal(cell(before, last), torch.cat([two, two + dilated(F.relu(one))], 1))
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert [cell.output_nodes for cell in network.cells] == [(2, 4), (5,), (5,)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            ("('sep_conv_3x3', 0, 2), ", ""),
            "takes input 2 into node 4 of the normal cell, but nothing leads into node 2",
        ),
        (("1, 4)", "1)"), "no \\(operation, input, node\\) triple"),
        (("1, 4)", "1, 1)"), "at most two a node, for nodes 2, 3, ... in order"),
        (("[2, 4]", "[2, 3]"), "its nodes are 2, 4;"),
        (("[('max_pool_3x3', 1, 5)], reduce_concat=range(5, 6)", "[]"), "keeps no operation in the reduce cell"),
        (("('skip_connect', 2, 4)", "('skip_connect', 0, 4), ('skip_connect', 1, 4)"), "at most two a node"),
    ],
)
def test_what_is_no_architecture_is_one_sentence(change, sentence):
    assert change[0] in TEXT
    with pytest.raises(UserError, match=sentence) as raised:
        DARTS().parse(TEXT.replace(*change))
    assert "\n" not in str(raised.value)


def test_a_cell_that_keeps_nothing_is_found_but_no_network():
    nothing = Genotype("darts", {"normal": (), "reduce": ()})
    DARTS().check(nothing, "it")
    with pytest.raises(UserError, match="keeps no operation in the normal cell"):
        DARTS().network(nothing, 10)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Threshold(0), "derive.at_least must be"),
        (lambda: Threshold(0.5, at_most=0), "derive.at_most must be"),
        (lambda: ZeroOne(-1.0), "penalty.weight must be"),
        (lambda: ZeroOne(l1="yes"), "penalty.l1 must be"),
    ],
)
def test_nonsense_settings_are_one_sentence(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()
