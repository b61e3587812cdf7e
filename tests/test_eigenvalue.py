"""DARTS-ES' eigenvalue: against a dense Hessian of the per-edge supernet, in a search, on two ranks.

Letters: E edges, O operations.
"""

import copy

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F

from nas_lightning.callbacks import HessianEigenvalue
from nas_lightning.relaxations import Dirichlet, GumbelHard, Sigmoid, SnSoftmax, Softmax
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.supernet.curvature import hessian_product, largest_eigenvalue
from speed.reference import ReferenceSupernet
from speed.reference_darts import ReferenceDartsSupernet
from tests.axes import toy_choice
from tests.conftest import composed
from tests.ddp_searches import on_two_processes
from tests.test_decisions import Data, fitted, make, softmax_by_hand
from tests.test_search import rows, weights


def batch_of(size=3, classes=4, side=8):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(size, 3, side, side, generator=generator, dtype=torch.float64)
    return x, torch.randint(classes, (size,), generator=generator)


def searched(space, relaxation=None, temperature=1.0, removed=()):
    """A search whose alpha is far from its start; removed: (cell type, edge, operation) that are no candidates any more."""
    module = make(space) if relaxation is None else make(space, relaxation=relaxation)
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for alpha in module.architecture.parameters():
            alpha.copy_(torch.randn(alpha.shape, generator=generator, dtype=torch.float64))
    module.architecture.set_temperature(temperature)
    masks = {name: spec.mask_EO for name, spec in space.cells.items()}
    for name, edge, operation in removed:
        masks[name][edge, operation] = False
    module.architecture.narrow(masks)
    return module


def dense_hessian(module, batch, beta_of):
    """Of the per-edge reference's loss, by autograd alone; beta_of: (alpha_EO, mask_EO) -> beta_EO."""
    x, y = batch
    architecture = module.architecture
    masks = {name: architecture.mask(name) for name in architecture.alpha}
    start = torch.cat([alpha.detach()[masks[name]] for name, alpha in architecture.alpha.items()])
    shares = {name: edge.detach() for name, edge in architecture.edge_alpha.items()}
    edge = {
        name: torch.cat([part.softmax(0) for part in logits.split(module.space.cells[name].edges_into())])
        for name, logits in shares.items()
    }
    if module.space.name == "nb201":
        reference = ReferenceSupernet(module.supernet)
    else:
        reference = ReferenceDartsSupernet(module.supernet, module.space.cells)

    def loss(alpha_N):
        betas, done = {}, 0
        for name, mask in masks.items():
            count = int(mask.sum())
            alpha_EO = torch.zeros(mask.shape, dtype=alpha_N.dtype).masked_scatter(mask, alpha_N[done : done + count])
            betas[name], done = beta_of(alpha_EO, mask), done + count
        if module.space.name == "nb201":
            return F.cross_entropy(reference(x, betas["cell"]), y)
        return F.cross_entropy(reference(x, betas, edge or None), y)

    return torch.autograd.functional.hessian(loss, start)


def at_t(temperature):
    return lambda alpha, mask: softmax_by_hand(alpha / temperature, mask)


def mean_of_dirichlet(alpha, mask):
    c = (F.elu(alpha) + 1) * mask
    return c / c.sum(-1, keepdim=True)


SMALL = {"C": 2, "num_cells": 3}
CASES = {
    "nb201": (NB201(C=4, N=1), Softmax(), 1.0, (), at_t(1.0)),
    "sn at t": (NB201(C=4, N=1), SnSoftmax(second_temperature=1.0), 0.3, (), at_t(0.3)),
    "narrowed": (NB201(C=4, N=1), Softmax(), 1.0, (("cell", 0, 1), ("cell", 2, 0), ("cell", 2, 3)), at_t(1.0)),
    "gumbel": (NB201(C=4, N=1), GumbelHard(), 0.5, (), at_t(1.0)),
    "dirichlet": (NB201(C=4, N=1), Dirichlet(), 1.0, (), mean_of_dirichlet),
    "sigmoid": (NB201(C=4, N=1), Sigmoid(), 1.0, (), lambda alpha, mask: torch.sigmoid(alpha) * mask),
    "s1": (DARTS(**SMALL, candidates="s1"), Softmax(), 1.0, (), at_t(1.0)),
    "s3": (DARTS(**SMALL, candidates="s3"), Softmax(), 1.0, (("normal", 4, 1),), at_t(1.0)),
}


def size_of(module):
    return int(sum(module.architecture.mask(name).sum() for name in module.architecture.alpha))


@pytest.mark.parametrize("case", CASES)
def test_products_and_the_largest_eigenvalue_are_those_of_the_dense_hessian(case):
    space, relaxation, temperature, removed, beta_of = CASES[case]
    module, batch = searched(space, relaxation, temperature, removed), batch_of()
    dense = dense_hessian(module, batch, beta_of)
    assert len(dense) == size_of(module)
    product = hessian_product(module.halves, batch)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        v = torch.randn(len(dense), generator=generator, dtype=torch.float64)
        assert (product(v) - dense @ v).abs().max() < 1e-9 * dense.abs().max()
    wanted = torch.linalg.eigvalsh(dense)[-1].item()
    asked = []
    ours = largest_eigenvalue(lambda v: asked.append(v) or dense @ v, v)
    assert ours == pytest.approx(wanted, rel=1e-5)
    assert len(asked) <= len(dense)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())


def test_edge_weights_are_constants():
    space = DARTS(C=4, num_cells=3, partial=2, edge_weights=True, candidates="s2")
    module, batch = searched(space), batch_of()
    dense = dense_hessian(module, batch, at_t(1.0))
    v = torch.randn(len(dense), dtype=torch.float64)
    assert len(dense) == 56
    assert (hessian_product(module.halves, batch)(v) - dense @ v).abs().max() < 1e-9 * dense.abs().max()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "spectrum", ["random", "negative outlier", "all negative", "low rank", "degenerate", "one", "zero"]
)
def test_lanczos_finds_the_largest_not_the_absolutely_largest(spectrum, dtype):
    """float32: products that are rounded as a supernet's are."""
    generator = torch.Generator().manual_seed(1)
    size = 1 if spectrum == "one" else 40
    values = torch.randn(size, generator=generator, dtype=torch.float64)
    values[0] = -50.0 if spectrum == "negative outlier" else values[0]
    if spectrum == "all negative":
        values = -values.abs() - 0.1
    if spectrum == "low rank":
        values[5:] = 0
    if spectrum == "degenerate":
        values = values.sign()
    if spectrum == "zero":
        values = 0 * values
    q, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    matrix = q @ torch.diag(values) @ q.T
    asked = []

    def product(v):
        asked.append(v)
        return (matrix.to(dtype) @ v.to(dtype)).double()

    start = torch.randn(size, generator=generator, dtype=torch.float64)
    tolerance = 1e-6 if dtype == torch.float64 else 1e-5
    assert largest_eigenvalue(product, start) == pytest.approx(values.max().item(), rel=1e-4, abs=tolerance * 50)
    assert len(asked) <= size


# In a search ------------------------------------------------------------------------------------------------------------


class Reference(pl.Callback):
    """What the column should hold after each epoch."""

    def __init__(self):
        self.wanted, self.logged = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 1:
            hessian = dense_hessian(copy.deepcopy(pl_module), batch["valid"], at_t(1.0))
            self.wanted.append(torch.linalg.eigvalsh(hessian)[-1].item())

    def on_train_epoch_end(self, trainer, pl_module):
        self.logged.append(trainer.callback_metrics.get("hessian_eigenvalue"))


def test_every_second_epoch_and_the_last_have_the_eigenvalue_of_their_last_validation_batch(monkeypatch):
    monkeypatch.setattr(
        Data, "val_dataloader", lambda self: torch.utils.data.DataLoader(self.valid[:1], batch_size=None)
    )
    decay, seen = 0.125, Reference()
    module = make(NB201(C=4, N=1), arch_decay=decay)
    fitted(module, 4, [HessianEigenvalue(), seen])
    assert [value is None for value in seen.logged] == [False, True, False, False]
    for epoch in (0, 2, 3):
        assert float(seen.logged[epoch]) == pytest.approx(decay + seen.wanted[epoch], rel=1e-5)


def test_a_search_does_not_move_by_what_is_measured(toy, tmp_path):
    """S4, whose supernet draws noise; the columns beside are the same to the last digit."""
    settings = ("space=s4", "trainer.max_epochs=2", "data.train_images=16", "data.valid_images=16")
    toy("plain", *settings)
    toy("measured", *settings, "callbacks=hessian_eigenvalue")
    measured = rows(tmp_path / "measured")
    assert all(row.pop("hessian_eigenvalue") != "" for row in measured)
    assert measured == rows(tmp_path / "plain")
    ours, theirs = weights(tmp_path / "measured"), weights(tmp_path / "plain")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_callback_of_the_users_is_not_joined_by_a_second_one():
    from nas_lightning.app.axes import build_epoch_axes, measures

    axes = build_epoch_axes(composed(*toy_choice("stop", "eigenvalue"), "run_dir=x"))
    assert [type(callback) for callback in measures(axes, [], False)] == [HessianEigenvalue]
    assert measures(axes, [HessianEigenvalue()], False) == []
    assert measures({"stop": None, "selection": None}, [], True) == []


def test_two_ranks_measure_the_mean_of_their_hessians_and_stop_together(tmp_path):
    on_two_processes(tmp_path, "sharp")
    table = rows(tmp_path / "sharp")
    steps = [
        sorted(int(path.stem.split("-")[1]) for path in (tmp_path / "sharp-steps").glob(f"{rank}-*.pt"))
        for rank in (0, 1)
    ]
    assert steps[0] == steps[1] == [*range(2 * len(table) + 1)]
    assert len(table) < 8
    module, total = make(NB201(C=4, N=1), classes=10), 0
    for rank in (0, 1):
        record = torch.load(tmp_path / "sharp-steps" / f"{rank}-2.pt")  # the last of the first epoch
        module.load_state_dict(
            {name: value.double() if value.is_floating_point() else value for name, value in record["state"].items()}
        )
        x, y = record["batch"]["valid"]
        total = total + dense_hessian(module, (x.double(), y), at_t(1.0)) / 2
    wanted = torch.linalg.eigvalsh(total)[-1].item()
    assert float(table[0]["hessian_eigenvalue"]) == pytest.approx(wanted, rel=1e-3)
