"""What the discretised accuracy is measured on, against the programs' forwards written out edge by edge."""

import functools

import pytest
import torch

from nas_lightning.app.axes import build_module
from nas_lightning.build import build
from nas_lightning.errors import UserError
from nas_lightning.relaxations import Simplex, Softmax
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.supernet.module import SupernetModule
from speed import reference, reference_darts
from speed.reference import ReferenceSupernet
from speed.reference_darts import ReferenceDartsSupernet
from tests.conftest import TOY, composed
from tests.test_search import rows, weights

SPACES = {"nb201": NB201(C=4, N=1), "darts": DARTS(C=4, num_cells=3), "s3": DARTS(candidates="s3", C=4, num_cells=3)}


def searched(space, way, relaxation=None, seed=0):
    """A module of float64 with alphas that lie close: at t = 1e-4 some edges have two operations."""
    torch.manual_seed(seed)
    module = SupernetModule(
        SPACES[space], relaxation or Softmax(), 10, functools.partial(torch.optim.SGD, lr=0.05),
        functools.partial(torch.optim.Adam, lr=1e-3), discretise=way,
    ).double()  # fmt: skip
    with torch.no_grad():
        for alpha_EO in module.architecture.alpha.values():
            alpha_EO.copy_(2e-4 * torch.randn_like(alpha_EO) if way == "cold" else torch.randn_like(alpha_EO))
            alpha_EO[0, 0 if space == "nb201" else -1] += 3  # `none` is the strongest of an edge
    return module


def slow(space, module, beta):
    """The per-edge supernet at beta[cell type] [E][O]."""
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if space == "nb201":
        return x, ReferenceSupernet(module.supernet)(x, beta["cell"])
    return x, ReferenceDartsSupernet(module.supernet, SPACES[space].cells)(x, beta)


def ours(module, x):
    module.on_validation_epoch_start()
    return module.supernet(x, module._discrete)


def close(one, other):
    return ((one - other).norm() / other.norm()).item() < 1e-9


def softmax(alpha_EO, mask_EO, t):
    weights_EO = torch.zeros_like(alpha_EO)
    for e, row in enumerate(mask_EO.tolist()):
        left = [o for o, may in enumerate(row) if may]
        weights_EO[e, left] = torch.softmax(alpha_EO[e, left] / t, 0)
    return weights_EO


@pytest.mark.parametrize("space", sorted(SPACES))
def test_cold_is_every_edge_at_a_temperature_of_1e_4(space):
    module = searched(space, "cold")
    architecture = module.architecture
    with torch.no_grad():
        beta = {n: softmax(a, architecture.mask(n), 1e-4) for n, a in architecture.alpha.items()}
        x, wanted = slow(space, module, beta)
        assert close(ours(module, x), wanted)
    assert architecture.temperature == 1
    assert any(((b_EO > 0.01).sum(-1) > 1).any() for b_EO in beta.values())


@pytest.mark.parametrize("space", sorted(SPACES))
def test_without_skips_every_other_operation_of_the_architecture_is_alone(space):
    module = searched(space, "without_skips")
    cells = SPACES[space].cells
    with torch.no_grad():
        for name, alpha_EO in module.architecture.alpha.items():
            alpha_EO[1::2, cells[name].operations.index("skip_connect")] += 5
        genotype = module.genotype()
        beta = {name: torch.zeros_like(alpha_EO) for name, alpha_EO in module.architecture.alpha.items()}
        off = 0
        for name, choices in genotype.cells.items():
            for choice in choices:
                edge = cells[name].edges.index((choice.source, choice.target))
                is_skip = choice.operation == "skip_connect"
                off += is_skip
                if choice.operation in cells[name].operations:
                    beta[name][edge, cells[name].operations.index(choice.operation)] = 1 - is_skip
        assert 0 < off < sum(map(len, genotype.cells.values()))
        x, wanted = slow(space, module, beta)
        assert close(ours(module, x), wanted)


def artefact(self, x, beta_O):
    """methods' GAEA: GDAS' cell with soft weights, on one edge."""
    columns = getattr(self, "columns", range(len(self.operations)))
    weights_O = [beta_O[o] for o in columns]
    best = max(range(len(weights_O)), key=lambda o: weights_O[o])
    output = weights_O[best] * list(self.operations.values())[best](x)
    return output + sum(weight for o, weight in enumerate(weights_O) if o != best)


@pytest.mark.parametrize("space", sorted(SPACES))
def test_gaeas_artefact_adds_the_other_weights_to_every_pixel(space, monkeypatch):
    module = searched(space, "gaea_artefact")
    for written in (reference, reference_darts):
        monkeypatch.setattr(written.MixedEdge, "forward", artefact)
    architecture = module.architecture
    with torch.no_grad():
        beta = {n: softmax(a, architecture.mask(n), 1.0) for n, a in architecture.alpha.items()}
        x, wanted = slow(space, module, beta)
        assert close(ours(module, x), wanted)


def test_of_gaea_itself_alpha_is_the_weight(monkeypatch):
    module = searched("nb201", "gaea_artefact", Simplex())
    with torch.no_grad():
        theta_EO = torch.rand(6, 5, dtype=torch.float64)
        theta_EO /= theta_EO.sum(-1, keepdim=True)
        module.architecture.alpha["cell"].copy_(theta_EO)
        monkeypatch.setattr(reference.MixedEdge, "forward", artefact)
        x, wanted = slow("nb201", module, {"cell": theta_EO})
        assert close(ours(module, x), wanted)


@pytest.mark.parametrize("way", ["cold", "gaea_artefact"])
def test_a_search_is_the_same_and_reports_the_accuracy_that_it_measured(way, toy, tmp_path):
    plain, other = toy("plain"), toy("other", f"model.discretise={way}")
    measured = ("discrete_accuracy", "discrete_loss")
    for one, two in zip(rows(tmp_path / "plain"), rows(tmp_path / "other"), strict=True):
        assert {k: v for k, v in one.items() if k not in measured} == {
            k: v for k, v in two.items() if k not in measured
        }
    assert (plain["method"], other["method"]) == ("edd", "edd")
    config = composed(*TOY, "run_dir=x", f"model.discretise={way}")
    data = build(config.data)
    module = build_module(config, data.num_classes)
    module.load_state_dict(weights(tmp_path / "other"))
    module.on_validation_epoch_start()
    hits = [(module.supernet(x, module._discrete).argmax(1) == y).float() for x, y in data.val_dataloader()]
    assert other["final"]["discrete_accuracy"] == pytest.approx(torch.cat(hits).mean().item(), abs=1e-6)


def test_edges_that_were_dropped_pass_nothing_on():
    module = searched("nb201", "gaea_artefact")
    mask = module.architecture.mask("cell").clone()
    mask[1] = False
    module.architecture.narrow({"cell": mask})
    module.on_validation_epoch_start()
    given = module._discrete["cell"]
    assert given.offset(1) is None
    assert not any(given.active[1])


def test_another_word_is_refused():
    with pytest.raises(
        UserError,
        match=r"model.discretise must be one of derived, .*, with_auxiliary, got 'hot'",
    ):
        searched("nb201", "hot")
