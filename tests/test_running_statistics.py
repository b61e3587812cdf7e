"""Running batch statistics of a supernet, against one nn.BatchNorm2d for every operation of every edge.

Letters: E edges, O operations.
"""

import copy
import functools

import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from torch import nn

from nas_lightning.app.checkpoints import _OURS
from nas_lightning.bilevel import FirstOrder, SecondOrder
from nas_lightning.errors import UserError
from nas_lightning.perturbations import AdversarialBall, RandomBall
from nas_lightning.perturbations.base import onto_simplex
from nas_lightning.relaxations import GumbelHard, Softmax
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.spaces.darts import bank as darts
from nas_lightning.spaces.norms import SupernetNorm, running_statistics
from nas_lightning.spaces.weights import EdgeWeights
from nas_lightning.spaces.widening import widen
from nas_lightning.supernet.curvature import hessian_product
from nas_lightning.supernet.graphs import StepGraphs
from nas_lightning.supernet.module import SupernetModule
from nas_lightning.supernet.runner import StepRunner
from speed.reference import ReferenceSupernet
from speed.reference_darts import ReferenceDartsSupernet
from tests.conftest import composed
from tests.test_darts_supernet import SETTINGS, betas, noise_pattern
from tests.test_nb201_supernet import relative_error
from tests.test_search import interrupt, rows, weights
from tests.test_widening import Kept, copies

SPACES = {
    "nb201": functools.partial(NB201, C=4, N=1),
    "nb201_bias": functools.partial(NB201, C=4, N=1, conv_bias=True),
    **{name: functools.partial(DARTS, C=4, num_cells=4, **settings) for name, settings in SETTINGS.items()},
}
KEEPS = "space.running_statistics=true"


# ---- the slow reference ----


def keeping(module):
    """The reference's copy with an nn.BatchNorm2d in the place of every norm."""
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, SupernetNorm | nn.BatchNorm2d):
                affine = norm.weight is not None
                channels = len(norm.weight) if affine else norm.num_features
                own = nn.BatchNorm2d(channels, affine=affine).to(torch.float64)
                if affine:
                    own.load_state_dict({"weight": norm.weight, "bias": norm.bias}, strict=False)
                setattr(parent, name, own)
    return module


class Pair:
    """A supernet that keeps running statistics and its reference, called alike: (x, {cell type: beta_EO}) -> logits."""

    def __init__(self, space):
        torch.manual_seed(0)
        self.space = space
        self.supernet = space.supernet(5).double()
        is_darts = isinstance(space, DARTS)
        reference = ReferenceDartsSupernet(self.supernet, space.cells) if is_darts else ReferenceSupernet(self.supernet)
        self.reference = keeping(reference)
        pixels = 8 if space.stem == "imagenet" else 1
        self.side = (12 * pixels, 8 * pixels)

    def batch(self, seed):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(4, 3, *self.side, generator=generator, dtype=torch.float64) * (1 + seed) + seed
        return x, torch.randint(5, (4,), generator=generator)

    def betas(self, seed, kind="random"):
        generator = torch.Generator().manual_seed(seed)
        return {name: betas(spec, kind, generator) for name, spec in self.space.cells.items()}

    def ours(self, x, betas, active=None):
        edge = self.edge_weights()
        return self.supernet(
            x,
            {
                name: EdgeWeights(beta, spec.candidates if active is None else active[name], edge and edge[name])
                for (name, spec), beta in zip(self.space.cells.items(), betas.values(), strict=True)
            },
        )

    def theirs(self, x, betas):
        if isinstance(self.space, DARTS):
            return self.reference(x, betas, self.edge_weights())
        return self.reference(x, betas["cell"])

    def edge_weights(self):
        if not self.space.cells[next(iter(self.space.cells))].edge_weights:
            return None
        generator = torch.Generator().manual_seed(9)
        return {name: torch.rand(14, generator=generator, dtype=torch.float64) for name in self.space.cells}

    def mode(self, training):
        self.supernet.train(training)
        self.reference.train(training)


@pytest.fixture(params=list(SPACES))
def pair(request, monkeypatch):
    monkeypatch.setattr(darts, "noise_like", noise_pattern)
    return Pair(SPACES[request.param](running_statistics=True))


@pytest.mark.parametrize("kind", ["random", "one_hot"])
def test_eval_mode_is_that_of_a_batch_norm_for_every_operation_of_every_edge(pair, kind):
    """After three forward passes in training mode, of different images and betas: logits and beta's gradient."""
    for seed in range(3):
        x, _ = pair.batch(seed)
        beta = pair.betas(seed)
        assert relative_error(pair.ours(x, beta), pair.theirs(x, beta)) < 1e-10
    pair.mode(training=False)
    before = [buffer.clone() for buffer in pair.supernet.buffers()]
    x, y = pair.batch(3)
    beta = {name: value.requires_grad_() for name, value in pair.betas(3, kind).items()}
    ours, theirs = pair.ours(x, beta), pair.theirs(x, beta)
    assert relative_error(ours, theirs) < 1e-10
    leaves = list(beta.values())
    gradients = torch.autograd.grad(F.cross_entropy(ours, y), leaves)
    wanted = torch.autograd.grad(F.cross_entropy(theirs, y), leaves)
    for gradient, other in zip(gradients, wanted, strict=True):
        assert other.norm() > 0
        assert relative_error(gradient, other) < 1e-10
    assert all(torch.equal(one, other) for one, other in zip(before, pair.supernet.buffers(), strict=True))
    pair.mode(training=True)
    assert relative_error(pair.ours(x, beta), ours) > 1e-3  # the batch's own are others


def test_of_what_a_pass_leaves_out_nothing_moves(pair):
    """Passes of half of the operations, as a draw computes them; the pools, whose norm all edges share, in all passes."""
    generator = torch.Generator().manual_seed(4)
    for seed in range(3):
        x, _ = pair.batch(seed)
        beta, active = pair.betas(seed), {}
        for name, spec in pair.space.cells.items():
            pools = torch.tensor(["pool" in operation for operation in spec.operations])
            random_EO = torch.rand(spec.mask_EO.shape, generator=generator) * spec.mask_EO
            drawn_EO = (random_EO > 0.5) | (random_EO == random_EO.amax(-1, keepdim=True)) | pools  # one at least
            beta[name] = beta[name] * drawn_EO
            active[name] = (drawn_EO & spec.mask_EO).tolist()
        pair.ours(x, beta, active)
        resting = resting_operations(pair, active)
        for operation in resting:
            operation.eval()
        pair.theirs(x, beta)
        for operation in resting:
            operation.train()
    pair.mode(training=False)
    x, _ = pair.batch(5)
    assert relative_error(pair.ours(x, pair.betas(6)), pair.theirs(x, pair.betas(6))) < 1e-10
    one_hot = pair.betas(7, "one_hot")
    left = {name: (beta > 0).tolist() for name, beta in one_hot.items()}
    assert relative_error(pair.ours(x, one_hot, left), pair.theirs(x, one_hot)) < 1e-10


def resting_operations(pair, active):
    if isinstance(pair.space, DARTS):
        cells = list(zip(pair.supernet.cell_types, pair.reference.cells, strict=True))
    else:
        cells = [("cell", cell) for stage in pair.reference.stages for cell in stage]
    return [
        operation
        for name, cell in cells
        for edge, row in zip(cell.edges, active[name], strict=True)
        for operation, computed in zip(pair.space.cells[name].operations, row, strict=True)
        if not computed and operation in edge.operations
        for operation in [edge.operations[operation]]
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_norm_is_one_batch_norm_for_each_edge(dtype):
    """In float32 of 2**15 values a channel too, whose statistics a CPU takes of parts."""
    edges, channels = 3, 4
    ours = SupernetNorm(channels, running=True, edges=edges).to(dtype)
    theirs = [nn.BatchNorm2d(channels, affine=False).double() for _ in range(edges)]
    generator = torch.Generator().manual_seed(0)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    for step, images in enumerate((2, 2**7, 3)):
        positions = ((0, 2), (0, 1, 2), (1,))[step]
        x = torch.randn(images, len(positions) * channels, 16, 16, generator=generator, dtype=dtype) * 3 + 5
        x = x.contiguous(memory_format=torch.channels_last)
        scale = torch.rand(len(positions) * channels, generator=generator, dtype=dtype)
        output = ours(x, positions, scale)
        parts = x.double().split(channels, 1)
        wanted = torch.cat([theirs[p](part) for p, part in zip(positions, parts, strict=True)], 1)
        assert relative_error(output.double(), wanted * scale.double()[:, None, None]) < tolerance
    means = torch.cat([norm.running_mean for norm in theirs])
    variances = torch.cat([norm.running_var for norm in theirs])
    assert torch.allclose(ours.running_mean.double(), means, rtol=tolerance)
    assert torch.allclose(ours.running_var.double(), variances, rtol=tolerance)
    assert (ours.running_var - 1).abs().min() > 0.1


# ---- off ----


@pytest.mark.parametrize("name", ["nb201", "darts"])
def test_a_supernet_keeps_none_unless_asked(name):
    torch.manual_seed(0)
    without = SPACES[name]().supernet(5)
    torch.manual_seed(0)
    keeps = SPACES[name](running_statistics=True).supernet(5)
    assert not list(without.buffers())
    assert list(keeps.buffers())
    assert {*without.state_dict()} == {name for name, _ in keeps.named_parameters()}
    pair = Pair(SPACES[name]())
    x, _ = pair.batch(0)
    training = pair.ours(x, pair.betas(0))
    pair.mode(training=False)
    assert torch.equal(pair.ours(x, pair.betas(0)), training)
    assert all(torch.equal(one, other) for one, other in zip(without.parameters(), keeps.parameters(), strict=True))


# ---- the attack ----


def module(perturbation=None, relaxation=None, space=None, keeps=True, **settings):
    torch.manual_seed(0)
    made = SupernetModule(
        space or NB201(C=4, N=1, running_statistics=keeps), relaxation or Softmax(), 5,
        functools.partial(torch.optim.SGD, lr=0.05), functools.partial(torch.optim.Adam, lr=1e-3),
        perturbation=perturbation, **settings,
    ).double()  # fmt: skip
    with torch.no_grad():
        for alpha in made.architecture.alpha.values():
            alpha.copy_(torch.randn_like(alpha))
    return made


def images(seed, size=6):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 3, 12, 8, generator=generator, dtype=torch.float64) * (seed + 1)
    return x, torch.randint(5, (size,), generator=generator)


def batches():
    return {"train": images(1), "valid": images(2)}


def attacked(reference, batch, beta, noise, r, mask):
    """methods' SDARTS-ADV in eval mode; the projection is held to the row by row one in test_perturbations."""
    reference.eval()

    def loss(p):
        return F.cross_entropy(reference(batch[0], p), batch[1])

    p = onto_simplex(beta + r * noise, mask)
    for _ in range(7):
        leaf = p.clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(leaf), leaf)
        p = onto_simplex(beta + (p + 2 * r / 7 * slope.sign() - beta).clamp(-r, r), mask)
    worst = beta if loss(beta) > loss(p) else p
    reference.train()
    return worst


def test_the_attack_is_the_authors_in_eval_mode_and_the_weights_then_see_the_batchs_own():
    """Two weight steps: the second attacks at what the first has left."""
    searched = module(AdversarialBall(running_statistics=True))
    reference = keeping(ReferenceSupernet(searched.supernet))
    mask, r = searched.architecture.mask("cell"), 0.03
    beta = torch.softmax(searched.architecture.alpha["cell"].detach(), -1)
    apart = []
    for step in (1, 2):
        drawn = searched.draw(step, for_weights=True)
        ours = searched.gradients("weights", {"train": images(step)}, drawn)
        worst = attacked(reference, images(step), beta, drawn["perturbation/cell"], r, mask)
        reference.zero_grad()
        loss = F.cross_entropy(reference(images(step)[0], worst), images(step)[1])
        loss.backward()
        assert ours[0].item() == pytest.approx(loss.item(), rel=1e-10)
        assert relative_error(ours[2], reference.stem[0].weight.grad) < 1e-8
        assert torch.allclose(searched.supernet.stem[1].running_mean, reference.stem[1].running_mean, rtol=1e-10)
        norms = [op[2] for edge in reference.stages[0][0].edges for op in (edge.operations["nor_conv_3x3"],)]
        bank = searched.supernet.stages[0][0].banks[0]
        wanted = torch.cat([norms[e].running_var for e in bank.edges])
        assert torch.allclose(bank.convs["nor_conv_3x3"].norm.running_var, wanted, rtol=1e-8)
        by_batch = module(AdversarialBall())
        by_batch.load_state_dict(searched.state_dict())
        apart.append(by_batch.gradients("weights", {"train": images(step)}, drawn)[0].item() != ours[0].item())
    assert all(apart)
    assert searched.supernet.training


@pytest.mark.parametrize("perturbation", [AdversarialBall(), AdversarialBall(running_statistics=True), RandomBall()])
def test_an_attack_moves_no_statistics(perturbation):
    """Of the weight step's one pass alone they move: to a tenth, in the stem whose input no perturbation changes."""
    searched = module(perturbation)
    searched.gradients("weights", batches(), searched.draw(0, for_weights=True))
    stem = searched.supernet.stem
    assert torch.allclose(stem[1].running_mean, 0.1 * stem[0](images(1)[0]).mean((0, 2, 3)), rtol=1e-10)


def test_an_attack_at_statistics_that_are_not_kept_is_refused():
    with pytest.raises(UserError, match=r"perturbation.running_statistics=true .* or space.running_statistics=true"):
        module(AdversarialBall(running_statistics=True), keeps=False)


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_what_is_no_flag_is_refused(value):
    with pytest.raises(UserError, match=r"space.running_statistics"):
        NB201(C=4, N=1, running_statistics=value)
    with pytest.raises(UserError, match=r"space.running_statistics"):
        DARTS(C=4, num_cells=3, running_statistics=value)
    with pytest.raises(UserError, match=r"perturbation.running_statistics"):
        AdversarialBall(running_statistics=value)


@pytest.mark.parametrize(
    ("overrides", "attack"),
    [((), False), ((KEEPS,), True), ((KEEPS, "perturbation.running_statistics=false"), False),
     (("protocol=published",), True), (("protocol=published", "space=s2"), True)],
)  # fmt: skip
def test_sdarts_adv_attacks_in_eval_mode_where_the_supernet_keeps_statistics(overrides, attack):
    config = composed("method=sdarts_adv", "run_dir=x", *overrides)
    assert instantiate(config.perturbation).running_statistics is attack
    assert config.space.running_statistics is (attack or KEEPS in overrides)


# ---- what else passes forwards ----


def stem_mean(searched, part):
    return searched.supernet.stem[0](batches()[part][0]).mean((0, 2, 3)).detach()


def test_an_architecture_step_moves_them_by_its_batch():
    searched = module()
    FirstOrder().alpha_gradients(searched.halves, batches(), {}, None)
    assert torch.allclose(searched.supernet.stem[1].running_mean, 0.1 * stem_mean(searched, "valid"), rtol=1e-10)


def test_looking_ahead_moves_them_by_the_training_batch_three_times():
    """As methods' program, which computes the validation loss on a copy. Of a tiny radius, so that all three are alike."""
    searched = module()

    def ahead(gradients):
        return [-0.05 * gradient for gradient in gradients]

    ahead.rate = torch.tensor(0.05)
    SecondOrder(radius=1e-9).alpha_gradients(searched.halves, batches(), {}, ahead)
    wanted = (1 - 0.9**3) * stem_mean(searched, "train")
    assert torch.allclose(searched.supernet.stem[1].running_mean, wanted, rtol=1e-6)


def test_curvature_moves_none():
    searched = module()
    before = [buffer.clone() for buffer in searched.supernet.buffers()]
    product = hessian_product(searched.halves, images(1))
    plain = hessian_product(module(keeps=False).halves, images(1))
    v_N = torch.randn(30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(product(v_N), plain(v_N), rtol=1e-9)
    assert all(torch.equal(one, other) for one, other in zip(before, searched.supernet.buffers(), strict=True))


def test_operations_of_negligible_weight_are_computed_but_undrawn_ones_are_not():
    searched, without = module(), module(keeps=False)
    for each in (searched, without):
        with torch.no_grad():
            each.architecture.alpha["cell"].mul_(1e3)
        each.halves.skipping.restart(0.0)
        each.halves.skipping.count({})
    assert without.halves.skipping.share < 0.5
    assert searched.halves.skipping.share == 1
    drawn = module(relaxation=GumbelHard())
    drawn.halves.skipping.restart(0.0)
    drawn.halves.skipping.count(drawn.draw(0, for_weights=True))
    assert drawn.halves.skipping.share == 1 / 5


def test_a_capture_leaves_them_as_if_it_had_been_one_step():
    """The capture of a graph runs the step three times before, and a replay once."""
    searched, eager = module(), module()

    def capture(step):
        for _ in range(3):
            outputs = step()
        return step, outputs

    graphs = StepGraphs(capture, searched.supernet.buffers)
    for seed in range(3):
        x, y = images(seed)
        graphs.run(
            "alpha", 0, lambda x, y: FirstOrder().alpha_gradients(searched.halves, {"valid": (x, y)}, {}, None), x, y
        )
        FirstOrder().alpha_gradients(eager.halves, {"valid": (x, y)}, {}, None)
    for one, other in zip(searched.supernet.buffers(), eager.supernet.buffers(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["nb201", "darts"])
def test_wider_operations_have_copies_of_their_channels_statistics(name):
    space = (NB201(C=8, N=1, partial=4, running_statistics=True) if name == "nb201"
             else DARTS(C=8, num_cells=3, partial=4, none=True, running_statistics=True))  # fmt: skip
    supernet = space.supernet(3)
    for buffer in supernet.buffers():
        buffer.uniform_(0.5, 2)
    old = {key: value.clone() for key, value in supernet.state_dict().items()}
    widening = Kept()
    widen(supernet.cells(), 2, widening)
    if name == "nb201":
        place, outputs = "stages.0.0.banks.0.convs.nor_conv_1x1", widening.draws[1]
    else:
        place, outputs = "layers.0.banks.0.kinds.sep_conv_3x3.first", widening.draws[1]
        kinds = list(supernet.layers[0].banks[0].kinds)
        assert kinds[0] == "sep_conv_3x3"
        pool = supernet.layers[0].banks[0].pool_norms["max_pool_3x3"]
        assert torch.equal(pool.running_var[:2], old["layers.0.banks.0.pool_norms.max_pool_3x3.running_var"])
        assert {*pool.running_var.tolist()} == {*pool.running_var[:2].tolist()}
    for statistic in ("running_mean", "running_var"):
        grown = supernet.get_submodule(place).norm.get_buffer(statistic)
        assert torch.equal(grown, copies(old[f"{place}.norm.{statistic}"], outputs))
    wide = (NB201(C=8, N=1, partial=2, running_statistics=True) if name == "nb201"
            else DARTS(C=8, num_cells=3, partial=2, none=True, running_statistics=True)).supernet(3)  # fmt: skip
    wide.load_state_dict(supernet.state_dict())


def test_without_statistics_the_draws_of_a_widening_are_as_they_were():
    """A pool's norm draws only where there is something to copy."""
    narrow = [DARTS(C=8, num_cells=3, partial=4, running_statistics=keeps).supernet(3) for keeps in (False, True)]
    draws = []
    for supernet in narrow:
        widening = Kept()
        widen(supernet.cells(), 2, widening)
        draws.append(len(widening.draws))
    pools = sum(len(bank.pool_norms) for cell in narrow[1].cells() for bank in cell.banks)
    assert draws[1] - draws[0] == pools > 0


def test_curvature_of_a_users_own_batch_norms_moves_none():
    """The graph of the gradient, which all products go back through, has their statistics among what it keeps."""
    searched = module()
    searched.supernet.stem[1] = nn.BatchNorm2d(4).double()
    product = hessian_product(searched.halves, images(1))
    assert not searched.supernet.stem[1].running_mean.any()
    plain = hessian_product(module(keeps=False).halves, images(1))
    v_N = torch.randn(30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(product(v_N), plain(v_N), rtol=1e-9)


def test_of_a_users_supernet_statistics_are_averaged_and_nothing_else():
    supernet = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False))
    supernet.register_buffer("table", torch.arange(3))
    assert running_statistics(supernet) == [supernet[1].running_mean, supernet[1].running_var]
    assert running_statistics(nn.Sequential(nn.BatchNorm2d(4, track_running_stats=False))) == []


def test_an_attack_leaves_the_mode_of_every_module():
    searched = module(AdversarialBall(running_statistics=True))
    frozen = searched.supernet.stem[1].eval()
    searched.gradients("weights", batches(), searched.draw(0, for_weights=True))
    assert not frozen.training
    assert searched.supernet.training


def test_a_half_step_that_fails_when_compiled_moves_them_once():
    searched, eager = module(), module()
    runner = StepRunner(searched.halves, graphs=False, compiled=True)
    failed = []

    def gradients(halves, batches, drawn):
        outputs = FirstOrder().alpha_gradients(halves, batches, {}, None)
        if halves is searched.halves and not failed:
            failed.append(True)
            raise RuntimeError("no compiler")
        return outputs

    runner.run("alpha", functools.partial(gradients, searched.halves), {"valid": images(0)}, {})
    gradients(eager.halves, {"valid": images(0)}, {})
    assert failed
    for one, other in zip(searched.supernet.buffers(), eager.supernet.buffers(), strict=True):
        assert torch.equal(one, other)


# ---- whole searches ----


@pytest.mark.parametrize(
    "choices",
    [("method=edd",), ("method=sdarts_adv",), ("method=darts_v2",), ("method=gdas", "space=darts"),
     ("method=drnas_progressive", "space=darts", "space.C=8"), ("method=darts_pt",)],
    ids=" ".join,
)  # fmt: skip
def test_an_interrupted_search_equals_an_uninterrupted_one(choices, toy, tmp_path, monkeypatch):
    toy("whole", *choices, KEEPS)
    interrupt(monkeypatch, epoch=3)
    with pytest.raises(SystemExit):
        toy("stopped", *choices, KEEPS)
    toy("stopped", *choices, KEEPS)
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
    ours, theirs = weights(tmp_path / "stopped"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    statistics = [name for name in theirs if "running_mean" in name]
    assert statistics
    assert sum(bool(theirs[name].any()) for name in statistics) > len(statistics) / 2


def test_they_change_the_discretised_accuracy_and_nothing_else(toy, tmp_path):
    """DARTS at t = 1, where nothing is left out: the same steps."""
    toy("batch", "method=darts")
    toy("running", "method=darts", KEEPS)
    ours, theirs = rows(tmp_path / "running"), rows(tmp_path / "batch")
    differing = {key for one, other in zip(ours, theirs, strict=True) for key in one if one[key] != other[key]}
    assert {"discrete_loss"} <= differing <= {"discrete_loss", "discrete_accuracy"}
    ours, theirs = weights(tmp_path / "running"), weights(tmp_path / "batch")
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_a_compiled_cell_moves_them_as_an_eager_one():
    """As one graph, with half of the operations left out too, and in eval mode."""
    pair, other = (Pair(SPACES["nb201"](running_statistics=True)) for _ in range(2))
    list(pair.supernet.cells())[1].compile(dynamic=False, fullgraph=True, backend="aot_eager")
    sparse = pair.betas(1, "sparse")
    for seed, beta in enumerate((pair.betas(0), sparse)):
        x, _ = pair.batch(seed)
        active = {cell: (value > 0).tolist() for cell, value in beta.items()}
        assert relative_error(pair.ours(x, beta, active), other.ours(x, beta, active)) < 1e-12
    for one, eager in zip(pair.supernet.buffers(), other.supernet.buffers(), strict=True):
        assert torch.allclose(one, eager, rtol=1e-12, atol=1e-14)
    for each in (pair, other):
        each.mode(training=False)
    assert relative_error(pair.ours(x, sparse), other.ours(x, sparse)) < 1e-12


def test_a_search_that_a_version_without_them_began_goes_on_without_and_not_with(toy, tmp_path, monkeypatch):
    toy("whole", "method=edd")
    interrupt(monkeypatch, epoch=2)
    with pytest.raises(SystemExit):
        toy("stopped", "method=edd")
    path = tmp_path / "stopped" / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    del state[_OURS]["settings"]["space.running_statistics"]
    torch.save(state, path)
    with pytest.raises(UserError, match=r"an interrupted run with space.running_statistics=False, now it is True"):
        toy("stopped", "method=edd", KEEPS)
    toy("stopped", "method=edd")
    ours, theirs = weights(tmp_path / "stopped"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
