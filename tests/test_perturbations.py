"""What every perturbation of conf/perturbation promises; SmoothDARTS' two against loops written out row by row."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate

from nas_lightning.errors import UserError
from nas_lightning.perturbations import AdversarialBall, DoubleSoftmax, RandomBall, UniformPaths
from nas_lightning.perturbations.base import onto_simplex
from nas_lightning.ramps import Ramp
from nas_lightning.relaxations import Dirichlet, GumbelHard, Softmax
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.supernet.module import SupernetModule
from speed.reference import ReferenceSupernet
from tests.axes import options, toy_choice
from tests.conftest import composed
from tests.test_bilevel import batches
from tests.test_penalties import SPACES, dropped, leaves, view_of

PERTURBATIONS = {
    option: instantiate(composed(*toy_choice("perturbation", option), "run_dir=x").perturbation)
    for option in options("perturbation")
}
PROGRESS = torch.tensor(0.6, dtype=torch.float64)


@pytest.fixture(params=sorted(PERTURBATIONS))
def perturbation(request):
    return PERTURBATIONS[request.param]


def toy_loss(cells, device="cpu"):
    """Of betas that meet: no entry's gradient is a constant."""
    generator = torch.Generator().manual_seed(5)
    weights = {
        name: torch.randn(spec.mask_EO.shape, generator=generator, dtype=torch.float64).to(device)
        for name, spec in cells.items()
    }

    def loss(betas):
        totals = [(weights[name] * beta).sum(0) for name, beta in betas.items()]
        return sum(total.sin().sum() + total.square().sum() for total in totals)

    return loss


def setting(space, narrowed=False):
    """(view, betas, loss): betas from alpha at random, 0 where nothing may be."""
    cells = SPACES[space].cells
    alphas, edges = leaves(cells)
    view = view_of(cells, alphas, edges, dropped(cells) if narrowed else None)
    betas = {name: cell.probabilities_EO.detach() for name, cell in view.items()}
    return view, betas, toy_loss(cells)


def perturbed(perturbation, view, betas, loss, seed=0, progress=PROGRESS):
    drawn = perturbation.draw(view, torch.Generator().manual_seed(seed))
    return perturbation(betas, loss, view, progress, drawn)


@pytest.mark.parametrize("narrowed", [False, True])
@pytest.mark.parametrize("space", sorted(SPACES))
def test_rows_stay_on_the_simplex_and_what_is_no_candidate_stays_0(perturbation, space, narrowed):
    view, betas, loss = setting(space, narrowed)
    moved = perturbed(perturbation, view, betas, loss)
    assert moved.keys() == betas.keys()
    for name, beta in moved.items():
        mask = view[name].mask_EO
        assert beta.shape == mask.shape
        assert beta.isfinite().all()
        assert ((beta >= 0) & (beta <= 1)).all()
        assert (beta[~mask] == 0).all()
        assert torch.allclose(beta.sum(-1), mask.any(-1).double(), atol=1e-12)
        assert not torch.equal(beta, betas[name])


def test_the_same_draw_gives_the_same_bits_and_draws_are_left_to_the_generator(perturbation):
    view, betas, loss = setting("nb201")
    state = torch.get_rng_state()
    one, again, other = (perturbed(perturbation, view, betas, loss, seed)["cell"] for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert torch.equal(one, other) != bool(perturbation.draw(view, torch.Generator()))
    assert torch.equal(torch.get_rng_state(), state)


def test_it_reads_nothing_back_to_the_host(perturbation):
    """On the meta device there is no value to read."""
    cells = SPACES["partial"].cells
    alphas, edges = leaves(cells)
    view = view_of(cells, {n: a.detach().to("meta") for n, a in alphas.items()}, {}, device="meta")
    betas = {name: torch.empty(spec.mask_EO.shape, device="meta", dtype=torch.float64) for name, spec in cells.items()}
    noise = perturbation.draw(view_of(cells, alphas, edges), torch.Generator().manual_seed(0))
    drawn = {name: value.to("meta") for name, value in noise.items()}
    moved = perturbation(betas, toy_loss(cells, "meta"), view, torch.empty((), device="meta"), drawn)
    assert {beta.device.type for beta in moved.values()} == {"meta"}


def clip(row, mask):
    """SmoothDARTS' attacker/perturb.py: into [0, 1], over its sum; 1 for the largest where nothing is left."""
    largest = max((value, -o) for o, (value, may) in enumerate(zip(row, mask, strict=True)) if may)[1]
    kept = [min(1.0, max(0.0, value)) if may else 0.0 for value, may in zip(row, mask, strict=True)]
    if sum(kept) == 0:
        kept[-largest] = 1.0
    return [value / sum(kept) for value in kept]


def clipped(rows, mask):
    kept = [
        clip(row, may) if any(may) else [0.0] * len(row) for row, may in zip(rows.tolist(), mask.tolist(), strict=True)
    ]
    return torch.tensor(kept, dtype=torch.float64)


def slow_random(betas, noise, masks, r):
    return {name: clipped(beta + r * noise[name], masks[name]) for name, beta in betas.items()}


def slow_adversarial(betas, noise, masks, r, loss, steps=7):
    """methods' SDARTS-ADV, entry by entry."""
    first = loss(betas).item()
    p = slow_random(betas, noise, masks, r)
    for _ in range(steps):
        attached = {name: value.clone().requires_grad_() for name, value in p.items()}
        loss(attached).backward()
        for name, start in betas.items():
            rows = p[name].tolist()
            for e, row in enumerate(rows):
                for o, value in enumerate(row):
                    slope = attached[name].grad[e, o].item()
                    value += 2 * r / steps * ((slope > 0) - (slope < 0))
                    rows[e][o] = start[e, o].item() + min(r, max(-r, value - start[e, o].item()))
            p[name] = clipped(torch.tensor(rows, dtype=torch.float64), masks[name])
    return betas if first > loss(p).item() else p


def masks_of(view):
    return {name: cell.mask_EO for name, cell in view.items()}


@pytest.mark.parametrize("narrowed", [False, True])
@pytest.mark.parametrize("space", sorted(SPACES))
def test_random_ball_is_the_loop_over_rows(space, narrowed):
    view, betas, loss = setting(space, narrowed)
    noise = RandomBall().draw(view, torch.Generator().manual_seed(0))
    ours = RandomBall()(betas, loss, view, PROGRESS, noise)
    wanted = slow_random(betas, noise, masks_of(view), 0.03 + 0.27 * 0.6)
    assert all(torch.allclose(ours[name], wanted[name], rtol=1e-12, atol=1e-15) for name in betas)


@pytest.mark.parametrize(("steps", "narrowed"), [(1, False), (7, False), (7, True)])
@pytest.mark.parametrize("space", sorted(SPACES))
def test_adversarial_ball_is_the_loop_over_entries(space, steps, narrowed):
    view, betas, loss = setting(space, narrowed)
    noise = AdversarialBall().draw(view, torch.Generator().manual_seed(0))
    ours = AdversarialBall(steps=steps)(betas, loss, view, PROGRESS, noise)
    wanted = slow_adversarial(betas, noise, masks_of(view), 0.03 + 0.27 * 0.6, loss, steps)
    assert all(torch.allclose(ours[name], wanted[name], rtol=1e-10, atol=1e-13) for name in betas)
    assert any(not torch.equal(ours[name], betas[name]) for name in betas)


def slow_softmax(row, mask, t):
    terms = [math.exp(value / t) if may else 0.0 for value, may in zip(row, mask, strict=True)]
    return [term / sum(terms) if any(mask) else 0.0 for term in terms]


@pytest.mark.parametrize("temperature", [1.0, 0.3, 0.02])
@pytest.mark.parametrize("narrowed", [False, True])
@pytest.mark.parametrize("space", sorted(SPACES))
def test_double_softmax_is_the_softmax_of_a_softmax(space, narrowed, temperature):
    view, betas, loss = setting(space, narrowed)
    view = {name: cell.at(temperature) for name, cell in view.items()}
    ours = perturbed(DoubleSoftmax(), view, betas, loss)
    for name, cell in view.items():
        for row, alpha, mask in zip(ours[name], cell.alpha_EO.tolist(), cell.mask_EO.tolist(), strict=True):
            wanted = slow_softmax(slow_softmax(alpha, mask, 1.0), mask, temperature)
            assert row.tolist() == pytest.approx(wanted, rel=1e-12)


def test_a_gap_of_two_operations_becomes_its_hyperbolic_tangent():
    module = make(DoubleSoftmax(), DARTS(candidates="s2", C=4, num_cells=3), temperature=0.05)
    alpha_EO = module.architecture.alpha["normal"].detach()
    beta_EO = DoubleSoftmax()({}, None, module.architecture.view(), None, {})["normal"].detach()
    left = module.architecture.mask("normal")
    for alpha_O, beta_O, may in zip(alpha_EO, beta_EO, left, strict=True):
        (one, other), (p, q) = alpha_O[may].tolist(), beta_O[may].tolist()
        assert math.log(p / q) == pytest.approx(math.tanh((one - other) / 2) / 0.05, rel=1e-9)


def test_the_architecture_step_and_alpha_are_left_as_they_are():
    plain, doubled = make(None, temperature=0.1), make(DoubleSoftmax(), temperature=0.1)
    before = doubled.architecture.alpha["cell"].detach().clone()
    ours, theirs = (m.gradients("alpha", batches(), {})[2:] for m in (doubled, plain))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    doubled.gradients("weights", batches(), {})
    assert torch.equal(doubled.architecture.alpha["cell"], before)


@pytest.mark.parametrize("relaxation", [GumbelHard(), Dirichlet()])
def test_it_is_refused_where_beta_is_drawn(relaxation):
    with pytest.raises(UserError, match=r"perturbation, which makes beta of alpha alone, .* draws it; drop one"):
        SupernetModule(
            NB201(C=4, N=1), relaxation, 10, functools.partial(torch.optim.SGD, lr=0.05),
            functools.partial(torch.optim.Adam, lr=1e-3), perturbation=DoubleSoftmax(),
        )  # fmt: skip


@pytest.mark.parametrize("narrowed", [False, True])
@pytest.mark.parametrize("space", sorted(SPACES))
def test_a_share_of_the_steps_has_paths_of_all_cells_together_and_the_others_beta(space, narrowed):
    view, betas, loss = setting(space, narrowed)
    steps = [perturbed(UniformPaths(share=0.3), view, betas, loss, seed) for seed in range(200)]
    paths = [moved for moved in steps if not all(torch.equal(moved[name], betas[name]) for name in betas)]
    assert 40 <= len(paths) <= 80  # 60 +- 6.5
    for moved in paths:
        for name, path in moved.items():
            candidates = view[name].mask_EO.any(-1)
            assert torch.equal(path.sort(-1, descending=True).values[:, 0], candidates.double())
            assert torch.equal(path.sum(-1), candidates.double())


def test_paths_are_uniform_over_the_candidates_and_independent_from_edge_to_edge():
    view, betas, loss = setting("nb201", narrowed=True)
    draws = 3_000
    paths = torch.stack([perturbed(UniformPaths(1.0), view, betas, loss, seed)["cell"] for seed in range(draws)])
    mask = view["cell"].mask_EO.double()
    shares = mask / mask.sum(-1, keepdim=True).clamp_min(1)
    spread = (shares * (1 - shares) / draws).sqrt()
    assert ((paths.mean(0) - shares).abs() <= 4.5 * spread + 1e-12).all()
    both = torch.einsum("dep,dfq->efpq", paths, paths) / draws
    wanted = torch.einsum("ep,fq->efpq", shares, shares)
    apart = ~torch.eye(len(mask), dtype=torch.bool)
    assert ((both - wanted).abs()[apart] <= 4.5 * (wanted * (1 - wanted) / draws).sqrt()[apart] + 1e-12).all()


def test_the_weights_gradient_of_a_path_is_that_of_the_network_of_its_operations():
    module = make(UniformPaths(1.0), temperature=0.01)
    drawn = module.draw(0, for_weights=True)
    ours = module.gradients("weights", batches(), drawn)
    (path,) = [value for name, value in drawn.items() if "cell" in name]
    decided = make(None, temperature=0.01)
    decided.load_state_dict(module.state_dict())
    with torch.no_grad():
        decided.architecture.alpha["cell"].copy_(100 * path)  # beta is one-hot
    decided.halves.skipping.restart(0.0)
    wanted = decided.gradients("weights", batches(), {})
    assert ours[0].item() == pytest.approx(wanted[0].item(), rel=1e-12)
    assert sum(each is not None and bool(each.any()) for each in wanted[2:]) > 10
    for one, other in zip(ours[2:], wanted[2:], strict=True):
        one, other = (torch.zeros((), dtype=torch.float64) if each is None else each for each in (one, other))
        assert (one - other).abs().max() < 1e-12


@pytest.mark.parametrize("share", [0, -0.5, 1.5, True, "half"])
def test_a_share_of_the_steps_is_above_0_and_up_to_1(share):
    with pytest.raises(UserError, match=r"perturbation.share must be a number above 0 and up to 1, got"):
        UniformPaths(share)


@pytest.mark.parametrize(
    "row",
    [
        [-0.1, -0.3, -0.2, -0.5, -0.4],
        [-0.3, -0.1, -0.1, -0.2, -0.9],
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [-0.1, 0.2, 1.4, 0.1, -3.0],
        [5.0, 0.1, 0.1, 0.1, 0.1],
    ],
    ids=str,
)
@pytest.mark.parametrize("mask", [[True] * 5, [False, True, True, False, True]], ids=["all", "some"])
def test_a_row_of_which_nothing_is_left_keeps_its_largest_entry(row, mask):
    ours = onto_simplex(torch.tensor([row], dtype=torch.float64), torch.tensor([mask]))
    assert ours[0].tolist() == pytest.approx(clip(row, mask), abs=1e-15)


@pytest.mark.parametrize(("epoch", "radius"), [(0, 0.03), (49, 0.2946), (25, 0.165)])
def test_the_draw_is_within_the_radius_before_it_is_clipped(epoch, radius):
    """Of betas in the middle: nothing is clipped, and dividing by the sum is undone."""
    cells = {"cell": NB201(C=4, N=1).cells["cell"]}
    view = view_of(cells, {"cell": torch.zeros(6, 5, dtype=torch.float64)}, {})
    noise = RandomBall().draw(view, torch.Generator().manual_seed(0))
    beta = torch.full((6, 5), 0.5, dtype=torch.float64)
    r = RandomBall().radius(torch.tensor(epoch / 50, dtype=torch.float64))
    assert r.item() == pytest.approx(radius)
    moved = RandomBall()({"cell": beta}, None, view, torch.tensor(epoch / 50, dtype=torch.float64), noise)["cell"]
    before = 0.5 + r * noise["cell"]
    assert torch.allclose(moved, before / before.sum(-1, keepdim=True), rtol=1e-12)
    assert ((before - 0.5).abs() <= r).all()
    assert (before - 0.5).abs().max() > 0.8 * r
    assert (before - 0.5).min() < 0 < (before - 0.5).max()


def test_the_attacks_loss_is_never_below_the_unperturbed_one():
    kept = 0
    for seed in range(20):
        view, betas, _ = setting("nb201")
        generator = torch.Generator().manual_seed(seed)
        peak = betas["cell"] + 0.2 * torch.randn(6, 5, generator=generator, dtype=torch.float64)

        def loss(others, peak=peak):  # largest close to beta, so that some attacks end lower
            return -((others["cell"] - peak) * 20).square().sum().sqrt()

        moved = perturbed(AdversarialBall(steps=1), view, betas, loss, seed)
        assert loss(moved) >= loss(betas)
        kept += torch.equal(moved["cell"], betas["cell"])
    assert 0 < kept < 20  # both ends were met


def test_an_attack_of_equal_loss_is_kept():
    view, betas, _ = setting("nb201")

    def loss(others):
        return 0.0 * others["cell"].sum()

    assert not torch.equal(perturbed(AdversarialBall(), view, betas, loss)["cell"], betas["cell"])


def make(perturbation, space=None, temperature=1.0):
    torch.manual_seed(0)
    module = SupernetModule(
        space or NB201(C=4, N=1), Softmax(), 10, functools.partial(torch.optim.SGD, lr=0.05),
        functools.partial(torch.optim.Adam, lr=1e-3), perturbation=perturbation,
    ).double()  # fmt: skip
    with torch.no_grad():
        for alpha in module.architecture.alpha.values():
            alpha.copy_(0.5 * torch.randn_like(alpha))
    module.architecture.progress.fill_(0.6)
    module.architecture.set_temperature(temperature)
    module.halves.skipping.restart(0.0)
    return module


def test_a_weight_step_is_the_per_edge_references_at_the_perturbed_beta(perturbation):
    module = make(perturbation)
    architecture, (x, y) = module.architecture, batches()["train"]
    reference = ReferenceSupernet(module.supernet)
    drawn = module.halves.draw(torch.Generator().manual_seed(3), for_weights=True)
    noise = {name.removeprefix("perturbation/"): value for name, value in drawn.items()}

    def loss(betas):
        return F.cross_entropy(reference(x, betas["cell"]), y)

    betas = {"cell": torch.softmax(architecture.alpha["cell"].detach(), -1)}
    moved = perturbation(betas, loss, architecture.view(), architecture.progress, noise)
    if isinstance(perturbation, AdversarialBall):
        slow = slow_adversarial(betas, noise, {"cell": torch.ones(6, 5) > 0}, 0.03 + 0.27 * 0.6, loss)
        assert torch.allclose(moved["cell"], slow["cell"], rtol=1e-9, atol=1e-12)
    reference.zero_grad()
    wanted = F.cross_entropy(reference(x, moved["cell"]), y)
    wanted.backward()
    shared = {id(p): p.grad.clone() for p in module.supernet.parameters() if p.grad is not None}
    kernels = {
        id(stacked): torch.cat([k.grad for k in own]) for own, stacked in reference.stacked_pairs(module.supernet)
    }
    alpha = architecture.alpha["cell"].detach().clone()
    value, _, *gradients = module.halves.weight_gradients((x, y), drawn)
    assert value.item() == pytest.approx(wanted.item(), rel=1e-10)
    assert abs(value.item() - F.cross_entropy(reference(x, betas["cell"]), y).item()) > 1e-4
    for weight, gradient in zip(module.supernet.parameters(), gradients, strict=True):
        expected = shared[id(weight)] if id(weight) in shared else kernels[id(weight)]
        assert (gradient - expected).norm() <= 1e-9 * expected.norm() + 1e-12
    assert torch.equal(architecture.alpha["cell"], alpha)
    assert architecture.alpha["cell"].grad is None
    assert all(weight.requires_grad for weight in module.supernet.parameters())


@pytest.mark.parametrize("space", [NB201(C=4, N=1), DARTS(C=4, num_cells=3)], ids=lambda space: space.name)
def test_all_candidates_are_computed_where_beta_is_perturbed(perturbation, space, monkeypatch):
    """At a temperature where most have weight 0 without a perturbation."""
    seen = []
    forward = type(space.supernet(2)).forward

    def watching(self, x, weights):
        seen.append({name: cell.active for name, cell in weights.items()})
        return forward(self, x, weights)

    monkeypatch.setattr(type(space.supernet(2)), "forward", watching)
    for module, whole in ((make(perturbation, space, 1e-4), True), (make(None, space, 1e-4), False)):
        seen.clear()
        drawn = module.halves.draw(torch.Generator().manual_seed(0), for_weights=True)
        module.halves.weight_gradients(batches()["train"], drawn)
        assert all((active == module.architecture.candidates) == whole for active in seen)
        module.halves.skipping.count(drawn)
        assert (module.halves.skipping.share == 1) == whole


def test_the_architecture_step_is_not_perturbed(perturbation):
    perturbed_search, plain = make(perturbation), make(None)
    batch = batches()["valid"]
    drawn = perturbed_search.halves.draw(torch.Generator().manual_seed(0), for_weights=False)
    assert drawn == {}
    assert torch.equal(perturbed_search.halves.loss(batch, drawn)[0], plain.halves.loss(batch, {})[0])


def test_a_radius_of_0_changes_nothing_but_rounding():
    view, betas, loss = setting("nb201")
    for still in (RandomBall(Ramp(0.0, 0.0)), AdversarialBall(Ramp(0.0, 0.0))):
        assert torch.allclose(perturbed(still, view, betas, loss)["cell"], betas["cell"], rtol=1e-12)
