"""GAEA: alpha on the simplex, one step of it against the authors' loop, edge by edge."""

import copy
import functools

import pytest
import torch
import torch.nn.functional as F

from nas_lightning.app.axes import build_module
from nas_lightning.bilevel import FirstOrder
from nas_lightning.errors import UserError
from nas_lightning.optimizers import ExponentiatedGradient
from nas_lightning.relaxations import Simplex
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.supernet.architecture import Architecture
from nas_lightning.supernet.module import SupernetModule
from speed.reference import ReferenceSupernet
from speed.reference_darts import ReferenceDartsSupernet
from tests.conftest import composed
from tests.test_module import Batches, fitted
from tests.test_nb201_supernet import relative_error

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


# GAEA + PC-DARTS --------------------------------------------------------------------------------------------------------


def pc_darts(network, x, theta, share):
    """The DARTS space with K = 4, operation by operation; theta[cell type][edge, operation], share[cell type][edge]."""
    older = newer = network.stem(x)
    for kind, cell in zip(network.cell_types, network.cells, strict=True):
        nodes, edge = [cell.preprocess[0](older), cell.preprocess[1](newer)], 0
        for _ in range(4):
            total = 0
            for source, h in enumerate(nodes):
                quarter, mixed = h.shape[1] // 4, 0
                for o, operation in zip(cell.edges[edge].columns, cell.edges[edge].operations.values(), strict=True):
                    mixed = mixed + theta[kind][edge, o] * operation(h[:, :quarter])
                passed = h[:, quarter:]
                if kind == "reduce" and source < 2:
                    passed = F.max_pool2d(passed, 2)
                both = torch.cat([mixed, passed], 1)
                images, channels, *sides = both.shape
                shuffled = both.view(images, 4, channels // 4, *sides).transpose(1, 2).reshape(both.shape)
                total = total + share[kind][edge] * shuffled
                edge += 1
            nodes.append(total)
        older, newer = newer, torch.cat(nodes[2:], 1)
    return network.classifier(newer.mean((2, 3)))


def off_centre(architecture):
    """Any point of the simplex, with an operation and an edge of next to no weight."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, theta in architecture.alpha.items():
            rows = torch.rand(theta.shape, generator=generator, dtype=torch.float64)
            rows[3, 5] = 1e-6
            theta.copy_(rows / rows.sum(-1, keepdim=True))
            edges = torch.rand(14, generator=generator, dtype=torch.float64)
            edges[3] = 1e-6
            architecture.edge_alpha[name].copy_(torch.cat([part / part.sum() for part in edges.split([2, 3, 4, 5])]))


def test_a_bilevel_step_on_partial_channels_with_edge_weights_is_the_authors(monkeypatch):
    """method_eedarts_space_pcdarts.yaml: theta and edge weights from one backward pass, then SGD at both as they are then."""
    monkeypatch.setattr("tests.test_module.STEPS", 1)
    torch.manual_seed(0)
    sizes = ("space.C=4", "space.num_cells=3")
    module = build_module(
        composed("method=gaea_pc", "space=darts", "protocol=published", *sizes, "run_dir=x"), 4
    ).double()
    architecture, copied = module.architecture, copy.deepcopy(module.supernet)
    off_centre(architecture)
    network = ReferenceDartsSupernet(copied, module.space.cells)
    theta = {name: p.detach().clone().requires_grad_() for name, p in architecture.alpha.items()}
    share = {name: p.detach().clone().requires_grad_() for name, p in architecture.edge_alpha.items()}
    (batch,) = Batches().batches

    x, y = batch["valid"]
    logits = pc_darts(network, x, theta, share)
    gradients = torch.autograd.grad(F.cross_entropy(logits, y), [*theta.values(), *share.values()])
    _, ours, *our_gradients = module.bilevel.alpha_gradients(module.halves, batch, {}, None)
    assert relative_error(ours, logits.detach()) < 1e-10
    for gradient, wanted in zip(our_gradients, gradients, strict=True):
        assert wanted.norm() > 1e-3
        assert relative_error(gradient, wanted) < 1e-9

    with torch.no_grad():
        for name, g in zip(theta, gradients[:2], strict=True):
            moved_EO = (theta[name] * torch.exp(-RATE * g)).clamp(min=FLOOR)
            theta[name] = moved_EO / moved_EO.sum(-1, keepdim=True)
        for name, g in zip(share, gradients[2:], strict=True):
            moved_E = share[name] * torch.exp(-RATE * g)  # without a floor
            share[name] = torch.cat([part / part.sum() for part in moved_E.split([2, 3, 4, 5])])

    x, y = batch["train"]
    weights = list(network.parameters())
    gradients = torch.autograd.grad(F.cross_entropy(pc_darts(network, x, theta, share), y), weights)
    scale = min(1.0, 5.0 / (sum(g.square().sum() for g in gradients).sqrt().item() + 1e-6))
    with torch.no_grad():
        for weight, g in zip(weights, gradients, strict=True):
            weight -= 0.1 * (scale * g + 3e-4 * weight)  # momentum has nothing to go on in a first step

    fitted(module)
    for name in ("normal", "reduce"):
        assert torch.allclose(architecture.alpha[name], theta[name], rtol=1e-9)
        assert torch.allclose(architecture.edge_alpha[name], share[name], rtol=1e-9)
        assert architecture.alpha[name].min() > 0.9 * FLOOR
        assert architecture.edge_alpha[name].min() < 0.5 * FLOOR
    for kernels, stacked in network.stacked_pairs(module.supernet):
        assert torch.allclose(stacked, torch.cat(list(kernels)), rtol=1e-9, atol=1e-12)
    for name, parameter in module.supernet.named_parameters():
        if not name.startswith("layers"):
            assert torch.allclose(parameter, copied.get_parameter(name), rtol=1e-9, atol=1e-12), name


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
