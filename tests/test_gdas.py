"""GDAS: one drawn operation an edge, and alpha's gradient as forward_gdas of AutoDL-Projects has it, edge by edge."""

import copy

import pytest
import torch
import torch.nn.functional as F

import speed.reference
import speed.reference_darts
from nas_lightning.bilevel import FirstOrder
from nas_lightning.errors import UserError
from nas_lightning.genotypes.nb201 import NB201_OPERATIONS
from nas_lightning.relaxations import GumbelHard
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.spaces.nb201.bank import StackedConv
from nas_lightning.supernet import HalfSteps
from nas_lightning.supernet.architecture import Architecture
from speed.reference import ReferenceSupernet
from speed.reference_darts import ReferenceDartsSupernet
from tests.conftest import composed

T = 0.7
MODES = ("constant", "zero", "computed")


def search(space, unsampled, seed=0):
    torch.manual_seed(seed)
    supernet = space.supernet(4).double()
    architecture = Architecture(space.cells, GumbelHard(unsampled), torch.Generator()).double()
    architecture.set_temperature(T)
    for alpha in architecture.alpha.values():
        alpha.data = torch.randn(alpha.shape, dtype=torch.float64)
    batch = torch.randn(6, 3, 8, 8, dtype=torch.float64), torch.randint(4, (6,))
    return HalfSteps(architecture, supernet), batch


def straight_through(alpha_EO, noise_EO):
    """The weights as the program writes them."""
    p = torch.softmax((torch.log_softmax(alpha_EO, -1) + noise_EO) / T, -1)
    hard = F.one_hot(p.argmax(-1), p.shape[-1]).to(p)
    return hard - p.detach() + p


def mixed(operations, h_O, x, unsampled):
    """One edge: the chosen operation's output times its weight, and of the others what `unsampled` says."""
    chosen = int(h_O.argmax())
    total = h_O[chosen] * operations[chosen](x)
    for o, operation in operations.items():
        if o != chosen and unsampled != "zero":
            total = total + (h_O[o] if unsampled == "constant" else h_O[o] * operation(x))
    return total


def nb201_reference(supernet, unsampled, monkeypatch):
    def forward(self, x, h_O):
        return mixed({o: self.operations[name] for o, name in enumerate(NB201_OPERATIONS)}, h_O, x, unsampled)

    monkeypatch.setattr(speed.reference.MixedEdge, "forward", forward)
    reference = ReferenceSupernet(copy.deepcopy(supernet))
    return lambda x, h: reference(x, h["cell"])


def darts_reference(supernet, cells, unsampled, monkeypatch):
    def forward(self, x, h_O):
        return mixed(dict(zip(self.columns, self.operations.values(), strict=True)), h_O, x, unsampled)

    monkeypatch.setattr(speed.reference_darts.MixedEdge, "forward", forward)
    return ReferenceDartsSupernet(copy.deepcopy(supernet), cells)


@pytest.mark.parametrize("unsampled", MODES)
@pytest.mark.parametrize("space", [NB201(C=4, N=1), DARTS(C=4, num_cells=3)], ids=["nb201", "darts"])
def test_loss_and_alphas_gradient_are_the_programs(space, unsampled, monkeypatch):
    halves, (x, y) = search(space, unsampled)
    if space.name == "nb201":
        reference = nb201_reference(halves.supernet, unsampled, monkeypatch)
    else:
        reference = darts_reference(halves.supernet, space.cells, unsampled, monkeypatch)
    for seed in range(4):
        drawn = halves.draw(torch.Generator().manual_seed(seed), for_weights=False)
        loss, _, *gradients = FirstOrder().alpha_gradients(halves, {"valid": (x, y)}, drawn, None)
        leaves = {name: alpha.detach().clone().requires_grad_() for name, alpha in halves.architecture.alpha.items()}
        theirs = F.cross_entropy(reference(x, {n: straight_through(a, drawn[n]) for n, a in leaves.items()}), y)
        assert loss.item() == pytest.approx(theirs.item(), rel=1e-12)
        expected = torch.autograd.grad(theirs, list(leaves.values()))
        scale = max(g.norm() for g in expected)
        assert scale > 1e-3
        for ours, other in zip(gradients, expected, strict=True):
            assert (ours - other).norm() <= 1e-11 * scale
        weight_loss, _ = halves.weight_loss((x, y), drawn)
        assert weight_loss.item() == pytest.approx(theirs.item(), rel=1e-12)


def test_the_three_readings_differ_in_the_gradient_alone():
    found = {}
    for unsampled in MODES:
        halves, batch = search(NB201(C=4, N=1), unsampled)
        drawn = halves.draw(torch.Generator().manual_seed(0), for_weights=False)
        loss, _, gradient = FirstOrder().alpha_gradients(halves, {"valid": batch}, drawn, None)
        found[unsampled] = loss, gradient
    assert len({round(loss.item(), 12) for loss, _ in found.values()}) == 1
    assert not torch.allclose(found["constant"][1], found["zero"][1])
    assert not torch.allclose(found["constant"][1], found["computed"][1])


@pytest.mark.parametrize("unsampled", ["constant", "zero"])
def test_only_the_drawn_operations_are_computed_in_both_half_steps(unsampled, monkeypatch):
    halves, batch = search(NB201(C=4, N=1), unsampled)
    halves.architecture.alpha["cell"].data[
        :, 0
    ] = -1e3  # else a node may get nothing, and what leaves it is left out too
    drawn = halves.draw(torch.Generator().manual_seed(1), for_weights=True)
    chosen_EO = (halves.architecture.alpha["cell"].detach() + drawn["cell"]).argmax(-1)[:, None] == torch.arange(5)
    original, ran = StackedConv.forward, []

    def counted(self, rectified, positions, beta_KC):
        ran.append((self.padding, len(positions)))
        return original(self, rectified, positions, beta_KC)

    monkeypatch.setattr(StackedConv, "forward", counted)
    for step in (halves.loss, halves.weight_loss):
        ran.clear()
        step(batch, drawn)
        for column, padding in ((2, 0), (3, 1)):
            assert sum(edges for kind, edges in ran if kind == padding) == 3 * chosen_EO[:, column].sum()  # three cells
    assert halves.skipping.alpha_step(drawn)["cell"] == halves.skipping.weight_step(drawn)["cell"] == chosen_EO.tolist()
    halves.skipping.count(drawn)
    assert halves.skipping.share == pytest.approx(1 / 5)


def test_what_is_computed_besides_changes_nothing():
    """Compiled cells and perturbed weights want every candidate."""
    halves, batch = search(NB201(C=4, N=1), "constant")
    drawn = halves.draw(torch.Generator().manual_seed(1), for_weights=False)
    sparse = FirstOrder().alpha_gradients(halves, {"valid": batch}, drawn, None)
    halves.skipping.dense = True
    assert halves.skipping.alpha_step(drawn) == halves.architecture.candidates
    dense = FirstOrder().alpha_gradients(halves, {"valid": batch}, drawn, None)
    assert dense[0].item() == pytest.approx(sparse[0].item(), rel=1e-12)
    assert torch.allclose(dense[2], sparse[2], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("unsampled", MODES)
def test_a_draw_of_nothing_is_legal(unsampled):
    halves, batch = search(NB201(C=4, N=1), unsampled)
    halves.architecture.alpha["cell"].data[:, 0] = 1e3
    drawn = halves.draw(torch.Generator().manual_seed(0), for_weights=False)
    loss, _, gradient = FirstOrder().alpha_gradients(halves, {"valid": batch}, drawn, None)
    assert loss.isfinite()
    assert gradient.isfinite().all()
    assert halves.weight_gradients(batch, drawn)[0].item() == pytest.approx(loss.item(), rel=1e-12)


def test_the_weights_are_exactly_one_hot():
    halves, _ = search(NB201(C=4, N=1), "computed")
    for seed in range(20):
        beta = halves.architecture.beta(halves.draw(torch.Generator().manual_seed(seed), for_weights=False))["cell"]
        assert set(beta.unique().tolist()) == {0.0, 1.0}
        assert (beta.sum(-1) == 1).all()


def test_edges_that_were_dropped_have_no_offset():
    halves, batch = search(NB201(C=4, N=1), "constant")
    mask = torch.ones(6, 5, dtype=torch.bool)
    mask[2] = False
    halves.architecture.narrow({"cell": mask})
    drawn = halves.draw(torch.Generator().manual_seed(0), for_weights=False)
    _, _, gradient = FirstOrder().alpha_gradients(halves, {"valid": batch}, drawn, None)
    assert (gradient[2] == 0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("method", ["gdas", "ets_gdas"])
def test_the_temperature_goes_from_10_to_a_tenth(method):
    from nas_lightning.build import build

    schedule = build(composed(f"method={method}", "trainer.max_epochs=250", "run_dir=x").sched)
    assert [schedule.at(0), schedule.at(249)] == pytest.approx([10.0, 0.1])


def test_an_unknown_reading_is_one_sentence():
    with pytest.raises(UserError, match=r"relaxation.unsampled must be constant, zero or computed"):
        GumbelHard("one")
