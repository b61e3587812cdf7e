"""DrNAS: draws, their pathwise gradient and the regulariser against torch.distributions; one step of a search."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Dirichlet as TorchDirichlet
from torch.distributions import kl_divergence

from nas_lightning.derive import Exact, Probabilities
from nas_lightning.derive.base import derived
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Choice
from nas_lightning.penalties import DirichletKL
from nas_lightning.relaxations import Dirichlet
from nas_lightning.relaxations.dirichlet import concentration
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.supernet import HalfSteps
from nas_lightning.supernet.architecture import Architecture
from speed.reference import ReferenceSupernet
from tests.conftest import view_of

T = torch.tensor(1.0, dtype=torch.float64)
ALL = torch.ones(6, 5, dtype=torch.bool)
LAST_FOUR = ALL & (torch.arange(5) > 0)


def random_alpha(seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(6, 5, generator=generator, dtype=torch.float64)).requires_grad_()


def test_the_concentration_is_elu_plus_1_and_never_0():
    alpha = torch.linspace(-5, 5, 101, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(concentration(alpha), F.elu(alpha) + 1)
    ours, theirs = (torch.autograd.grad(c.sum(), alpha)[0] for c in (concentration(alpha), F.elu(alpha) + 1))
    assert torch.allclose(ours, theirs)
    assert concentration(torch.tensor([-40.0])) > 0


@pytest.mark.parametrize("mask", [ALL, LAST_FOUR])
def test_the_gradient_is_rsamples_at_the_same_sample(mask):
    alpha = random_alpha()
    torch.manual_seed(1)
    theirs = TorchDirichlet((F.elu(alpha) + 1)[mask].view(6, -1)).rsample()
    sample = torch.zeros(6, 5, dtype=torch.float64).masked_scatter(mask, theirs.detach())
    v = torch.randn(6, 5, dtype=torch.float64)
    ours = Dirichlet()(alpha, mask, T, sample)
    assert torch.equal(ours, sample)
    (expected,) = torch.autograd.grad((theirs * v[mask].view(6, -1)).sum(), alpha)
    (gradient,) = torch.autograd.grad((ours * v).sum(), alpha)
    assert torch.allclose(gradient, expected, rtol=1e-12, atol=1e-14)
    assert (gradient[~mask] == 0).all()


def test_the_mean_of_many_draws_gradients_is_that_of_the_mean():
    alpha, v, relaxation = random_alpha(), torch.randn(6, 5, dtype=torch.float64), Dirichlet()
    generator, total = torch.Generator().manual_seed(3), torch.zeros(6, 5, dtype=torch.float64)
    for _ in range(20_000):
        drawn = relaxation.draw(alpha, LAST_FOUR, T, generator)
        total += torch.autograd.grad((relaxation(alpha, LAST_FOUR, T, drawn) * v).sum(), alpha)[0]
    c = (F.elu(alpha) + 1) * LAST_FOUR
    (expected,) = torch.autograd.grad((c / c.sum(-1, keepdim=True) * v).sum(), alpha)
    assert torch.allclose(total / 20_000, expected, atol=0.01)
    assert expected.abs().max() > 0.1


def test_draws_have_the_distributions_mean_and_variance():
    alpha, generator = random_alpha(), torch.Generator().manual_seed(0)
    draws = torch.stack([Dirichlet().draw(alpha, ALL, T, generator) for _ in range(20_000)])
    expected = TorchDirichlet((F.elu(alpha) + 1).detach())
    assert torch.allclose(draws.mean(0), expected.mean, atol=0.01)
    assert torch.allclose(draws.var(0), expected.variance, atol=0.01)


def test_extreme_concentrations_give_finite_weights_and_gradients():
    alpha = random_alpha(scale=30.0).detach().float().requires_grad_()
    for seed in range(50):
        drawn = Dirichlet().draw(alpha, LAST_FOUR, T.float(), torch.Generator().manual_seed(seed))
        beta = Dirichlet()(alpha, LAST_FOUR, T.float(), drawn)
        assert torch.allclose(beta.sum(-1), torch.ones(6))
        (gradient,) = torch.autograd.grad((beta * torch.randn(6, 5)).sum(), alpha)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("rule", [Exact(), Probabilities()])
def test_edges_of_a_node_are_ranked_by_softmax_of_alpha_as_in_the_authors_program(rule):
    """By the mean of the distribution another edge would be kept."""
    space = DARTS(C=4, num_cells=3)
    architecture = Architecture(space.cells, Dirichlet(), torch.Generator().manual_seed(0))
    alpha = torch.full((14, 7), 0.0)
    alpha[:, 3] = 1.0  # softmax .312, mean .25
    alpha[2] = torch.tensor([-1.0] * 6 + [0.3])  # softmax .379, mean .371: first of its node by both
    alpha[5] = torch.tensor([0.0] * 6 + [2.0])  # softmax .552, mean .333
    alpha[6] = torch.tensor([-1.0] * 6 + [0.3])
    alpha[7] = torch.tensor([-1.0] * 6 + [0.25])  # softmax .368, mean .362
    with torch.no_grad():
        for name in space.cells:
            architecture.alpha[name].copy_(alpha)
    expected = []
    for node, edges in ((2, range(2)), (3, range(2, 5)), (4, range(5, 9)), (5, range(9, 14))):
        p_EO = torch.softmax(alpha, -1)
        kept = sorted(edges, key=lambda edge: -p_EO[edge].max())[:2]
        expected += [Choice(space.cells["normal"].operations[int(p_EO[e].argmax())], e - edges[0], node) for e in kept]
    found = derived("darts", rule, architecture.snapshot())
    assert found.cells == {"normal": tuple(expected), "reduce": tuple(expected)}
    assert [choice.source for choice in expected if choice.target == 4] == [0, 1]
    mean_EO = concentration(alpha) / concentration(alpha).sum(-1, keepdim=True)
    assert mean_EO[6].max() > mean_EO[7].max() > mean_EO[5].max()


def test_the_regulariser_is_the_kl_to_the_uniform_distribution():
    space = DARTS(C=4, num_cells=3, candidates="s3")
    alphas = {name: torch.randn(14, 3, dtype=torch.float64, requires_grad=True) for name in space.cells}
    ours = DirichletKL(1e-3)(view_of(space, alphas, relaxation=Dirichlet()), torch.tensor(0.0))
    ones = TorchDirichlet(torch.ones(14, 3, dtype=torch.float64))
    theirs = 1e-3 * sum(kl_divergence(TorchDirichlet(F.elu(alpha) + 1), ones).sum() for alpha in alphas.values())
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    for alpha in alphas.values():
        gradients = [torch.autograd.grad(term, alpha, retain_graph=True)[0] for term in (ours, theirs)]
        assert torch.allclose(*gradients, rtol=1e-9)


def test_the_regulariser_knows_candidates_alone():
    space = NB201(C=4, N=1, none=False)
    alpha = random_alpha()
    (gradient,) = torch.autograd.grad(DirichletKL()(view_of(space, {"cell": alpha}), torch.tensor(0.0)), alpha)
    ones = TorchDirichlet(torch.ones(6, 4, dtype=torch.float64))
    theirs = 1e-3 * kl_divergence(TorchDirichlet(F.elu(alpha[:, 1:]) + 1), ones).sum()
    assert torch.allclose(gradient, torch.autograd.grad(theirs, alpha)[0], rtol=1e-9)
    view = view_of(space, {"cell": alpha})
    object.__setattr__(view["cell"], "mask_EO", view["cell"].mask_EO & (torch.arange(6) > 1)[:, None])
    (gradient,) = torch.autograd.grad(DirichletKL()(view, torch.tensor(0.0)), alpha)
    assert gradient.isfinite().all()
    assert (gradient[:2] == 0).all()


def test_alphas_step_is_the_textbooks_at_the_draw():
    torch.manual_seed(0)
    space = NB201(C=2, N=1)
    supernet = space.supernet(4).double()
    architecture = Architecture(space.cells, Dirichlet(), torch.Generator().manual_seed(0)).double()
    halves = HalfSteps(architecture, supernet, DirichletKL(1e-3))
    x, y = torch.randn(6, 3, 8, 8, dtype=torch.float64), torch.randint(4, (6,))
    drawn = halves.draw(torch.Generator().manual_seed(5), for_weights=False)
    loss, _ = halves.loss((x, y), drawn)
    (ours,) = torch.autograd.grad(loss + halves.penalty_term(), halves.alphas())

    leaf = architecture.alpha["cell"].detach().clone().requires_grad_()
    c = F.elu(leaf) + 1
    beta = drawn["cell"].clone().requires_grad_()
    task = F.cross_entropy(ReferenceSupernet(copy.deepcopy(supernet))(x, beta), y)
    (g,) = torch.autograd.grad(task, beta)
    derivative = torch._dirichlet_grad(beta.detach(), c.detach(), c.detach().sum(-1, keepdim=True).expand_as(c))
    through = derivative * (g - (beta.detach() * g).sum(-1, keepdim=True))
    kl = kl_divergence(TorchDirichlet(c), TorchDirichlet(torch.ones_like(c))).sum()
    (expected,) = torch.autograd.grad((c * through).sum() + 1e-3 * kl, leaf)
    assert loss.item() == pytest.approx(task.item(), rel=1e-12)
    assert torch.allclose(ours, expected, rtol=1e-9, atol=1e-13)


def test_each_half_step_draws_anew_and_once_for_each_cell_type():
    architecture = Architecture(DARTS(C=4, num_cells=3).cells, Dirichlet(), torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    one, other = architecture.draw(generator), architecture.draw(generator)
    assert one.keys() == {"normal", "reduce"}
    assert not torch.equal(one["normal"], other["normal"])
    assert not torch.equal(one["normal"], one["reduce"])


def test_a_negative_weight_is_one_sentence():
    with pytest.raises(UserError, match=r"penalty.weight must be a number of 0 or more"):
        DirichletKL(-1.0)
