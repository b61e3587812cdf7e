"""What a weight step leaves out is decided on the host, never too boldly."""

import math

import pytest
import torch

from nas_lightning.cells import CellSpec
from nas_lightning.genotypes.nb201 import NB201_EDGES, NB201_OPERATIONS
from nas_lightning.relaxations import SnSoftmax, Softmax
from nas_lightning.supernet.architecture import Architecture
from nas_lightning.supernet.skipping import Skipping, step_bound

FULL = ((True,) * 5,) * 6
SHARP, LEVEL = torch.tensor([[1.0, 0, 0, 0, 0]] * 6), torch.zeros(6, 5)


def make(lag, candidates=FULL, relaxation=None, dense=False):
    """An architecture of one cell with six edges at t = 1e-3, and what decides for it."""
    spec = CellSpec(NB201_EDGES, NB201_OPERATIONS, candidates, (3,))
    architecture = Architecture({"cell": spec}, relaxation or SnSoftmax(second_temperature=1.0), torch.Generator())
    architecture.set_temperature(1e-3)
    skipping = Skipping(architecture, dense, lag=lag)
    return architecture, skipping


def put(architecture, alpha):
    with torch.no_grad():
        architecture.alpha["cell"].copy_(alpha)


def computed(skipping):
    return torch.tensor(skipping.weight_step({})["cell"])


def needed(alpha, temperature=1e-3):
    """Operations of a weight that a float32 sum of weights can feel."""
    return torch.softmax(alpha.double() / temperature, -1) >= 2.0**-24


def adam(alpha):
    return torch.optim.Adam([alpha], lr=1e-3, betas=(0.5, 0.999))


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("order", ["weights_first", "arch_first"])
def test_no_operation_is_missed_while_alpha_moves(lag, order):
    torch.manual_seed(0)
    architecture, skipping = make(lag)
    alpha = architecture.alpha["cell"]
    put(architecture, 0.03 * torch.randn(6, 5))
    optimizer = adam(alpha)
    left_out = revived = 0
    before = needed(alpha.detach())

    def step(pull):
        alpha.grad = pull + torch.randn(6, 5)
        optimizer.step()
        skipping.follow(step_bound(optimizer))

    for _ in range(8):
        skipping.restart(step_bound(optimizer))
        pull = torch.randn(6, 5)
        for _ in range(10):
            if order == "arch_first":
                step(pull)
            now, must = computed(skipping), needed(alpha.detach())
            assert (now | ~must).all()
            left_out += int((~now).sum())
            revived += int((must & ~before).sum())
            if order == "weights_first":
                step(pull)
    assert left_out > 0
    assert revived > 0  # else the test does not test what it is for


def test_the_set_grows_within_an_epoch_and_starts_anew_with_the_next():
    architecture, skipping = make(lag=0)
    put(architecture, SHARP)
    skipping.restart(math.inf)
    first = skipping.key
    assert computed(skipping).sum() == 6
    put(architecture, LEVEL)
    skipping.follow(math.inf)
    assert skipping.key != first
    put(architecture, SHARP)
    skipping.follow(math.inf)
    assert computed(skipping).sum() == 30
    skipping.restart(math.inf)
    assert computed(skipping).sum() == 6


def test_the_key_of_graphs_changes_with_the_set_and_with_the_mask_alone():
    architecture, skipping = make(lag=0)
    put(architecture, SHARP)
    skipping.restart(math.inf)
    key = skipping.key
    skipping.follow(math.inf)
    skipping.restart(math.inf)
    assert skipping.key == key
    architecture.narrow({"cell": torch.tensor([[True, True, False, False, False]] * 6)})
    assert skipping.key != key


def test_what_was_on_its_way_in_one_epoch_counts_for_nothing_in_the_next():
    """A search that is resumed has no such copy, and must compute the same."""
    architecture, skipping = make(lag=1)
    put(architecture, SHARP)
    skipping.restart(0.0)
    put(architecture, LEVEL)
    skipping.follow(0.0)
    put(architecture, SHARP)
    skipping.restart(0.0)
    skipping.follow(0.0)
    assert computed(skipping).sum() == 6


def test_without_a_known_bound_a_device_that_is_behind_computes_all_candidates():
    candidates = ((False, True, True, True, True),) * 6
    architecture, skipping = make(1, candidates)
    put(architecture, SHARP)
    skipping.restart(math.inf)
    assert torch.equal(computed(skipping), torch.tensor(candidates))


def test_share_counts_every_weight_step():
    architecture, skipping = make(lag=0)
    put(architecture, SHARP)
    skipping.restart(0.0)
    assert skipping.share == 1.0
    skipping.count({})
    assert skipping.share == pytest.approx(6 / 30)
    put(architecture, LEVEL)
    skipping.follow(0.0)
    skipping.count({})
    assert skipping.share == pytest.approx(36 / 60)


def test_a_dense_step_computes_every_candidate():
    architecture, skipping = make(lag=0, dense=True)
    put(architecture, SHARP)
    skipping.restart(0.0)
    skipping.follow(0.0)
    assert computed(skipping).all()


def test_an_optimiser_that_knows_its_bound_is_asked():
    class Own(torch.optim.SGD):
        def step_bound(self):
            return 0.25

    assert step_bound(Own([torch.zeros(1, requires_grad=True)], lr=1.0)) == 0.25


@pytest.mark.parametrize("relaxation", [Softmax(), SnSoftmax(scale=100.0)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_support_is_where_the_sum_of_weights_can_feel_an_operation(relaxation, dtype):
    alpha = torch.tensor([[0.0, -0.5, -1.0, -2.0, -3.0, -4.0, -5.0, 0.1]], dtype=dtype)
    mask = torch.tensor([[True] * 7 + [False]])
    support = relaxation.support(alpha, mask, 0.1, 0.0)
    weights = torch.exp(alpha.double() / 0.1)
    expected = (weights >= torch.finfo(dtype).eps / 2) & mask
    assert torch.equal(support, expected)
    assert 0 < expected.sum() < 7
    assert torch.equal(relaxation.support(alpha, mask, 0.1, math.inf), mask)


@pytest.mark.parametrize("drift", [0.01, 0.3])
def test_support_holds_whatever_two_logits_drift_towards_each_other(drift):
    alpha = torch.tensor([[0.0, *(-torch.linspace(0.1, 3, 60)).tolist()]], dtype=torch.float64)
    support = Softmax().support(alpha, torch.ones_like(alpha, dtype=torch.bool), 0.05, drift)
    nearer = alpha + 2 * drift
    nearer[0, 0] = 0.0
    assert torch.equal(support, torch.exp(nearer / 0.05) >= torch.finfo(torch.float64).eps / 2)
    assert 1 < support.sum() < 61


@pytest.mark.parametrize("betas", [(0.5, 0.999), (0.9, 0.999), (0.0, 0.5)])
def test_adam_never_moves_further_than_its_bound(betas):
    """Long silence, then one gradient: Adam's largest step; and random gradients of any size."""
    largest = 0.0
    for weight_decay in (0.0, 1e-3):
        x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([x], lr=1e-2, betas=betas, weight_decay=weight_decay)
        generator = torch.Generator().manual_seed(0)
        for step in range(600):
            before = x.detach().clone()
            x.grad = torch.tensor([float(step == 500), 10 ** float(step // 60), float(step > 500)], dtype=torch.float64)
            x.grad[1] *= torch.randn((), generator=generator)
            optimizer.step()
            moved = (x.detach() - before).abs().max().item()
            assert moved <= step_bound(optimizer) * (1 + 1e-9)
            largest = max(largest, moved)
    assert largest > step_bound(optimizer) / 3  # no idle bound


def test_other_optimisers_have_no_bound():
    x = torch.zeros(1, requires_grad=True)
    decoupled = torch.optim.Adam([x])
    decoupled.param_groups[0]["decoupled_weight_decay"] = True
    overtaken = torch.optim.Adam([x], betas=(0.99, 0.9))
    for optimizer in (torch.optim.SGD([x], lr=0.1), torch.optim.AdamW([x]), decoupled, overtaken):
        assert step_bound(optimizer) == math.inf


def test_search_with_and_without_left_out_operations_is_the_same_search(monkeypatch):
    from tests.test_module import trained

    sparse, _ = trained()
    assert sparse.halves.skipping.share < 0.9
    initialise = Skipping.__init__
    monkeypatch.setattr(
        Skipping, "__init__", lambda self, architecture, dense, **others: initialise(self, architecture, True)
    )
    whole, _ = trained()
    assert whole.halves.skipping.share == 1.0
    for (name, one), other in zip(sparse.state_dict().items(), whole.state_dict().values(), strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-14), name
