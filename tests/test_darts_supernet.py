"""The DARTS space's supernet by operation banks is the plain mixed operation, exactly, in every subspace and by halves."""

import math

import pytest
import torch
import torch.nn.functional as F

from nas_lightning.app.job import Job
from nas_lightning.app.search import search
from nas_lightning.errors import UserError
from nas_lightning.relaxations import Softmax
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.spaces.darts import bank as darts
from nas_lightning.spaces.kernels import noise_like
from nas_lightning.spaces.relaxed import RelaxedNodes
from nas_lightning.spaces.weights import EdgeWeights
from nas_lightning.supernet.architecture import Architecture
from nas_lightning.supernet.module import epoch_seed
from speed.reference import ReferenceSupernet
from speed.reference_darts import ReferenceDartsSupernet, shuffle
from tests.conftest import composed
from tests.test_nb201_supernet import relative_error
from tests.test_search import interrupt, rows, weights

SETTINGS = {
    "darts": {},
    "s1": {"candidates": "s1"},
    "s2": {"candidates": "s2"},
    "s3": {"candidates": "s3"},
    "s4": {"candidates": "s4"},
    "partial": {"partial": 4, "edge_weights": True, "none": True},
    "imagenet": {"stem": "imagenet"},
}


def betas(spec, kind, generator):
    """[E, O] of zeros where masked: random, one-hot, or random with about half of the entries 0."""
    random = torch.rand(spec.mask_EO.shape, generator=generator, dtype=torch.float64) * spec.mask_EO
    best = F.one_hot(random.argmax(-1), random.shape[1]).double()
    if kind == "one_hot":
        return best
    if kind == "sparse":  # at least one operation an edge, as any relaxation leaves
        return random * ((torch.rand(random.shape, generator=generator) < 0.5) | (best > 0))
    return random


def noise_pattern(x, stride):
    shape = x[:, :, ::stride, ::stride].shape
    return torch.arange(shape.numel(), dtype=x.dtype).cos().reshape(shape)


@pytest.fixture(params=list(SETTINGS))
def pair(request, monkeypatch):
    """(space, supernet, reference, x, y); 4 cells on 12x8 pixels: sizes 6x4, where sub-grids exist, and 3x2, where not."""
    monkeypatch.setattr(darts, "noise_like", noise_pattern)  # both sides draw the same
    torch.manual_seed(0)
    space = DARTS(C=4, num_cells=4, **SETTINGS[request.param])
    supernet = space.supernet(5).double()
    pixels = 8 if space.stem == "imagenet" else 1
    x, y = torch.randn(4, 3, 12 * pixels, 8 * pixels, dtype=torch.float64), torch.randint(5, (4,))
    return space, supernet, ReferenceDartsSupernet(supernet, space.cells), x, y


def edge_weights(space):
    if not space.cells["normal"].edge_weights:
        return None
    return {cell: torch.rand(14, dtype=torch.float64) for cell in space.cells}


def as_edges(space, beta, edge, skip_zeros=False):
    return {
        cell: EdgeWeights(
            beta[cell],
            (beta[cell] > 0).tolist() if skip_zeros else spec.candidates,
            None if edge is None else edge[cell],
        )
        for cell, spec in space.cells.items()
    }


@pytest.mark.parametrize("kind", ["random", "one_hot"])
def test_architecture_step_equals_per_edge_reference(pair, kind):
    space, supernet, reference, x, y = pair
    generator = torch.Generator().manual_seed(1)
    beta = {cell: betas(spec, kind, generator).requires_grad_() for cell, spec in space.cells.items()}
    edge = edge_weights(space)
    leaves = [*beta.values(), *(e.requires_grad_() for e in (edge or {}).values())]
    theirs = reference(x, beta, edge)
    expected = torch.autograd.grad(F.cross_entropy(theirs, y), leaves)
    supernet.requires_grad_(False)
    ours = supernet(x, as_edges(space, beta, edge))
    gradients = torch.autograd.grad(F.cross_entropy(ours, y), leaves)
    assert relative_error(ours, theirs) < 1e-10
    for gradient, wanted in zip(gradients, expected, strict=True):
        assert wanted.norm() > 0
        assert relative_error(gradient, wanted) < 1e-10


@pytest.mark.parametrize(
    ("kind", "skip_zeros"), [("random", False), ("one_hot", True), ("sparse", False), ("sparse", True)]
)
def test_weight_step_equals_per_edge_reference(pair, kind, skip_zeros):
    """Every weight's gradient, with operations of zero beta computed or left out."""
    space, supernet, reference, x, y = pair
    generator = torch.Generator().manual_seed(2)
    beta = {cell: betas(spec, kind, generator) for cell, spec in space.cells.items()}
    edge = edge_weights(space)
    F.cross_entropy(reference(x, beta, edge), y).backward()
    shared = {name: p.grad.clone() for name, p in supernet.named_parameters() if p.grad is not None}
    stems = 1 if space.stem == "cifar" else 3
    assert len(shared) == 3 * stems + 2  # convolution, batch norm; linear
    scale = max(gradient.norm() for gradient in shared.values())
    supernet.zero_grad()
    F.cross_entropy(supernet(x, as_edges(space, beta, edge, skip_zeros)), y).backward()
    for name, wanted in shared.items():
        assert (supernet.get_parameter(name).grad - wanted).norm() <= 1e-10 * scale, name
    pairs = reference.stacked_pairs(supernet)
    assert len(pairs) == len(list(supernet.layers.parameters()))
    for kernels, stacked in pairs:
        wanted = torch.cat([torch.zeros_like(k) if k.grad is None else k.grad for k in kernels])
        gradient = torch.zeros_like(stacked) if stacked.grad is None else stacked.grad
        # On the scale of the whole too: before a batch norm of one channel a gradient is 0 but for rounding.
        assert (gradient - wanted).norm() <= 1e-10 * max(wanted.norm(), 1e-3 * scale)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("height", [4, 9])
def test_separable_convolutions_on_a_cpu_have_the_plain_gradients(stride, size, height):
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    x, depthwise, pointwise = leaf(3, 6, height, 7), leaf(6, 1, size, size), leaf(6, 3, 1, 1)
    plain = F.conv2d(F.conv2d(x, depthwise, None, stride, size // 2, 1, 6), pointwise, groups=2)
    ours = darts._SeparableOnCpu.apply(x, depthwise, pointwise, 2, stride)
    g = torch.randn(plain.shape, generator=generator, dtype=torch.float64)
    assert relative_error(ours, plain) < 1e-12
    leaves = (x, depthwise, pointwise)
    for gradient, wanted in zip(
        torch.autograd.grad(ours, leaves, g), torch.autograd.grad(plain, leaves, g), strict=True
    ):
        assert relative_error(gradient, wanted) < 1e-12


@pytest.mark.parametrize(
    ("settings", "classes", "weights", "logits"),
    [
        ({"none": True}, 10, 1_930_618, (8, 0)),
        ({"none": True}, 100, 1_953_748, (8, 0)),
        ({}, 10, 1_930_618, (7, 0)),
        ({"candidates": "s1"}, 10, 405_146, (None, 0)),
        ({"candidates": "s1"}, 100, 428_276, (None, 0)),
        ({"none": True, "partial": 4, "edge_weights": True}, 10, 299_578, (8, 14)),
        ({"none": True, "partial": 4, "edge_weights": True}, 100, 322_708, (8, 14)),
    ],
    ids=str,
)
def test_supernet_has_the_published_number_of_weights_and_logits(settings, classes, weights, logits):
    with torch.device("meta"):
        supernet = DARTS(**settings).supernet(classes)
    assert sum(p.numel() for p in supernet.parameters()) == weights
    architecture = Architecture(DARTS(**settings).cells, Softmax(), torch.Generator())
    operations, edges = logits
    for cell, alpha in architecture.alpha.items():
        assert alpha.shape == (14, operations or alpha.shape[1])
        assert architecture.mask(cell).sum() == 14 * (operations or 2)
    assert sum(p.numel() for p in architecture.edge_alpha.values()) == 2 * edges


@pytest.mark.parametrize("partial", [1, 4])
def test_partial_nb201_has_drnas_number_of_weights(partial):
    with torch.device("meta"):
        supernet = NB201(partial=partial).supernet(10)
    assert sum(p.numel() for p in supernet.parameters()) == {1: 1_686_106, 4: 174_106}[partial]


@pytest.mark.parametrize("with_edges", [False, True])
def test_partial_nb201_cell_mixes_a_part_and_shuffles(with_edges):
    """Against the per-edge cell on C/K channels, joined with the rest edge by edge."""
    torch.manual_seed(0)
    partial, channels = 2, 8
    cell = NB201(C=channels, N=1, partial=partial).supernet(3).double().stages[0][0]
    narrow = NB201(C=channels // partial, N=1).supernet(3).double()
    narrow.stages[0][0].load_state_dict(cell.state_dict())
    edges_of = ReferenceSupernet(narrow).stages[0][0].edges
    beta = torch.rand(6, 5, dtype=torch.float64).requires_grad_()
    edge = torch.rand(6, dtype=torch.float64).requires_grad_() if with_edges else None
    x = torch.randn(3, channels, 6, 6, dtype=torch.float64)
    mixed = channels // partial
    nodes = [x]
    for node in (1, 2, 3):
        total = torch.zeros_like(x)
        for e, (source, target) in enumerate(NB201().cells["cell"].edges):
            if target == node:
                h = nodes[source]
                out = shuffle(torch.cat([edges_of[e](h[:, :mixed], beta[e]), h[:, mixed:]], 1), partial)
                total = total + (out if edge is None else edge[e] * out)
        nodes.append(total)
    ours = cell(x, EdgeWeights(beta, [[True] * 5] * 6, edge))
    assert relative_error(ours, nodes[3]) < 1e-12
    leaves = [beta] if edge is None else [beta, edge]
    g = torch.randn_like(x)
    for gradient, wanted in zip(
        torch.autograd.grad(ours, leaves, g), torch.autograd.grad(nodes[3], leaves, g), strict=True
    ):
        assert relative_error(gradient, wanted) < 1e-12


def test_channels_that_pass_by_are_halved_as_the_operations_halve_odd_sizes():
    class Strided(torch.nn.Module):
        def __init__(self, node, edges, channels):
            super().__init__()
            self.stride = 1 if node else 2

        def forward(self, x, weights):
            return [x[:, :, :: self.stride, :: self.stride]]

    nodes = RelaxedNodes(((0, 1), (1, 2)), 4, Strided, halving=(0,), partial=2)
    x = torch.randn(2, 4, 5, 3)
    output = nodes.run([x], EdgeWeights(torch.ones(1, 1), [[True]]))[1]
    passed = torch.stack([
        torch.stack([x[:, 2:, i : i + 2, j : j + 2].amax((2, 3)) for j in (0, 2)], -1) for i in (0, 2, 4)
    ], -2)  # fmt: skip
    assert torch.equal(output[:, ::2], x[:, :2, ::2, ::2])
    assert torch.equal(output[:, 1::2], passed)


def test_edge_weights_are_a_softmax_over_the_edges_into_a_node():
    architecture = Architecture(DARTS(edge_weights=True).cells, Softmax(), torch.Generator().manual_seed(0))
    with torch.no_grad():
        architecture.edge_alpha["normal"].copy_(torch.arange(14.0).sin())
    architecture.set_temperature(0.1)  # theirs is always 1
    ours = architecture.weights(architecture.beta(), architecture.candidates)["normal"]
    by_hand = []
    for node in (2, 3, 4, 5):
        edges = [e for e, (_, target) in enumerate(DARTS().cells["normal"].edges) if target == node]
        logits = [torch.tensor(float(e)).sin() for e in edges]
        by_hand += [(logit.exp() / sum(other.exp() for other in logits)).item() for logit in logits]
    assert ours.edge_E.tolist() == pytest.approx(by_hand)
    assert torch.allclose(ours.beta_EO.sum(-1), ours.edge_E)
    assert torch.equal(architecture.snapshot()["normal"].edge_E, architecture.edge_alpha["normal"].detach())
    discrete = architecture.one_hot(DARTS().parse("DARTS_V2"))["normal"]
    assert torch.equal(discrete.edge_E, ours.edge_E)
    assert torch.equal(discrete.beta_EO.sum(-1) > 0, discrete.beta_EO.sum(-1) == ours.edge_E)


def test_entropy_is_that_of_the_candidates_alone():
    cells = DARTS(candidates="s1").cells
    observed = Architecture(cells, Softmax(), torch.Generator().manual_seed(0)).observe().entropy
    for name, spec in cells.items():
        assert {sum(row) for row in spec.candidates} != {len(spec.operations)}
        assert observed[name] == pytest.approx([math.log(sum(row)) for row in spec.candidates], abs=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_noise_is_standard_normal_in_channels_last(stride, layout):
    torch.manual_seed(0)
    noise = noise_like(torch.full((64, 8, 15, 16), 3.0, dtype=torch.float64).to(memory_format=layout), stride)
    assert (noise.shape, noise.dtype) == ((64, 8, -(-15 // stride), 16 // stride), torch.float64)
    assert noise.is_contiguous(memory_format=torch.channels_last)
    assert (noise.mean().abs() < 0.02, abs(noise.std() - 1) < 0.02, abs(noise.pow(4).mean() - 3) < 0.2) == (True,) * 3
    assert noise[0].unique().numel() == noise[0].numel()


def test_noise_is_another_on_every_edge_and_in_every_epoch():
    spec = DARTS(candidates="s4").cells["normal"]
    bank = darts.DartsBank((0, 2), spec.operations, spec.candidates, 4, 1)
    only_noise = EdgeWeights(torch.ones(14, 2), [[name == "noise" for name in spec.operations]] * 14)
    torch.manual_seed(epoch_seed(0, 1))
    one, other = bank(torch.zeros(2, 4, 6, 6), only_noise)
    assert not torch.equal(one, other)
    torch.manual_seed(epoch_seed(0, 2))
    assert not torch.equal(bank(torch.zeros(2, 4, 6, 6), only_noise)[0], one)


def test_masked_operations_have_no_weights_and_are_not_computed():
    supernet = DARTS(C=4, num_cells=3, candidates="s2").supernet(2)
    names = {name for cell in supernet.layers for bank in cell.banks for name in bank.kinds}
    assert names == {"sep_conv_3x3", "skip_connect"}  # the latter as factorised reduction


def test_channels_that_partial_does_not_divide_are_one_sentence():
    for space in (lambda: DARTS(C=6, partial=4), lambda: NB201(C=6, partial=4).supernet(2)):
        with pytest.raises(UserError, match=r"space\.partial=4") as raised:
            space()
        assert "\n" not in str(raised.value)


TOY = (
    "dataset=fake", "space.C=4", "space.num_cells=3", "data.batch_size=16", "data.train_images=16",
    "data.valid_images=16", "dataset.image_size=8", "trainer.max_epochs=3", "trainer.accelerator=cpu",
    "arch_optimizer.lr=0.01",
)  # fmt: skip


def toy(folder, *overrides):
    config = composed(*overrides, *TOY, f"run_dir={folder}")
    return search(config, Job({"method": "edd", "space": "darts", "dataset": "fake"}, list(overrides)))


@pytest.mark.parametrize("choices", [("space=darts", "method=edd_pc"), ("space=s4",)], ids=str)
def test_interrupted_darts_search_equals_uninterrupted(choices, tmp_path, monkeypatch):
    """S4's noise is drawn anew in each epoch from (seed, epoch)."""
    whole = toy(tmp_path / "whole", *choices)
    interrupt(monkeypatch, epoch=1)
    with pytest.raises(SystemExit):
        toy(tmp_path / "stopped", *choices)
    resumed = toy(tmp_path / "stopped", *choices)
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
    ours, theirs = weights(tmp_path / "stopped"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert resumed["architecture"] == whole["architecture"]


def test_alpha_rests_until_its_start(tmp_path):
    toy(tmp_path / "run", "space=s2", "method=pc_darts", "model.arch_start=2")
    entropies = [float(row["entropy/normal/0"]) for row in rows(tmp_path / "run")]
    assert entropies[0] == entropies[1] != entropies[2]
    assert [row["valid_accuracy"] != "" for row in rows(tmp_path / "run")] == [False, False, True]


@pytest.mark.parametrize("value", [-1, 1.0, 1.5, True])
def test_nonsense_as_the_start_of_alpha_is_refused(value, tmp_path):
    with pytest.raises(UserError, match=r"model.arch_start must be"):
        toy(tmp_path / "run", "space=darts", f"model.arch_start={value}")


def test_the_readmes_line_composes_to_the_authors_recipe():
    config = composed("space=darts", "dataset=cifar10", "sched=edd", "run_dir=x")
    assert (config.data.batch_size, config.bilevel.order, config.sched.warmup) == (80, "arch_first", 0.1)
    assert config.benchmark is None
    optimizer = config.model.weight_optimizer
    assert (optimizer.lr, optimizer.nesterov, optimizer.weight_decay, config.lr) == (0.025, False, 3e-4, None)
    assert config.arch_optimizer.weight_decay == 0
    assert composed("space=s2", "run_dir=x").data.batch_size == 192
    assert composed("space=darts", "bilevel.order=weights_first", "run_dir=x").bilevel.order == "weights_first"


@pytest.mark.parametrize(("method", "warmup"), [("edd_pc", (15 + 5) / 50), ("pcd", 15 / 50)])
def test_on_pc_darts_protocol_warm_ups_count_from_alphas_first_step(method, warmup):
    config = composed("space=darts", "protocol=pc_darts", f"method={method}", "run_dir=x")
    assert (config.model.arch_start, config.sched.warmup) == (15 / 50, pytest.approx(warmup))
    assert (config.data.batch_size, config.model.weight_optimizer.lr, config.lr.eta_min) == (256, 0.1, 0)
    assert (config.arch_optimizer.lr, config.arch_optimizer.weight_decay) == (6e-4, 1e-3)
    partial = (4, True) if method == "edd_pc" else (1, False)
    assert (config.space.partial, config.space.edge_weights) == partial
