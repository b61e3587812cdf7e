"""GAEA: alpha on the simplex, one step of it against the authors' loop, edge by edge."""

import copy
import functools

import pytest
import torch
import torch.nn.functional as F

from nas_lightning.bilevel import FirstOrder
from nas_lightning.errors import UserError
from nas_lightning.optimizers import ExponentiatedGradient
from nas_lightning.relaxations import Simplex
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.supernet.architecture import Architecture
from nas_lightning.supernet.module import SupernetModule
from speed.reference import ReferenceSupernet
from tests.test_module import Batches, fitted

FLOOR, RATE = 1e-5, 0.1


def architecture(space):
    return Architecture(space.cells, Simplex(), torch.Generator().manual_seed(0)).double()


def optimizer(of, **settings):
    return ExponentiatedGradient(of.parameter_groups(), **settings)


def gradients(of, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in of.parameters():
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)


def textbook_row(p, g, floor):
    """architect_edarts.py: multiply, clamp from below, divide by the sum; candidates alone."""
    moved = [max(float(p_o * torch.exp(-RATE * g_o)), floor) for p_o, g_o in zip(p, g, strict=True)]
    return torch.tensor([m / sum(moved) for m in moved], dtype=torch.float64)


def test_a_search_starts_in_the_middle_of_the_candidates():
    alpha = architecture(NB201(C=4, N=1, none=False)).alpha["cell"]
    assert torch.equal(alpha.detach(), torch.tensor([[0.0, 0.25, 0.25, 0.25, 0.25]] * 6, dtype=torch.float64))
    edges = architecture(DARTS(C=4, num_cells=3, edge_weights=True)).edge_alpha["normal"].tolist()
    assert edges == pytest.approx([1 / 2] * 2 + [1 / 3] * 3 + [1 / 4] * 4 + [1 / 5] * 5)


@pytest.mark.parametrize("space", [NB201(C=4, N=1, none=False), DARTS(C=4, num_cells=3, edge_weights=True)])
def test_steps_stay_on_the_simplex_and_equal_the_textbook(space):
    ours = architecture(space)
    step = optimizer(ours)
    for number in range(20):
        gradients(ours, number, scale=30.0)  # far enough for the floor
        expected = {}
        for name, spec in space.cells.items():
            rows = zip(ours.alpha[name].detach(), ours.alpha[name].grad, spec.mask_EO, strict=True)
            expected[name] = [(p[may], textbook_row(p[may], g[may], FLOOR), may) for p, g, may in rows]
        edges = {
            name: torch.cat(
                [
                    textbook_row(p, g, 0.0)
                    for p, g in zip(
                        edge.detach().split(space.cells[name].edges_into()),
                        edge.grad.split(space.cells[name].edges_into()),
                        strict=True,
                    )
                ]
            )
            for name, edge in ours.edge_alpha.items()
        }
        step.step()
        for name, rows in expected.items():
            for alpha_O, (_, row, may) in zip(ours.alpha[name].detach(), rows, strict=True):
                assert torch.allclose(alpha_O[may], row, rtol=1e-12)
                assert (alpha_O[~may] == 0).all()
                assert alpha_O.sum().item() == pytest.approx(1, abs=1e-12)
                assert alpha_O[may].min() > 0
        for name, edge_E in edges.items():
            assert torch.allclose(ours.edge_alpha[name].detach(), edge_E, rtol=1e-12)
            shares = ours.edge_alpha[name].detach().split(space.cells[name].edges_into())
            assert [share.sum().item() for share in shares] == pytest.approx([1.0] * len(shares), abs=1e-12)
    assert min(alpha[alpha > 0].min().item() for alpha in ours.alpha.values()) < 2 * FLOOR


def test_a_constant_added_to_a_rows_gradient_changes_nothing_and_no_gradient_leaves_it():
    space = NB201(C=4, N=1, edge_weights=True)
    one, other, still = (architecture(space) for _ in range(3))
    gradients(one)
    for (name, parameter), (_, template) in zip(other.named_parameters(), one.named_parameters(), strict=True):
        shift = 3.0 if name.startswith("edge") else torch.arange(6.0, dtype=torch.float64)[:, None]
        parameter.grad = template.grad + shift
    for parameter in still.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = [parameter.detach().clone() for parameter in still.parameters()]
    for each in (one, other, still):
        optimizer(each).step()
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-12)
    for a, b in zip(still.parameters(), before, strict=True):
        assert torch.allclose(a, b, rtol=1e-15)


def test_the_rate_of_edges_is_their_own():
    ours = architecture(NB201(C=4, N=1, edge_weights=True))
    step = optimizer(ours, lr=0.1, edge_lr=0.5)
    assert [(group["name"], group["lr"]) for group in step.param_groups] == [("operations", 0.1), ("edges", 0.5)]


@pytest.mark.parametrize("batch", ["valid", "train"])
def test_a_search_equals_the_authors_loop(batch):
    torch.manual_seed(0)
    module = SupernetModule(
        NB201(C=2, N=1),
        Simplex(),
        num_classes=4,
        weight_optimizer=functools.partial(torch.optim.SGD, lr=0.025),
        arch_optimizer=functools.partial(ExponentiatedGradient, lr=RATE),
        bilevel=FirstOrder("arch_first", batch),
        weight_clip=None,
    ).double()
    reference = ReferenceSupernet(copy.deepcopy(module.supernet))
    theta = torch.full((6, 5), 0.2, dtype=torch.float64)
    for halves in Batches().batches:
        leaf = theta.clone().requires_grad_()
        x, y = halves[batch]
        (g,) = torch.autograd.grad(F.cross_entropy(reference(x, leaf), y), leaf)
        theta = (theta * torch.exp(-RATE * g)).clamp(min=FLOOR)
        theta = theta / theta.sum(-1, keepdim=True)
        weights = list(reference.parameters())
        x, y = halves["train"]
        for weight, g in zip(
            weights, torch.autograd.grad(F.cross_entropy(reference(x, theta), y), weights), strict=True
        ):
            weight.data -= 0.025 * g
    fitted(module)
    assert torch.allclose(module.architecture.alpha["cell"], theta, rtol=1e-9)
    assert torch.allclose(module.supernet.classifier.weight, reference.classifier.weight, rtol=1e-9)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"lr": 0}, "arch_optimizer.lr must be a positive number"),
        ({"edge_lr": -1}, "arch_optimizer.edge_lr must be"),
        ({"floor": 1}, "arch_optimizer.floor must be"),
    ],
)
def test_nonsense_settings_are_one_sentence(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        optimizer(architecture(NB201(C=4, N=1)), **settings)
