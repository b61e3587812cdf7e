"""Budgets: costs by operation, the penalty of a search, and networks that are made to fit."""

import itertools
import json
import math

import pytest
import torch
from omegaconf import OmegaConf

import nas_lightning
import nas_lightning.app.budget as budgets
from nas_lightning.app.budget import Budget
from nas_lightning.app.evaluate import evaluate
from nas_lightning.app.job import Job
from nas_lightning.costs import budget_sentence, nb201_cost
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.penalties import BetaDecay, ExpectedCost, Penalties
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.training.cost import network_cost
from nas_lightning.training.operation_costs import OperationCosts, covering, operation_costs
from tests import hostile
from tests.conftest import composed
from tests.test_penalties import leaves, view_of
from tests.test_search import interrupt, rows

SPACES = {
    "nb201": NB201(C=4, N=2),
    "photos": NB201(C=4, N=1, stem="imagenet", none=False),
    "darts": DARTS(C=4, num_cells=5, none=True, auxiliary_head=True),
    "s1": DARTS(C=4, num_cells=4, candidates="s1", stem="imagenet"),
    "s3": DARTS(C=4, num_cells=3, candidates="s3", pool_norm=True),
}
SIDES = {"photos": 64, "s1": 64}


def cost_of(space, side, kinds=("params", "macs"), limit=1.0, weight=1.0):
    costs = operation_costs(space, 10, side, kinds)
    fixed = {kind: each.fixed / limit for kind, each in costs.items()}
    return ExpectedCost(space.cells, fixed, {kind: each.divided(limit) for kind, each in costs.items()}, weight)


def drawn(space, seed):
    return space.baselines(torch.Generator().manual_seed(seed))["random"]


# --- what operations cost


@pytest.mark.parametrize("name", SPACES)
def test_the_costs_of_operations_add_up_to_the_networks(name):
    space, side = SPACES[name], SIDES.get(name, 32)
    cost = cost_of(space, side)
    for seed in range(4):
        whole = network_cost(space, genotype := drawn(space, seed), 10, side)
        assert cost.of(genotype) == pytest.approx({"params": whole.params, "macs": whole.macs}, rel=1e-6)


@pytest.mark.parametrize("name", SPACES)
def test_every_candidate_is_measured_on_every_edge_in_few_architectures(name):
    space = SPACES[name]
    architectures = list(covering(space))
    for genotype in architectures:
        space.check(genotype, "here")
    for cell, spec in space.cells.items():
        candidates = {
            Choice(operation, *edge)
            for edge, row in zip(spec.edges, spec.candidates, strict=True)
            for operation, may in zip(spec.operations, row, strict=True)
            if may and operation != "none"
        }
        assert {choice for each in architectures for choice in each.cells[cell]} >= candidates
    assert len(architectures) <= 20


def test_milliseconds_are_those_of_the_network_to_some_percent():
    """Medians of a machine that does other things too: the network of convolutions takes several times that of none."""
    space = NB201(C=32, N=2)
    cost = cost_of(space, 32, ("latency_ms",))
    empty, full = (
        cost.of(Genotype("nb201", {"cell": tuple(Choice(name, *edge) for edge in space.cells["cell"].edges)}))[
            "latency_ms"
        ]
        for name in ("none", "nor_conv_3x3")
    )
    assert 0 < 2 * empty < full


def test_a_network_that_names_no_operations_is_refused():
    class Silent(NB201):
        def network(self, genotype, num_classes):
            return torch.nn.Sequential(super().network(genotype, num_classes))

    with pytest.raises(
        UserError, match="Sequential, the network of the space nb201, does not say which of its modules"
    ):
        operation_costs(Silent(C=4, N=1), 10, 8, ("params",))


# --- what a search is expected to cost


def test_the_expected_cost_is_the_mean_over_all_architectures():
    """Each of the 15,625, by its own cost in the table's arithmetic."""
    space = NB201(C=4, N=1)
    spec = space.cells["cell"]
    alphas, edges = leaves(space.cells, seed=3)
    beta = torch.softmax(alphas["cell"] / 0.7, -1).tolist()
    mean = 0.0
    for picked in itertools.product(range(5), repeat=6):
        choices = tuple(Choice(spec.operations[o], *edge) for o, edge in zip(picked, spec.edges, strict=True))
        share = math.prod(beta[e][o] for e, o in enumerate(picked))
        mean += share * nb201_cost(Genotype("nb201", {"cell": choices}), 4, 1, 10, 8).macs
    expected = cost_of(space, 8, ("macs",)).double().expected(view_of(space.cells, alphas, edges))
    assert expected.item() == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("gone", [(), (2, 4, 5)], ids=["all", "decided"])
@pytest.mark.parametrize("edge_weights", [False, True])
def test_an_edge_counts_as_often_as_a_node_keeps_it(edge_weights, gone):
    """gone: edges that a decision has taken away, as SGAS does; edge 0 has one operation left then."""
    space = DARTS(C=4, num_cells=3, edge_weights=edge_weights)
    cost = cost_of(space, 8, ("params",)).double()
    alphas, edges = leaves(space.cells)
    masks = {name: spec.mask_EO.clone() for name, spec in space.cells.items()}
    for mask_EO in masks.values():
        mask_EO[list(gone)] = False
        mask_EO[0, 1:] = not gone
    total = cost.fixed_K.item()
    for name, spec in space.cells.items():
        for node in range(2, 6):
            incoming = [e for e, (_, target) in enumerate(spec.edges) if target == node and e not in gone]
            weights = torch.softmax(torch.stack([edges[name][e] for e in incoming]), 0) if edge_weights else None
            for place, e in enumerate(incoming):
                kept = min(1.0, 2 / len(incoming) if weights is None else 2 * weights[place].item())
                beta = torch.softmax(alphas[name][e, masks[name][e]] / 0.7, -1)
                total += kept * (beta * cost.get_buffer(f"share_{name}")[0, e, masks[name][e]]).sum().item()
    assert cost.expected(view_of(space.cells, alphas, edges, masks)).item() == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 1e-4])
@pytest.mark.parametrize(("share", "is_beyond"), [(0.8, True), (1.2, False)])
def test_alpha_moves_where_the_budget_is_exceeded_and_at_any_temperature(temperature, share, is_beyond):
    space = NB201(C=4, N=1)
    alphas, edges = leaves(space.cells)
    view = view_of(space.cells, alphas, edges, temperature=temperature)
    whole = cost_of(space, 8, ("params",)).double()
    picked = alphas["cell"].argmax(-1)  # what is derived, not what is expected
    limit = share * (whole.fixed_K + whole.get_buffer("share_cell")[0, range(6), picked].sum()).item()
    cost = cost_of(space, 8, ("params",), limit, weight=3.0).double()
    term = cost(view, torch.tensor(0.5))
    (gradient,) = torch.autograd.grad(term, alphas["cell"])
    assert term.item() == pytest.approx(3.0 * max(0.0, 1 / share - 1), rel=1e-5)
    beta = torch.softmax(alphas["cell"], -1)
    (slow,) = torch.autograd.grad((beta * cost.get_buffer("share_cell")[0]).sum(), alphas["cell"])
    assert torch.allclose(gradient, 3.0 * slow if is_beyond else torch.zeros_like(slow), rtol=1e-9, atol=0)


def test_an_undecided_beta_that_would_be_derived_within_the_budget_is_left_alone():
    """To lower its E[cost] would take all operations away."""
    space = NB201(C=4, N=1)
    spec = space.cells["cell"]
    alpha = torch.zeros(6, 5, dtype=torch.float64)
    alpha[:, spec.operations.index("skip_connect")] = 1e-3
    view = view_of(space.cells, {"cell": alpha.requires_grad_()}, {})
    limit = 1.1 * cost_of(space, 8, ("params",)).fixed_K.item()
    cost = cost_of(space, 8, ("params",), limit).double()
    assert cost.expected(view).item() > 1 > cost.likeliest(view).item()
    term = cost(view, torch.tensor(0.5))
    (gradient,) = torch.autograd.grad(term, alpha)
    assert term.item() == 0
    assert not gradient.any()


def test_the_likeliest_of_a_node_that_keeps_two_edges_is_no_none():
    space = DARTS(C=4, num_cells=3, none=True)
    alphas, edges = leaves(space.cells)
    with torch.no_grad():
        for name, spec in space.cells.items():
            alphas[name][:, spec.operations.index("none")] = 9
    cost = cost_of(space, 8, ("params",)).double()
    total = cost.fixed_K.item()
    for name, spec in space.cells.items():
        for e, (_, target) in enumerate(spec.edges):
            ranked = sorted(
                (o for o, op in enumerate(spec.operations) if op != "none"), key=lambda o: alphas[name][e, o].item()
            )
            kept = 2 / sum(node == target for _, node in spec.edges)
            total += kept * cost.get_buffer(f"share_{name}")[0, e, ranked[-1]].item()
    assert cost.likeliest(view_of(space.cells, alphas, edges)).item() == pytest.approx(total, rel=1e-6)


def test_penalties_add_up():
    space = NB201(C=4, N=1)
    alphas, edges = leaves(space.cells)
    view, progress = view_of(space.cells, alphas, edges), torch.tensor(0.5)
    cost, decay = cost_of(space, 8, ("params",), 1000.0).double(), BetaDecay()
    both = Penalties(decay, cost)
    assert both(view, progress).item() == pytest.approx((decay(view, progress) + cost(view, progress)).item())
    assert {*both.state_dict()} == {"held.0.fixed_K", "held.0.share_cell"}


# --- a search


def test_a_search_is_steered_below_its_budget(toy):
    settings = ("trainer.max_epochs=12", "arch_optimizer.lr=0.1", "budget.params=6000")
    free, steered = (toy(f"{weight}", *settings, f"budget.weight={weight}") for weight in (0, 10))
    assert free["final"]["derived_params"] > 6000
    assert steered["final"]["derived_params"] <= 6000
    assert steered["budget"]["C"] == 4
    assert steered["final"]["derived_params"] == steered["budget"]["costs"]["params"]
    assert free["budget"]["C"] < 4
    assert free["budget"]["costs"]["params"] <= 6000
    assert steered["method"] == "edd + budget.params=6000"


def test_a_budget_that_is_kept_moves_nothing(toy, tmp_path):
    toy("without")
    toy("within", "budget.params=1e9", "seed=0")
    for plain, within in zip(rows(tmp_path / "without"), rows(tmp_path / "within"), strict=True):
        assert all(within[name] == value for name, value in plain.items())
        assert {*within} - {*plain} == {"derived_params", "expected_params"}


def test_a_search_goes_on_with_the_milliseconds_that_it_measured(toy, tmp_path, monkeypatch):
    settings = ("budget.latency_ms=0.05", "arch_optimizer.lr=0.1")
    clock = itertools.count()

    def measured(space, num_classes, side, kinds):
        """As on a machine that is slower each time it is asked."""
        costs, slower = operation_costs(space, num_classes, side, ("params",))["params"], 1 + next(clock)
        return {"latency_ms": OperationCosts(slower * costs.fixed / 1e6, costs.divided(1e6 / slower))}

    monkeypatch.setattr(budgets, "operation_costs", measured)
    toy("whole", *settings)
    clock = itertools.count()
    with monkeypatch.context() as patched:
        interrupt(patched, epoch=2)
        with pytest.raises(SystemExit):
            toy("resumed", *settings)
    toy("resumed", *settings)
    assert rows(tmp_path / "resumed") == rows(tmp_path / "whole")
    assert {*rows(tmp_path / "whole")[0]} >= {"derived_latency_ms", "expected_latency_ms"}


def test_a_penalty_beside_a_budget_stays(toy):
    report = toy("both", "penalty=beta_decay", "budget.params=9000")
    assert report["method"] == "edd + penalty=beta_decay + budget.params=9000"


def test_the_trained_networks_sizes_are_the_recipes_or_those_that_are_named():
    def sizes(space, family, *overrides):
        config = composed(f"space={space}", "dataset=fake", "budget.params=1e9", *overrides, "run_dir=x")
        budget = budgets.budget_of_search(config, Job({"space": space, "family": family}, []), 10, 32)
        return budget.width, budget.node.get("num_cells", budget.node.get("N"))

    assert sizes("darts", "darts", "space.C=4", "space.num_cells=3") == (36, 20)
    assert sizes("s2", "subspaces", "space.C=4", "space.num_cells=3") == (16, 8)
    assert sizes("nb201", "nb201", "space.C=4", "space.N=1") == (4, 1)
    assert sizes("nb201", "nb201", "budget.space={C:8,N:2}") == (8, 2)


_SOME = "budget.params=1e4"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("budget.params=0",), "budget.params must be a number above 0, or null for no limit, got 0."),
        (("budget.macs=-1",), "budget.macs must be a number above 0"),
        (("budget.latency_ms=true",), "budget.latency_ms must be a number above 0, or null for no limit, got True."),
        (("budget.params=x",), "budget.params must be a number above 0, or null for no limit, got 'x'."),
        (("budget.params=[1]",), "budget.params must be a number above 0"),
        ((_SOME, "budget.weight=-1"), "budget.weight must be a number of at least 0, got -1."),
        ((_SOME, "budget.weight=null"), "budget.weight must be a number of at least 0, got None."),
        ((_SOME, "budget.space=3"), "budget.space must be settings of the trained network, as in {C: 36}, got 3."),
        ((_SOME, "budget.space={channels:8}"), "budget.space.channels is no setting of the space; there is C, N,"),
        ((_SOME, "budget.space={C:x}"), "budget: nas_lightning.spaces.NB201 has no width C"),
        ((_SOME, "budget.space={N:0}"), "space.N must be a whole number of at least 1, got 0"),
        (("budget.params=10",), r"budget.params=10 cannot be met: what all networks of this space share has [\d,]+ param"),
        (("budget.latency_ms=1e-9",), r"budget.latency_ms=1e-09 cannot be met: .* ms for an image with C=2"),
        ((_SOME, "bilevel=fixed"), "penalty or budget, a term of alpha's loss, cannot be had with a bilevel"),
        (("budget.weight=x",), "budget.weight must be a number of at least 0, got 'x'."),
        (("budget=null",), "budget must hold limits, as in budget.params=1e6, got None"),
    ],
)  # fmt: skip
def test_a_budget_that_cannot_be_meant_is_refused_before_the_search(overrides, sentence, toy, tmp_path):
    with pytest.raises(UserError, match=sentence) as raised:
        toy("refused", *overrides)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "refused").exists() or not any((tmp_path / "refused").iterdir())


# --- a training

TRAINED = (
    "dataset=fake", "dataset.image_size=8", "dataset.train_images=16", "dataset.test_images=8", "space.C=8", "space.N=1",
    "trainer.max_epochs=2", "trainer.accelerator=cpu", "data.batch_size=8", "benchmark=none", "baselines=false",
)  # fmt: skip
FOUND = f"genotype='{hostile.ARCHITECTURE}'"


def evaluated(place, *overrides):
    config = composed(*TRAINED, *overrides, f"run_dir={place}", config="evaluate")
    return evaluate(config, Job({"space": "nb201", "dataset": "fake", "recipe": "nb201"}, list(overrides)))


def cost(width):
    return network_cost(NB201(C=width, N=1), nas_lightning.spaces.NB201().parse(hostile.ARCHITECTURE), 10, 8)


@pytest.mark.parametrize("kind", ["params", "macs"])
def test_a_network_is_made_as_wide_as_its_budget_allows(kind, tmp_path, capsys):
    limit = getattr(cost(6), kind) + 1
    report = evaluated(tmp_path / "a", FOUND, "train=true", f"budget.{kind}={limit}")
    assert report["budget"] == {"limits": {kind: limit}, "costs": {kind: limit - 1}, "C": 6, "C_asked": 8}
    assert report[kind] == limit - 1
    assert report["config"]["space"]["C"] == 6
    assert sum(each.numel() for each in nas_lightning.load(tmp_path / "a").parameters()) == cost(6).params
    assert f"of {limit:,}, with C=6 instead of 8." in " ".join(capsys.readouterr().out.split())


def test_a_network_within_its_budget_stays_as_it_is(tmp_path):
    report = evaluated(tmp_path / "a", FOUND, "train=true", f"budget.params={cost(8).params}")
    assert report["budget"]["C"] == report["config"]["space"]["C"] == 8


def test_a_training_goes_on_with_the_width_that_it_began_with(tmp_path, monkeypatch):
    """Though the machine is slower by then."""
    limit = 1.0
    speed = iter([1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4, *[1.0] * 20])

    def latencies(networks, side):
        (network,) = networks.values()
        return {"": next(speed) * sum(each.numel() for each in network.parameters())}

    monkeypatch.setattr(budgets, "latencies", latencies)
    asked = FOUND, "train=true", f"budget.latency_ms={limit}"
    with monkeypatch.context() as patched:
        interrupt(patched, epoch=1)
        with pytest.raises(SystemExit):
            evaluated(tmp_path / "a", *asked)
    width = json.loads((tmp_path / "a" / "budget.json").read_text())["C"]
    report = evaluated(tmp_path / "a", *asked)
    assert 1 < width < 8
    assert report["budget"]["C"] == width == report["config"]["space"]["C"]
    evaluated(tmp_path / "a", *asked, "export=torch")
    with pytest.raises(UserError, match=r"holds a finished run with space\.C=8, now it is 7; "):
        evaluated(tmp_path / "a", *asked, "export=torch", "space.C=7")


def test_a_training_within_a_budget_is_found_again(tmp_path, monkeypatch):
    """By a call, as by a sweep, though its network is narrower than what was asked for."""
    monkeypatch.chdir(tmp_path)

    def fitted(**changed):
        asked = {"budget.params": cost(4).params + 1, "baselines": False, "run_dir": "a"}
        return nas_lightning.fit(hostile.ARCHITECTURE, *TRAINED[:-1], quiet=True, **{**asked, **changed})

    first = fitted()
    assert first.report["budget"]["C"] == 4 < first.report["budget"]["C_asked"]
    assert fitted().report == first.report
    with pytest.raises(UserError, match=r"holds a finished run with budget\.params="):
        fitted(**{"budget.params": cost(2).params})


def test_an_architecture_that_fits_at_no_width_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"budget.macs=1000 cannot be met: the found architecture has [\d,]+ multiply-adds"
    ):
        evaluated(tmp_path / "a", FOUND, "train=true", "budget.macs=1000")
    assert not (tmp_path / "a").exists()


def test_a_network_of_the_least_width_is_refused_too(tmp_path):
    with pytest.raises(
        UserError, match=r"budget.macs=0.5 cannot be met: the found architecture has [\d,]+ multiply-adds"
    ):
        evaluated(tmp_path / "a", FOUND, "train=true", "budget.macs=0.5", "space.C=2")


def test_the_searchs_budget_is_the_trainings_unless_it_has_one(toy, tmp_path):
    limit = cost(4).params
    toy("search", f"budget.params={limit}", "budget.weight=0", "trainer.max_epochs=1")
    run = f"run={tmp_path / 'search'}"
    report = evaluated(tmp_path / "a", run, "train=true")
    assert report["budget"]["limits"] == {"params": limit}
    card = (tmp_path / "a" / "MODEL_CARD.md").read_text()
    assert f"| budget | {budget_sentence(report['budget'])} |\n" in card
    assert report["params"] <= limit
    report = evaluated(tmp_path / "b", run, "train=true", "budget.macs=1e9")
    assert report["budget"]["limits"] == {"macs": 1e9}
    assert report["config"]["space"]["C"] == 8
    report = evaluated(tmp_path / "d", run, "train=true", "budget.params=null")
    assert "budget" not in report
    report = evaluated(tmp_path / "c", run)  # nothing is trained: nothing is made narrower
    assert report["config"]["space"]["C"] == 8


def test_a_budget_in_words():
    record = {
        "limits": {"params": 2e3, "latency_ms": 1.5},
        "costs": {"params": 1234, "latency_ms": 1.25},
        "C": 6,
        "C_asked": 8,
    }
    assert budget_sentence(record) == "1,234 parameters of 2,000, 1.25 ms for an image of 1.50, with C=6 instead of 8"
    assert budget_sentence(record | {"C": 2, "costs": {"params": 3e3, "latency_ms": 1}}).endswith(
        "with C=2 instead of 8 and still beyond it"
    )
    assert budget_sentence(record | {"C": 8, "costs": {"params": 3e3, "latency_ms": 1}}).endswith(
        "of 1.50, with C=8 and beyond it"
    )


def test_other_networks_beyond_the_budget_are_named(tmp_path, capsys):
    evaluated(
        tmp_path / "a", FOUND, "train=true", "budget.params=1e5", "baselines=[squeezenet1_1]", "dataset.image_size=32"
    )
    assert "squeezenet1_1 is beyond the budget: 727,626 parameters." in " ".join(capsys.readouterr().out.split())


def test_no_width_no_budget():
    node = OmegaConf.create({"_target_": "mine.Space"})
    with pytest.raises(UserError, match=r"budget: mine\.Space has no width C"):
        Budget.of({"params": 1}, node, 10, 8)
    assert Budget.of({"params": None}, node, 10, 8) is None
