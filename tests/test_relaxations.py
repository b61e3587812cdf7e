"""What every relaxation promises, those of conf/relaxation and that of docs/extending.md."""

import math

import pytest
import torch
from hydra.utils import instantiate

from nas_lightning.cells import CellSpec
from nas_lightning.genotypes.nb201 import NB201_EDGES, NB201_OPERATIONS
from nas_lightning.relaxations import Softmax
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.supernet.architecture import Architecture
from nas_lightning.supernet.skipping import Skipping
from tests.axes import options
from tests.conftest import composed, view_of
from tests.extending import built

Sparsemax = built("relaxation", "Sparsemax")
RELAXATIONS = {
    option: instantiate(composed(f"relaxation={option}", "run_dir=x").relaxation) for option in options("relaxation")
}
RELAXATIONS["sparsemax"] = Sparsemax()
MASK = torch.tensor(
    [[True, True, False, True, True], [True, True, True, True, True], [False, False, True, False, False]]
)
T = torch.tensor(0.7, dtype=torch.float64)


def alphas(relaxation, seed=0):
    """Well inside of what the relaxation starts with: simplex parameters stay positive."""
    generator = torch.Generator().manual_seed(seed)
    start = relaxation.initial(MASK, generator).double()
    return (start + 0.3 * torch.rand(MASK.shape, generator=generator, dtype=torch.float64)).requires_grad_()


def drawn(relaxation, alpha, seed=1):
    """What the first pass of a half step is computed with."""
    with torch.no_grad():
        noise = relaxation.draw(alpha, MASK, T, torch.Generator().manual_seed(seed))
    return None if noise is None else relaxation.passes(noise)[0]


@pytest.fixture(params=sorted(RELAXATIONS))
def relaxation(request):
    return RELAXATIONS[request.param]


def test_what_is_no_candidate_has_weight_0_and_gradient_0(relaxation):
    alpha = alphas(relaxation)
    beta = relaxation(alpha, MASK, T, drawn(relaxation, alpha))
    assert (beta[~MASK] == 0).all()
    (beta * torch.randn(beta.shape, dtype=beta.dtype)).sum().backward()
    assert (alpha.grad[~MASK] == 0).all()
    assert alpha.grad.isfinite().all()


def test_rows_sum_to_one_where_the_relaxation_says_so(relaxation):
    alpha = alphas(relaxation)
    for beta in (relaxation(alpha, MASK, T, drawn(relaxation, alpha)), relaxation.probabilities(alpha, MASK, T)):
        assert (beta >= 0).all()
        if relaxation.sums_to_one:
            assert torch.allclose(beta.sum(-1), torch.ones(3, dtype=beta.dtype), atol=1e-12)


def test_the_same_draw_gives_the_same_bits_and_draws_are_left_to_the_generator(relaxation):
    alpha = alphas(relaxation)
    state = torch.get_rng_state()
    noise = drawn(relaxation, alpha)
    one, other = (relaxation(alpha, MASK, T, noise) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)
    again = drawn(relaxation, alpha)
    assert (noise is None and again is None) or torch.equal(noise, again)


def test_probabilities_are_the_mean_of_the_draws(relaxation):
    alpha = alphas(relaxation).detach()
    if drawn(relaxation, alpha) is None:
        assert torch.equal(relaxation.probabilities(alpha, MASK, T), relaxation(alpha, MASK, T))
        return
    mean = sum(relaxation(alpha, MASK, T, drawn(relaxation, alpha, seed)) for seed in range(10_000)) / 10_000
    assert torch.allclose(mean, relaxation.probabilities(alpha, MASK, T), atol=0.02)


def test_entropy_is_that_of_the_probabilities(relaxation):
    alpha = alphas(relaxation).detach()
    p = relaxation.probabilities(alpha, MASK, T)
    terms = [[-x * math.log(x) if x > 0 else 0.0 for x in row] for row in p.tolist()]
    if not relaxation.sums_to_one:
        others = [[-(1 - x) * math.log(1 - x) if 0 < x < 1 else 0.0 for x in row] for row in p.tolist()]
        terms = [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(terms, others, strict=True)]
    expected = [
        sum(value for value, may in zip(*row, strict=True) if may) for row in zip(terms, MASK.tolist(), strict=True)
    ]
    assert relaxation.entropy(alpha, MASK, T).tolist() == pytest.approx(expected, abs=1e-12)


def test_log_odds_rank_as_the_probabilities_do(relaxation):
    alpha = alphas(relaxation).detach()
    p, odds = relaxation.probabilities(alpha, MASK, T), relaxation.log_odds(alpha, MASK, T)
    assert (odds[~MASK] == -math.inf).all()
    assert torch.allclose(torch.sigmoid(odds[:2]), p[:2], atol=1e-12)


def test_equal_alphas_have_equal_log_odds(relaxation):
    """To the bit: which operation wins a tie is a rule's to say, not the rounding's."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(200, 7, dtype=torch.bool)
    alpha = relaxation.initial(mask, generator).double() + torch.rand(200, 7, generator=generator, dtype=torch.float64)
    alpha[:, 4] = alpha[:, 1]
    odds = relaxation.log_odds(alpha, mask, T)
    assert torch.equal(odds[:, 4], odds[:, 1])


def test_support_misses_nothing_that_a_sum_of_weights_can_feel(relaxation):
    alpha = alphas(relaxation).detach()
    for temperature in (1.0, 1e-2, 1e-4):
        t = torch.tensor(temperature, dtype=torch.float64)
        beta = relaxation(alpha, MASK, t, drawn(relaxation, alpha))
        support = relaxation.support(alpha, MASK, temperature, 0.0, drawn(relaxation, alpha))
        assert (support | (beta.abs() < torch.finfo(torch.float64).eps / 2)).all()
        assert not (support & ~MASK).any()
        assert (relaxation.support(alpha, MASK, temperature, 1e9, drawn(relaxation, alpha)) >= support).all()


@pytest.fixture
def without_values():
    """On the meta device there is no value to read; torch lacks one operation's shape there."""
    library = torch.library.Library("aten", "IMPL", "Meta")
    library.impl("_dirichlet_grad", lambda x, alpha, total: torch.empty_like(x))
    yield
    library._destroy()


def test_a_step_reads_nothing_back_to_the_host(relaxation, without_values):
    alpha = torch.empty(3, 5, device="meta", requires_grad=True)
    noise = drawn(relaxation, alphas(relaxation).detach())
    beta = relaxation(
        alpha, MASK.to("meta"), torch.empty((), device="meta"), None if noise is None else noise.to("meta")
    )
    beta.sum().backward()


def sharp_sparsemax(space):
    """Sparsemax at t = 0.01 where each edge has one operation 0.1 ahead: exactly one-hot."""
    alpha = {name: torch.zeros(spec.mask_EO.shape) for name, spec in space.cells.items()}
    for values in alpha.values():
        for edge in range(len(values)):
            values[edge, 1 + edge % 3] = 0.1
    architecture = Architecture(space.cells, Sparsemax(), torch.Generator().manual_seed(0))
    architecture.load_state_dict({f"alpha.{name}": value for name, value in alpha.items()}, strict=False)
    architecture.set_temperature(0.01)
    return architecture, alpha


def test_a_strangers_relaxation_is_observed_as_it_is_and_not_as_a_softmax():
    """Its entropy was logged as 1.2 nats, softmax's, where its beta had none; EDD steers by that number."""
    architecture, _ = sharp_sparsemax(NB201(C=4, N=1))
    assert set(architecture.beta()["cell"].unique().tolist()) == {0.0, 1.0}
    observed = architecture.observe()
    assert observed.entropy["cell"] == (0.0,) * 6
    assert min(observed.entropy_at_1["cell"]) > 1.5


def test_architectures_are_derived_by_a_strangers_relaxation():
    """Softmax would rank the operation with the largest alpha; sparsemax of another temperature gives other weights."""

    class Backwards(Sparsemax):
        def __call__(self, alpha_EO, mask_EO, temperature, drawn=None):
            return super().__call__(-alpha_EO, mask_EO, temperature, drawn)

    alpha = torch.arange(30.0).view(6, 5).cos()
    space = NB201(C=4, N=1)
    chosen = derived_operations(space, alpha, Backwards())
    assert chosen == [NB201_OPERATIONS[o] for o in alpha.argmin(-1).tolist()]
    assert chosen != derived_operations(space, alpha, Softmax())


def derived_operations(space, alpha, relaxation):
    from nas_lightning.derive.base import derived

    genotype = derived(space.name, space.rule, view_of(space, {"cell": alpha}, relaxation=relaxation))
    return [choice.operation for choice in genotype.cells["cell"]]


def test_left_out_operations_of_a_strangers_relaxation_are_those_of_weight_0():
    architecture, alpha = sharp_sparsemax(NB201(C=4, N=1))
    skipping = Skipping(architecture)
    skipping.restart(bound=0.0)
    assert torch.equal(torch.tensor(skipping.weight_step({})["cell"]), alpha["cell"] > 0)


def test_edges_are_relaxed_on_the_same_axis():
    space = DARTS(C=4, num_cells=3, edge_weights=True)
    architecture = Architecture(space.cells, Sparsemax(), torch.Generator().manual_seed(0))
    with torch.no_grad():
        architecture.edge_alpha["normal"].copy_(5 * torch.arange(14.0))
    shares = architecture.edge_weights("normal").tolist()
    last_into = {target: edge for edge, (_, target) in enumerate(space.cells["normal"].edges)}
    assert [edge for edge, share in enumerate(shares) if share == 1.0] == sorted(last_into.values())
    assert sum(shares) == 4.0


def test_edges_without_a_candidate_never_reach_a_relaxation(relaxation):
    spec = CellSpec(NB201_EDGES, NB201_OPERATIONS, ((True,) * 5,) * 6, (3,))
    architecture = Architecture({"cell": spec}, relaxation, torch.Generator().manual_seed(0))
    mask = torch.ones(6, 5, dtype=torch.bool)
    mask[2] = False
    architecture.narrow({"cell": mask})
    noise, *_ = architecture.passes(architecture.draw(torch.Generator().manual_seed(0)))
    beta = architecture.beta(noise)["cell"]
    assert beta.isfinite().all()
    assert (beta[2] == 0).all()
    (gradient,) = torch.autograd.grad((beta * torch.randn(6, 5)).sum(), architecture.alpha["cell"])
    assert gradient.isfinite().all()
    assert (gradient[2] == 0).all()
    view = architecture.snapshot()["cell"]
    assert NB201.rule(view.double())[2].operation == "none"
    assert view.entropy_E[2] == 0
    assert (view.log_odds_EO[2] == -math.inf).all()
    assert view.probabilities_EO.isfinite().all()
