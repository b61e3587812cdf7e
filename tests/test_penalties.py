"""What every penalty of conf/penalty promises, and the numbers of each."""

import functools

import pytest
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate

from nas_lightning.bilevel import FirstOrder
from nas_lightning.penalties import BetaDecay
from nas_lightning.ramps import Ramp
from nas_lightning.relaxations import CellView, Softmax
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.supernet.module import SupernetModule
from tests.axes import options, toy_choice
from tests.conftest import composed
from tests.test_bilevel import batches
from tests.test_graphs import loader

PENALTIES = {
    option: instantiate(composed(*toy_choice("penalty", option), "run_dir=x").penalty) for option in options("penalty")
}
SPACES = {
    "nb201": NB201(C=4, N=1),
    "s1": DARTS(C=4, num_cells=3, candidates="s1"),
    "partial": DARTS(C=4, num_cells=3, none=True, partial=2, edge_weights=True),
}


@pytest.fixture(params=sorted(PENALTIES))
def penalty(request):
    return PENALTIES[request.param]


@pytest.fixture(params=sorted(SPACES))
def cells(request):
    return SPACES[request.param].cells


def leaves(cells, seed=0):
    """alpha of every cell, and of its edges where these have weights."""
    generator = torch.Generator().manual_seed(seed)

    def leaf(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    alphas = {name: leaf(*spec.mask_EO.shape) for name, spec in cells.items()}
    edges = {name: leaf(len(spec.edges)) for name, spec in cells.items() if spec.edge_weights}
    return alphas, edges


def view_of(cells, alphas, edges, masks=None, temperature=0.7, device="cpu"):
    t = torch.full((), temperature, dtype=torch.float64, device=device)
    masks = masks or {}
    return {
        name: CellView(
            spec, Softmax(), alphas[name], masks.get(name, spec.mask_EO).to(device), t, edges.get(name)
        )
        for name, spec in cells.items()
    }  # fmt: skip


def dropped(cells):
    """Masks that leave one operation on edge 0 and none on the last edge."""
    masks = {}
    for name, spec in cells.items():
        mask = spec.mask_EO
        mask[0, int(mask[0].nonzero()[0]) + 1 :] = False
        mask[-1] = False
        masks[name] = mask
    return masks


@pytest.mark.parametrize("narrowed", [False, True])
@pytest.mark.parametrize("progress", [0.0, 0.3, 0.98])
def test_its_gradient_is_that_of_finite_differences(penalty, cells, progress, narrowed):
    alphas, edges = leaves(cells)
    masks = dropped(cells) if narrowed else None
    names = list(alphas), list(edges)

    def term(*flat):
        one, other = flat[: len(alphas)], flat[len(alphas) :]
        view = view_of(cells, dict(zip(names[0], one, strict=True)), dict(zip(names[1], other, strict=True)), masks)
        return penalty(view, torch.tensor(progress, dtype=torch.float64))

    inputs = (*alphas.values(), *edges.values())
    assert term(*inputs).shape == ()
    assert torch.autograd.gradcheck(term, inputs)


@pytest.mark.parametrize("narrowed", [False, True])
def test_what_is_no_candidate_has_no_gradient_and_dropped_edges_no_nan(penalty, cells, narrowed):
    alphas, edges = leaves(cells)
    masks = dropped(cells) if narrowed else {name: spec.mask_EO for name, spec in cells.items()}
    term = penalty(view_of(cells, alphas, edges, masks), torch.tensor(0.9, dtype=torch.float64))
    assert term.isfinite()
    gradients = torch.autograd.grad(term, list(alphas.values()))
    assert any(gradient.norm() > 0 for gradient in gradients)
    for (name, mask_EO), gradient in zip(masks.items(), gradients, strict=True):
        assert gradient.isfinite().all()
        assert (gradient[~mask_EO] == 0).all(), name


def test_it_reads_nothing_back_to_the_host(penalty, cells):
    """On the meta device there is no value to read."""
    alphas = {name: torch.empty(spec.mask_EO.shape, device="meta", requires_grad=True) for name, spec in cells.items()}
    edges = {
        name: torch.empty(len(spec.edges), device="meta", requires_grad=True)
        for name, spec in cells.items()
        if spec.edge_weights
    }
    term = penalty(view_of(cells, alphas, edges, device="meta"), torch.empty((), device="meta"))
    term.backward()
    assert any(alpha.grad is not None for alpha in alphas.values())


def decay_term(penalty, cells, progress, masks=None):
    alphas, edges = leaves(cells)
    term = penalty(view_of(cells, alphas, edges, masks), torch.tensor(progress, dtype=torch.float64))
    return alphas, term, dict(zip(alphas, torch.autograd.grad(term, list(alphas.values())), strict=True))


def by_hand(row, mask):
    """softmax of the candidates of one row, one number after the other."""
    powers = [torch.tensor(a, dtype=torch.float64).exp() if may else 0.0 for a, may in zip(row, mask, strict=True)]
    return [float(power / sum(powers)) for power in powers]


@pytest.mark.parametrize("epoch", [0, 1, 49, 50, 99])
def test_beta_decays_gradient_is_the_weight_times_softmax_over_the_number_of_edges(epoch, cells):
    """w_e = 50 e / 100, so w_0 = 0; the edges are those of all cells, 6 on NAS-Bench-201 and 28 in the DARTS space.

    Raw alpha, whatever the temperature. For the DARTS space the authors' program cannot run; taken is the mean over the
    edges of both cells, as on NAS-Bench-201. A sum of both cells' means is twice that: `penalty.weight.end=100`.
    """
    penalty = PENALTIES["beta_decay"]
    alphas, term, gradients = decay_term(penalty, cells, epoch / 100)
    weight, count = 50 * epoch / 100, sum(len(spec.edges) for spec in cells.values())
    assert count == (6 if len(cells) == 1 else 28)
    terms = []
    for name, spec in cells.items():
        rows = zip(alphas[name].tolist(), spec.candidates, strict=True)
        for edge, (row, mask) in enumerate(rows):
            wanted = [weight * p / count for p in by_hand(row, mask)]
            assert gradients[name][edge].tolist() == pytest.approx(wanted, abs=1e-14)
            terms.append(torch.logsumexp(torch.tensor(row)[list(mask)].double(), -1).item())
    assert term.item() == pytest.approx(weight * sum(terms) / count)
    assert (epoch == 0) == (term.item() == 0)


def test_beta_decays_mean_is_over_the_edges_that_are_left():
    cells = SPACES["partial"].cells
    masks = {name: spec.mask_EO for name, spec in cells.items()}
    masks["normal"][3:] = False
    alphas, term, gradients = decay_term(BetaDecay(Ramp(1.0, 1.0)), cells, 0.5, masks)
    kept = [*alphas["normal"][:3].logsumexp(-1).tolist(), *alphas["reduce"].logsumexp(-1).tolist()]
    assert len(kept) == 17
    assert term.item() == pytest.approx(sum(kept) / 17)
    assert torch.allclose(gradients["normal"][:3], alphas["normal"][:3].softmax(-1) / 17)


def make(penalty=None, alpha_rate=1e-30, space=None, of=None):  # too small to move it
    """A search with `penalty`, or with none but the relaxation that the penalty `of` needs."""
    torch.manual_seed(0)
    return SupernetModule(
        space or NB201(C=4, N=1),
        getattr(of or penalty, "relaxation", Softmax)(),
        10,
        functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9),
        functools.partial(torch.optim.SGD, lr=alpha_rate),
        penalty=penalty,
    ).double()


def test_the_weights_gradient_does_not_see_the_penalty(penalty):
    plain, penalised = make(of=penalty), make(penalty)
    batch = batches()
    for module in (plain, penalised):
        module.architecture.progress.fill_(0.5)
        for alpha in module.halves.alphas():  # away from the start, where some penalties are flat
            alpha.data = torch.arange(alpha.numel(), dtype=alpha.dtype).view_as(alpha).sin()
    drawn = plain.architecture.draw(torch.Generator().manual_seed(0))
    ours, theirs = (module.halves.weight_gradients(batch["train"], drawn) for module in (penalised, plain))
    assert all((a is b is None) or torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert all(alpha.grad is None for alpha in penalised.halves.alphas())
    ours, theirs = (
        FirstOrder().alpha_gradients(module.halves, batch, drawn, None) for module in (penalised, plain)
    )  # fmt: skip
    term = penalised.halves.penalty_term()
    assert term.abs() > 0
    (own,) = torch.autograd.grad(term, penalised.halves.alphas())
    assert torch.allclose(ours[2], theirs[2] + own, rtol=1e-12, atol=1e-15)
    assert not torch.allclose(ours[2], theirs[2], rtol=1e-6)


def test_the_validation_loss_is_logged_without_the_penalty(penalty):
    """alpha rests, so that both searches have the same losses."""
    logged = []
    for module in (make(of=penalty), make(penalty)):
        trainer = pl.Trainer(
            max_epochs=3, accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(module, loader(sizes=(6, 6), dtype=torch.float64))
        logged.append({name: float(value) for name, value in trainer.callback_metrics.items()})
        term = module.halves.penalty_term()
        assert term is None or term.abs() > 0
    assert logged[0] == logged[1]
    assert logged[0]["valid_loss"] > 0
