"""The supernet's auxiliary skip connection (DARTS-), drop path (R-DARTS) and dropout on skip connections (P-DARTS), against
mixed edges written out one by one.

Letters: B batch, E edges, L cells of the supernet, O operations.
"""

import copy
import functools
import itertools
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

import nas_lightning.supernet.runner
from nas_lightning.app.axes import build_module
from nas_lightning.bilevel import FirstOrder, SecondOrder
from nas_lightning.build import build
from nas_lightning.derive.base import derived
from nas_lightning.errors import UserError
from nas_lightning.genotypes.nb201 import NB201_OPERATIONS
from nas_lightning.optimizers.clip import ArchClip
from nas_lightning.optimizers.lookahead import SgdLookahead
from nas_lightning.perturbations import RandomBall
from nas_lightning.ramps import Ramp
from nas_lightning.relaxations import GumbelHard, Softmax
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.spaces import weights as edge_weights
from nas_lightning.spaces.darts import bank as darts
from nas_lightning.spaces.kernels import dropped_out
from nas_lightning.spaces.weights import EdgeWeights
from nas_lightning.spaces.widening import Widening, widen
from nas_lightning.supernet.architecture import Architecture
from nas_lightning.supernet.discretise import discretisation
from nas_lightning.supernet.graphs import StepGraphs
from nas_lightning.supernet.halves import HalfSteps
from speed.reference import ReferenceSupernet
from speed.reference_darts import FactorizedReduce, ReferenceDartsSupernet, shuffle
from tests.conftest import composed, derive
from tests.test_bilevel import batches
from tests.test_darts_supernet import betas, noise_pattern
from tests.test_graphs import Recorder, states_equal, trained
from tests.test_module import Batches, TextbookSearch
from tests.test_nb201_supernet import relative_error

FADING = Ramp(1.0, 0.0)
RISING = Ramp(0.0, 0.4, epochs=50)
BOTH = {"auxiliary_skip": FADING, "drop_path": RISING}
ALL = {**BOTH, "skip_dropout": Ramp(0.5, 0.1)}
GAMMA, P = 0.6, 0.3
SPACES = {
    "nb201": lambda **extras: NB201(C=4, N=1, **extras),
    "nb201/partial": lambda **extras: NB201(C=4, N=1, partial=2, **extras),
    "nb201/partial/edges": lambda **extras: NB201(C=4, N=1, partial=2, edge_weights=True, **extras),
    "darts": lambda **extras: DARTS(C=4, num_cells=3, **extras),
    "darts/edges": lambda **extras: DARTS(C=4, num_cells=3, none=True, edge_weights=True, **extras),
    "darts/partial/edges": lambda **extras: DARTS(C=4, num_cells=3, partial=2, edge_weights=True, **extras),
    "s1": lambda **extras: DARTS(C=4, num_cells=3, candidates="s1", **extras),
    "s4": lambda **extras: DARTS(
        C=4, num_cells=3, candidates="s4", **extras
    ),  # no skip connection among the candidates
}


# ---- the slow reference ----


def dropout_pattern(x, p):
    """What the draw of `dropped_out` might be, the same on both sides."""
    kept = (torch.arange(x.numel()).reshape(x.shape) * 7919) % 100 >= 100 * p
    return x * kept / (1 - p)


class Edge(nn.Module):
    """weight * keep_b * (sum_o beta_o op_o(x) + gamma * skip(x)), of partial channels beside those that pass by."""

    def __init__(self, mixed, columns, stride, partial, reduce_weight):
        super().__init__()
        self.operations, self.columns, self.stride, self.partial = mixed.operations, columns, stride, partial
        self.skip, self.dropout = nn.Identity() if stride == 1 else None, None
        if reduce_weight is not None:
            width = reduce_weight.shape[0]
            self.skip = FactorizedReduce(width, width).to(reduce_weight.dtype)
            with torch.no_grad():
                for convolution, rows in zip((self.skip.first, self.skip.second), reduce_weight.chunk(2), strict=True):
                    convolution.weight.copy_(rows)

    def forward(self, x, beta_O, gamma, weight, keep_B):
        width = x.shape[1] // self.partial
        first, rest = x[:, :width], x[:, width:]
        out = 0
        for o, (name, op) in zip(self.columns, self.operations.items(), strict=True):
            is_dropped = name == "skip_connect" and self.stride == 1 and self.dropout is not None
            out = out + beta_O[o] * (dropout_pattern(first, self.dropout) if is_dropped else op(first))
        if gamma:
            out = out + gamma * self.skip(first)
        if self.partial > 1:
            rest = F.max_pool2d(rest, 2, 2) if self.stride == 2 else rest
            out = shuffle(torch.cat([out, rest], 1), self.partial)
        images = [image / (1 - P) if keep else 0 * image for image, keep in zip(out, keep_B, strict=True)]
        return weight * torch.stack(images)


class Plain(nn.Module):
    """The supernet edge by edge. keep_LEB: whether an image keeps the output of an edge, None for all of them and no scale."""

    def __init__(self, space, supernet):
        super().__init__()
        self.spec = {name: spec.edges for name, spec in space.cells.items()}
        self.is_nb201 = space.name == "nb201"
        network = ReferenceSupernet(supernet) if self.is_nb201 else ReferenceDartsSupernet(supernet, space.cells)
        self.network = network
        cells = [cell for stage in network.stages for cell in stage] if self.is_nb201 else network.cells
        self.types = ["cell"] * len(cells) if self.is_nb201 else network.cell_types
        self.cells = nn.ModuleList(cells)
        self.edges = nn.ModuleList()
        for cell, theirs in zip(cells, supernet.cells(), strict=True):
            rows = {}
            for bank in theirs.banks:
                reduce = getattr(bank, "auxiliary", None)
                if reduce is not None:
                    rows |= zip(bank.edges, reduce.weight.split(reduce.channels), strict=True)
            self.edges.append(
                nn.ModuleList(
                    Edge(
                        mixed,
                        range(len(NB201_OPERATIONS)) if self.is_nb201 else mixed.columns,
                        1 if self.is_nb201 else mixed.stride,
                        theirs.partial,
                        rows.get(e),
                    )
                    for e, mixed in enumerate(cell.edges)
                )
            )

    def auxiliary_pairs(self, supernet):
        """(the reductions' kernels edge by edge, the bank's stacked parameter)"""
        for edges, cell in zip(self.edges, supernet.cells(), strict=True):
            for bank in cell.banks:
                if getattr(bank, "auxiliary", None) is not None:
                    skips = [edges[e].skip for e in bank.edges]
                    yield [c.weight for skip in skips for c in (skip.first, skip.second)], bank.auxiliary.weight

    def drop_out(self, p):
        """From now on, of the candidate skip connections of stride 1; None for not at all."""
        for edge in itertools.chain(*self.edges):
            edge.dropout = p

    def along(self, number, inputs, beta, gamma, edge, keep_LEB):
        cell_type, nodes = self.types[number], list(inputs)
        edges = self.spec[cell_type]
        for node in range(len(nodes), 1 + edges[-1][1]):
            total = 0
            for e, (source, target) in enumerate(edges):
                if target == node:
                    x = nodes[source]
                    keep_B = [True] * len(x) if keep_LEB is None else keep_LEB[number, e].tolist()
                    weight = 1.0 if edge is None else edge[cell_type][e]
                    out = self.edges[number][e](x, beta[cell_type][e], gamma, weight, keep_B)
                    total = total + (out * (1 - P) if keep_LEB is None else out)
            nodes.append(total)
        return nodes[len(inputs) :]

    def forward(self, x, beta, gamma=0.0, edge=None, keep_LEB=None):
        network = self.network
        extras = beta, gamma, edge, keep_LEB
        if self.is_nb201:
            x, number = network.stem(x), 0
            for index, stage in enumerate(network.stages):
                x = network.reductions[index - 1](x) if index else x
                for _ in stage:
                    x, number = self.along(number, [x], *extras)[-1], number + 1
            return network.classifier(network.head(x).mean((2, 3)))
        older = newer = network.stem(x)
        for number, cell in enumerate(self.cells):
            inputs = [cell.preprocess[0](older), cell.preprocess[1](newer)]
            older, newer = newer, torch.cat(self.along(number, inputs, *extras), 1)
        return network.classifier(newer.mean((2, 3)))


def made(name, monkeypatch=None, seed=0, **extras):
    """(space, supernet, reference) in float64."""
    if monkeypatch is not None:
        monkeypatch.setattr(darts, "noise_like", noise_pattern)  # both sides draw the same
        monkeypatch.setattr(edge_weights, "dropped_out", dropout_pattern)
    torch.manual_seed(seed)
    space = SPACES[name](**extras)
    supernet = space.supernet(4).double()
    return space, supernet, Plain(space, supernet)


def draws(space, supernet, images):
    """bool [L, E, B]: whether an image keeps an edge's output."""
    generator = torch.Generator().manual_seed(0)
    shape = sum(1 for _ in supernet.cells()), len(next(iter(space.cells.values())).edges), images
    return torch.rand(shape, generator=generator) >= P


EXTRAS = [("auxiliary_skip",), ("drop_path",), ("skip_dropout",), ("auxiliary_skip", "drop_path", "skip_dropout")]


@pytest.mark.parametrize("wanted", EXTRAS, ids="+".join)
@pytest.mark.parametrize("kind", ["random", "sparse"])
@pytest.mark.parametrize("name", SPACES)
def test_outputs_and_all_gradients_are_those_of_the_edges_one_by_one(name, kind, wanted, monkeypatch):
    """`sparse`: operations of weight 0 are not computed, on some edges none at all."""
    space, supernet, reference = made(name, monkeypatch, **{extra: ALL[extra] for extra in wanted})
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(5, 3, 8, 8, dtype=torch.float64), torch.randint(4, (5,))
    beta = {cell: betas(spec, kind, generator) for cell, spec in space.cells.items()}
    if kind == "sparse":
        for beta_EO in beta.values():
            beta_EO[[1, 3]] = 0
    edge = {cell: torch.rand(len(spec.edges), dtype=torch.float64) for cell, spec in space.cells.items()}
    edge = edge if next(iter(space.cells.values())).edge_weights else None
    leaves = [*beta.values(), *(edge or {}).values()]
    for leaf in leaves:
        leaf.requires_grad_()
    gamma = torch.tensor(GAMMA, dtype=torch.float64) if "auxiliary_skip" in wanted else None
    keep_LEB = draws(space, supernet, 5) if "drop_path" in wanted else None
    dropout = torch.tensor(P, dtype=torch.float64) if "skip_dropout" in wanted else None
    reference.drop_out(dropout)
    ours = supernet(x, {
        cell: EdgeWeights(
            beta[cell], (beta[cell] > 0).tolist() if kind == "sparse" else spec.candidates,
            None if edge is None else edge[cell], auxiliary=gamma,
            keep_LEB=None if keep_LEB is None else keep_LEB.double() / (1 - P), skip_dropout=dropout,
        )
        for cell, spec in space.cells.items()
    })  # fmt: skip
    theirs = reference(x, beta, GAMMA if gamma is not None else 0.0, edge, keep_LEB)
    assert relative_error(ours, theirs) < 1e-10
    reference.drop_out(None)
    does_nothing = name == "s4" and wanted == ("skip_dropout",)  # no skip connection among the candidates
    assert (relative_error(ours, reference(x, beta, 0.0, edge, None)) < 1e-3) == does_nothing
    F.cross_entropy(theirs, y).backward()
    expected = [leaf.grad.clone() for leaf in leaves]
    shared = {n: p.grad.clone() for n, p in supernet.named_parameters() if p.grad is not None}
    for leaf in leaves:
        leaf.grad = None
    supernet.zero_grad()
    F.cross_entropy(ours, y).backward()
    for leaf, wanted_gradient in zip(leaves, expected, strict=True):
        computed = (leaf.detach() > 0) | (kind == "random")  # what is not computed has no gradient
        assert relative_error(leaf.grad, wanted_gradient * computed) < 1e-9
    scale = max(gradient.norm() for gradient in shared.values())
    for n, gradient in shared.items():
        assert (supernet.get_parameter(n).grad - gradient).norm() <= 1e-10 * scale, n
    pairs = [*reference.network.stacked_pairs(supernet), *reference.auxiliary_pairs(supernet)]
    for kernels, stacked in pairs:
        gradient = torch.cat([torch.zeros_like(k) if k.grad is None else k.grad for k in kernels])
        own = torch.zeros_like(stacked) if stacked.grad is None else stacked.grad
        assert (own - gradient).norm() <= 1e-10 * max(gradient.norm(), 1e-3 * scale)
    with_reductions = "auxiliary_skip" in wanted and space.name == "darts"
    assert bool([*reference.auxiliary_pairs(supernet)]) == with_reductions
    for _, stacked in reference.auxiliary_pairs(supernet):
        assert stacked.grad.norm() > 1e-9


# ---- half steps ----


def steps(name, relaxation=None, progress=0.5, monkeypatch=None, **extras):
    """(half steps in float64 with a random alpha, reference) at `progress` of the run, where gamma is 1 - progress."""
    space, supernet, reference = made(name, monkeypatch, **extras)
    architecture = Architecture(space.cells, relaxation or Softmax(), torch.Generator()).double()
    generator = torch.Generator().manual_seed(3)
    for alpha in (*architecture.alpha.values(), *architecture.edge_alpha.values()):
        alpha.data = torch.randn(alpha.shape, generator=generator, dtype=torch.float64)
    architecture.set_progress(progress)
    return HalfSteps(architecture, supernet), reference


def softmax_of(alphas, spec):
    return {name: torch.softmax(a.masked_fill(~spec[name].mask_EO, -torch.inf), -1) for name, a in alphas.items()}


@pytest.mark.parametrize("share", [1.0, 1 / 1.6], ids=["sum", "mean"])
@pytest.mark.parametrize("name", ["nb201", "darts", "nb201/partial/edges"])
def test_both_half_steps_beside_a_skip_connection_are_the_references(name, share):
    """share: of the operations in an edge's output, beside gamma = 0.6."""
    halves, reference = steps(name, progress=0.4, auxiliary_skip=FADING, auxiliary_mean=share < 1)
    (x, y), cells = batches()["valid"], halves.architecture.cells
    y = y % 4
    loss, _, *gradients = FirstOrder().alpha_gradients(halves, {"valid": (x, y)}, {}, None)
    alphas = {n: a.detach().clone().requires_grad_() for n, a in halves.architecture.alpha.items()}

    def loss_of_reference():
        mixed = {cell: share * beta for cell, beta in softmax_of(alphas, cells).items()}
        edges = {cell: halves.architecture.edge_weights(cell) for cell in cells}
        return F.cross_entropy(
            reference(x, mixed, share * 0.6, **({} if None in edges.values() else {"edge": edges})), y
        )

    theirs = loss_of_reference()
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-7)  # progress is kept in single precision
    wanted_gradients = torch.autograd.grad(theirs, list(alphas.values()))
    for ours, wanted in zip(gradients, wanted_gradients, strict=False):  # those of edges' own weights come after
        assert relative_error(ours, wanted) < 1e-6  # progress is kept in single precision
    weight_loss, _, *ours = halves.weight_gradients((x, y), {})
    assert weight_loss.item() == pytest.approx(theirs.item(), rel=1e-7)
    loss_of_reference().backward()
    found = dict(zip((id(w) for w in halves.supernet.parameters()), ours, strict=True))
    for kernels, stacked in (
        *reference.network.stacked_pairs(halves.supernet),
        *reference.auxiliary_pairs(halves.supernet),
    ):
        wanted = torch.cat([k.grad for k in kernels])
        assert (found[id(stacked)] - wanted).norm() <= 1e-6 * max(wanted.norm(), 1e-3)


@pytest.mark.parametrize("name", ["nb201", "nb201/partial/edges", "darts"])
def test_the_discretised_supernet_has_it_where_asked_for(name):
    halves, reference = steps(name, progress=0.4, auxiliary_skip=FADING)
    architecture, (x, _) = halves.architecture, batches()["valid"]
    genotype = derived(name.split("/")[0], SPACES[name]().rule, architecture.snapshot())
    hard = {}
    for cell, spec in architecture.cells.items():
        hard[cell] = torch.zeros(spec.mask_EO.shape, dtype=torch.float64)
        for choice in genotype.cells[cell]:
            edge = spec.edges.index((choice.source, choice.target))
            hard[cell][edge, spec.operations.index(choice.operation)] = 1.0
    shares = {cell: architecture.edge_weights(cell) for cell in architecture.cells}
    edges = {} if None in shares.values() else {"edge": shares}
    with torch.no_grad():
        for way, gamma in (("with_auxiliary", 0.6), ("derived", 0.0)):
            ours = halves.supernet(x, discretisation(way)(architecture, genotype))
            assert (
                relative_error(ours, reference(x, hard, gamma, **edges)) < 1e-6
            )  # progress is kept in single precision


class Fading(nn.Module):
    """The supernet of NAS-Bench-201 edge by edge, at one gamma."""

    def __init__(self, plain):
        super().__init__()
        self.plain, self.gamma = plain, None

    def forward(self, x, beta_EO):
        return self.plain(x, {"cell": beta_EO}, self.gamma)


def test_a_search_of_darts_minus_follows_the_textbook_from_epoch_to_epoch(monkeypatch):
    monkeypatch.setattr("tests.test_module.TEMPERATURE", 0.5)
    config = composed("method=darts_minus", "space.C=2", "space.N=1", "bilevel.order=arch_first", "run_dir=x")
    torch.manual_seed(0)
    module = build_module(config, 4).double()
    module.architecture.set_temperature(0.5)
    own = copy.deepcopy(module)
    textbook = TextbookSearch(own, "arch_first", sn=False, weight_clip=5.0, includes_arch=False, arch_clip=ArchClip())
    textbook.reference, data = Fading(Plain(own.space, own.supernet)), Batches()
    for gamma in (1.0, 0.5):
        textbook.reference.gamma = gamma
        for batch in data.batches:
            textbook.step(batch)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    assert torch.allclose(module.architecture.alpha["cell"], textbook.alpha, rtol=1e-7, atol=1e-11)
    for kernels, stacked in textbook.reference.plain.network.stacked_pairs(module.supernet):
        assert torch.allclose(stacked, torch.cat(list(kernels)), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["nb201", "darts"])
def test_the_second_order_step_with_drop_path_is_the_exact_gradient_at_the_steps_masks(name):
    """d L_val(w - rate * dL_train/dw) / d alpha by autograd through the reference, the same masks in all passes."""
    halves, reference = steps(name, progress=48 / 50, drop_path=Ramp(0.0, P, until=48 / 50))
    part = {key: (x, y % 4) for key, (x, y) in batches(size=6).items()}
    drawn = halves.draw_drop_path(torch.Generator().manual_seed(4), images=6)
    keep_LEB = next(iter(drawn.values())) >= P
    if name == "darts":  # of each cell the masks of its type
        normal, reduce = (drawn[f"drop_path/{kind}"] >= P for kind in ("normal", "reduce"))
        keep_LEB = torch.stack(
            [(reduce if kind == "reduce" else normal)[i] for i, kind in enumerate(halves.supernet.cell_types)]
        )
    sgd = torch.optim.SGD(halves.supernet.parameters(), lr=0.05, weight_decay=0.01)
    ahead = SgdLookahead(lambda: sgd)
    loss, _, *ours = SecondOrder(radius=1e-5).alpha_gradients(halves, part, drawn, ahead)
    alphas = {n: a.detach().clone().requires_grad_() for n, a in halves.architecture.alpha.items()}
    beta = softmax_of(alphas, halves.architecture.cells)
    named = dict(reference.named_parameters())

    def loss_at(weights, which):
        x, y = part[which]
        return F.cross_entropy(functional_call(reference, weights, (x, beta, 0.0, None, keep_LEB)), y)

    gradients = torch.autograd.grad(
        loss_at(named, "train"), list(named.values()), create_graph=True, allow_unused=True, materialize_grads=True
    )
    moved = {n: w - 0.05 * (g + 0.01 * w) for (n, w), g in zip(named.items(), gradients, strict=True)}
    objective = loss_at(moved, "valid")
    assert loss.item() == pytest.approx(objective.item(), rel=1e-6)
    for gradient, wanted in zip(ours, torch.autograd.grad(objective, list(alphas.values())), strict=True):
        assert relative_error(gradient, wanted) < 1e-4


# ---- ramps ----


@pytest.mark.parametrize("space", ["nb201", "darts", "s2"])
def test_gamma_falls_from_1_to_a_fiftieth_and_drop_path_rises_to_its_end(space):
    sizes = ("space.C=4", "space.N=1" if space == "nb201" else "space.num_cells=3")
    minus = build_module(composed("method=darts_minus", f"space={space}", *sizes, "run_dir=x"), 4).architecture
    dp = build_module(composed("method=r_darts_dp", f"space={space}", *sizes, "run_dir=x"), 4).architecture
    gammas, ps = [], []
    for epoch in range(50):
        for architecture in (minus, dp):
            architecture.set_progress(epoch / 50)
        weights = minus.weights(minus.beta(), minus.candidates)
        gammas.append([own.auxiliary.item() for own in weights.values()])
        drawn = dp.draw_drop_path(torch.Generator().manual_seed(epoch), 1, 1)
        kept = dp.kept({name: torch.ones_like(uniform) for name, uniform in drawn.items()}, 1)
        ps.append([1 - 1 / kept[name][0, 0, 0].item() if name in kept else 0.0 for name in dp.cells])
    for cell in range(len(minus.cells)):
        assert [row[cell] for row in gammas] == pytest.approx([(50 - e) / 50 for e in range(50)], abs=1e-6)
        assert [row[cell] for row in ps] == pytest.approx([0.2 * e / 49 for e in range(50)], abs=1e-6)
    assert (ps[0][0], gammas[0][0]) == (0.0, 1.0)


def test_the_cosine_and_the_start_value_are_the_sources():
    ramp = build(composed("method=darts_minus", "space.auxiliary_skip.shape=cosine", "run_dir=x").space)
    values = [ramp.cells["cell"].auxiliary_skip(torch.tensor(e / 50)).item() for e in range(50)]
    assert values == pytest.approx(
        [(1 + torch.cos(torch.tensor(torch.pi * e / 50)).item()) / 2 for e in range(50)], abs=1e-6
    )
    half = build(composed("method=darts_minus", "space.auxiliary_skip.start=0.5", "run_dir=x").space)
    assert half.cells["cell"].auxiliary_skip(torch.tensor(0.5)).item() == 0.25


def test_a_ramp_that_knows_the_epochs_ends_in_the_last_one():
    for epochs, ends in ((1, [0.0]), (2, [0.0, 3.0]), (4, [0.0, 1.0, 2.0, 3.0])):
        ramp = Ramp(0.0, 3.0, epochs=epochs)
        assert [ramp(torch.tensor(e / epochs)).item() for e in range(epochs)] == pytest.approx(ends)
    with pytest.raises(UserError, match="a ramp's epochs must be a whole number of at least 1"):
        Ramp(0.0, 1.0, epochs=0)


# ---- masks ----


def test_an_image_loses_an_edge_with_probability_p_and_what_is_left_is_scaled():
    halves, _ = steps("nb201", progress=0.5, drop_path=Ramp(0.25, 0.25))
    drawn = halves.draw_drop_path(torch.Generator().manual_seed(0), images=4000)
    kept_LEB = halves.architecture.kept(drawn, 4000)["cell"]
    assert kept_LEB.shape == (3, 6, 4000)
    assert kept_LEB.unique().tolist() == pytest.approx([0.0, 4 / 3])
    shares = (kept_LEB == 0).double().mean(-1)
    assert shares.mean().item() == pytest.approx(0.25, abs=0.01)
    assert shares.min() > 0.2
    assert shares.max() < 0.3
    assert (
        len({tuple(row[:64].tolist()) for row in kept_LEB.flatten(0, 1)}) == 18
    )  # another on every edge of every cell


def test_dropout_takes_an_entry_with_probability_p_and_scales_what_is_left():
    x = torch.ones(8, 4, 30, 31).to(memory_format=torch.channels_last)
    torch.manual_seed(0)
    one, other = (dropped_out(x, torch.tensor(0.25)) for _ in range(2))
    assert one.is_contiguous(memory_format=torch.channels_last)
    assert one.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert (one == 0).double().mean().item() == pytest.approx(0.25, abs=0.01)
    assert ((one == 0) & (other == 0)).double().mean().item() == pytest.approx(0.0625, abs=0.01)  # another each time
    assert dropped_out(x.bfloat16(), torch.tensor(0.25)).dtype == torch.bfloat16


def test_half_steps_drop_entries_of_skip_connections_and_no_other_pass_does(monkeypatch):
    halves, reference = steps(
        "nb201", progress=0.5, monkeypatch=monkeypatch, auxiliary_skip=FADING, skip_dropout=Ramp(P, P)
    )
    architecture, (x, y) = halves.architecture, batches(size=6)["valid"]
    y = y % 4
    beta = softmax_of(architecture.alpha, architecture.cells)
    losses = {}
    for p in (P, None):
        reference.drop_out(p)
        losses[p] = F.cross_entropy(reference(x, beta, 0.5), y).item()
    assert halves.loss((x, y), {})[0].item() == pytest.approx(losses[P], rel=1e-6)
    assert halves.weight_loss((x, y), {})[0].item() == pytest.approx(losses[P], rel=1e-6)
    perturbed = HalfSteps(architecture, halves.supernet, perturbation=RandomBall(Ramp(0.0, 0.0)))
    drawn = perturbed.draw(torch.Generator().manual_seed(0), for_weights=True)
    assert perturbed.weight_loss((x, y), drawn)[0].item() == pytest.approx(losses[P], rel=1e-6)
    probed = architecture.weights(architecture.beta(), architecture.candidates)
    assert halves.loss_at((x, y), probed)[0].item() == pytest.approx(losses[None], rel=1e-6)
    genotype = derive(NB201(), {"cell": architecture.alpha["cell"].detach()})
    hard = {"cell": F.one_hot(architecture.alpha["cell"].argmax(-1), 5).double()}
    theirs = F.cross_entropy(reference(x, hard, 0.5), y).item()
    assert halves.loss_at((x, y), architecture.one_hot(genotype, auxiliary=True))[0].item() == pytest.approx(
        theirs, rel=1e-6
    )
    assert losses[P] != pytest.approx(losses[None], rel=1e-3)


def test_skip_connections_are_dropped_too():
    _, supernet, _ = made("nb201")
    only_skips = torch.zeros(6, 5, dtype=torch.float64)
    only_skips[:, NB201_OPERATIONS.index("skip_connect")] = 1
    cell, x = next(iter(supernet.cells())), torch.randn(3, 4, 8, 8, dtype=torch.float64)
    keep_LEB = torch.ones(3, 6, 3)
    keep_LEB[:, [0, 1, 3], 1] = 0  # all that leaves the input
    output = cell(x, EdgeWeights(only_skips, [[True] * 5] * 6, keep_LEB=keep_LEB).of_cell(0))
    assert (output[1] == 0).all()
    assert torch.equal(output[0], 4 * x[0])


def test_every_forward_pass_of_a_half_step_has_its_masks_and_no_other_pass_has():
    halves, reference = steps("nb201", progress=0.5, **{**BOTH, "drop_path": Ramp(P, P)})
    x, y = batches(size=6)["valid"]
    y = y % 4
    drawn = halves.draw_drop_path(torch.Generator().manual_seed(1), images=6)
    keep_LEB = drawn["drop_path/cell"] >= P
    beta = softmax_of(halves.architecture.alpha, halves.architecture.cells)
    with_masks = F.cross_entropy(reference(x, beta, 0.5, None, keep_LEB), y).item()
    assert halves.loss((x, y), drawn)[0].item() == pytest.approx(with_masks, rel=1e-6)
    assert halves.weight_loss((x, y), drawn)[0].item() == pytest.approx(with_masks, rel=1e-6)
    short = F.cross_entropy(reference(x[:4], beta, 0.5, None, keep_LEB[..., :4]), y[:4]).item()
    assert halves.loss((x[:4], y[:4]), drawn)[0].item() == pytest.approx(short, rel=1e-6)  # a last batch is shorter
    # A decision's probe and the adversary's other passes: the supernet as it stands, auxiliary skip connection included.
    probed = halves.architecture.weights(halves.architecture.beta(), halves.architecture.candidates)
    without = F.cross_entropy(reference(x, beta, 0.5), y).item()
    assert halves.loss_at((x, y), probed)[0].item() == pytest.approx(without, rel=1e-6)


def test_a_perturbed_weight_step_has_both():
    halves, reference = steps("nb201", progress=0.5, **{**BOTH, "drop_path": Ramp(P, P)})
    halves = HalfSteps(halves.architecture, halves.supernet, perturbation=RandomBall())
    x, y = batches(size=6)["train"]
    y = y % 4
    generator = torch.Generator().manual_seed(2)
    drawn = halves.draw(generator, for_weights=True) | halves.draw_drop_path(generator, images=6)
    perturbed = {}
    original = halves.loss_at

    def seen(batch, weights):
        perturbed.update({name: own.beta_EO for name, own in weights.items()})
        return original(batch, weights)

    halves.loss_at = seen
    loss, _ = halves.weight_loss((x, y), drawn)
    theirs = F.cross_entropy(reference(x, perturbed, 0.5, None, drawn["drop_path/cell"] >= P), y)
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_the_discretised_supernet_has_neither():
    halves, reference = steps("nb201", progress=0.5, **{**BOTH, "drop_path": Ramp(P, P)})
    architecture = halves.architecture
    genotype = derive(NB201(), {"cell": architecture.alpha["cell"].detach()})
    x, y = batches(size=6)["valid"]
    y = y % 4
    hard = F.one_hot(architecture.alpha["cell"].argmax(-1), 5).double()
    loss, _ = halves.loss_at((x, y), architecture.one_hot(genotype))
    assert loss.item() == pytest.approx(F.cross_entropy(reference(x, {"cell": hard}), y).item(), rel=1e-9)


def module_of(*overrides):
    torch.manual_seed(0)
    return build_module(composed("space.C=4", "space.N=1", *overrides, "run_dir=x"), 4)


def on_rank(module, rank, world_size, epoch=1):
    module._trainer = SimpleNamespace(global_rank=rank, world_size=world_size, current_epoch=epoch)
    module.architecture.set_progress(0.5)
    return module


def test_each_rank_has_its_part_of_the_masks_of_one_device():
    whole = on_rank(module_of("method=r_darts_dp"), 0, 1).draw_drop_path(3, "weights", 8)["drop_path/cell"]
    parts = [
        on_rank(module_of("method=r_darts_dp"), rank, 2).draw_drop_path(3, "weights", 4)["drop_path/cell"]
        for rank in (0, 1)
    ]
    assert torch.equal(torch.cat(parts, -1), whole)
    assert not torch.equal(*parts)


def test_masks_have_a_stream_of_their_own():
    """Another in every step, half and epoch, the same again for the same; what relaxations draw does not depend on them."""
    module = on_rank(module_of("method=gdas", "space.drop_path={start: 0.2, end: 0.2}"), 0, 1)

    def masks(step, half, epoch):
        return on_rank(module, 0, 1, epoch).draw_drop_path(step, half, 6)["drop_path/cell"]

    places = [(0, "weights", 1), (1, "weights", 1), (0, "alpha", 1), (0, "weights", 2)]
    assert len({tuple(masks(*place).flatten().tolist()) for place in places}) == 4
    assert torch.equal(masks(*places[0]), masks(*places[0]))
    plain = on_rank(module_of("method=gdas"), 0, 1)
    assert torch.equal(on_rank(module, 0, 1).draw(2, True)["cell"], plain.draw(2, True)["cell"])
    assert plain.draw_drop_path(2, "weights", 6) == {}


# ---- with other choices ----


@pytest.mark.parametrize("unsampled", ["constant", "zero"])
@pytest.mark.parametrize("name", ["nb201", "darts"])
def test_it_is_added_where_a_draw_computes_nothing_else(name, unsampled, monkeypatch):
    halves, reference = steps(name, GumbelHard(unsampled), progress=0.5, monkeypatch=monkeypatch, auxiliary_skip=FADING)
    x, y = batches(size=6)["valid"]
    y = y % 4
    if name == "nb201":
        halves.architecture.alpha["cell"].data[:3, 0] = 1e3  # `none` is drawn
    drawn = halves.draw(torch.Generator().manual_seed(0), for_weights=True)
    hard = {
        n: F.one_hot(
            (a.detach().masked_fill(~halves.architecture.mask(n), -torch.inf) + drawn[n]).argmax(-1), a.shape[1]
        )
        for n, a in halves.architecture.alpha.items()
    }
    theirs = F.cross_entropy(reference(x, {n: h.double() for n, h in hard.items()}, 0.5), y)
    loss, _, *gradients = FirstOrder().alpha_gradients(halves, {"valid": (x, y)}, drawn, None)
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert halves.weight_loss((x, y), drawn)[0].item() == pytest.approx(theirs.item(), rel=1e-6)
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert halves.skipping.alpha_step(drawn) == {n: h.bool().tolist() for n, h in hard.items()}


@pytest.mark.parametrize("name", ["nb201", "nb201/partial", "darts"])
def test_a_dropped_edge_passes_nothing_on_and_a_decided_one_keeps_it(name):
    halves, reference = steps(name, progress=0.5, auxiliary_skip=FADING)
    architecture, (x, y) = halves.architecture, batches(size=6)["valid"]
    y = y % 4
    masks, edge = {}, {}
    for cell, spec in architecture.cells.items():
        masks[cell] = spec.mask_EO
        masks[cell][1] = False  # dropped
        masks[cell][0, int(masks[cell][0].nonzero()[-1]) + 1 :] = False
        masks[cell][0, : int(masks[cell][0].nonzero()[-1])] = False  # decided
        edge[cell] = torch.ones(len(spec.edges), dtype=torch.float64)
        edge[cell][1] = 0
    architecture.narrow(masks)
    beta = {
        cell: torch.nan_to_num(torch.softmax(a.detach().masked_fill(~masks[cell], -torch.inf), -1))
        for cell, a in architecture.alpha.items()
    }
    theirs = F.cross_entropy(reference(x, beta, 0.5, edge), y)
    assert halves.loss((x, y), {})[0].item() == pytest.approx(theirs.item(), rel=1e-6)
    assert halves.weight_loss((x, y), {})[0].item() == pytest.approx(theirs.item(), rel=1e-6)


COMBINED = [
    ("method=edd",),
    ("method=gdas",),
    ("method=sgas", "decision.start=0", "decision.interval=1"),
    ("method=sdarts_adv", "perturbation.steps=1"),
    ("method=edd_pc",),
    ("method=gaea_pc",),
    ("method=fair_darts", "space=darts"),
    ("method=edd_pc", "space=darts"),
    ("space=s4",),
    ("method=darts_v2", "model.weight_clip=null"),
    ("method=edd", "model.weight_clip_includes_arch=true"),
]


@pytest.mark.parametrize("choices", COMBINED, ids=" ".join)
def test_any_method_searches_with_all(choices, toy):
    extras = (
        "space.auxiliary_skip={start: 1, end: 0, shape: cosine}",
        "space.drop_path={start: 0, end: 0.3}",
        "space.skip_dropout={start: 0.3, end: 0.01, shape: exponential}",
    )
    if {"space=s4", "method=darts_v2"} & {*choices}:  # no candidate skip connections; a step that looks ahead
        extras = extras[:2]
    report = toy("run", *choices, *extras, "trainer.max_epochs=2", "data.train_images=16", "data.valid_images=16")
    assert report["epochs"] == 2
    assert report["config"]["space"]["auxiliary_skip"] == {"start": 1, "end": 0, "shape": "cosine"}
    assert "auxiliary_skip" in " ".join(report["overrides"])


def test_reductions_of_its_own_get_wider_with_the_operations():
    space, wide = (DARTS(C=8, num_cells=3, partial=partial, auxiliary_skip=FADING) for partial in (4, 2))
    narrow = space.supernet(3)
    widen(narrow.cells(), 2, Widening(torch.Generator().manual_seed(0)))
    wide.supernet(3).load_state_dict(narrow.state_dict())
    weights = {
        cell: EdgeWeights(torch.ones(spec.mask_EO.shape), spec.candidates, auxiliary=torch.tensor(GAMMA))
        for cell, spec in space.cells.items()
    }
    assert narrow(torch.randn(2, 3, 16, 16), weights).isfinite().all()


# ---- cost, graphs, compilation ----


class Counted(TorchDispatchMode):
    """How often each kernel is asked for."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.calls.append(function)
        return function(*arguments, **(keywords or {}))


def kernels(halves):
    """(all that both half steps ask for, alpha's gradients, those of the weights by name)"""
    batch = batches(size=4)["train"]
    batch = batch[0], batch[1] % 4
    with Counted() as counted:
        _, _, *of_alpha = FirstOrder().alpha_gradients(halves, {"valid": batch}, {}, None)
        _, _, *of_weights = halves.weight_gradients(batch, {})
    names = [name for name, _ in halves.supernet.named_parameters()]
    return counted.calls, of_alpha, dict(zip(names, of_weights, strict=True))


@pytest.mark.parametrize("name", ["nb201/partial/edges", "darts"])
def test_a_ramp_at_0_costs_no_kernel_and_changes_no_bit(name):
    plain, _ = steps(name)
    ramp = Ramp(0.0, 0.5, begin=0.5)
    later, _ = steps(name, progress=0.5, auxiliary_skip=ramp, drop_path=ramp, skip_dropout=ramp)
    # At stride 2 there are weights, of which the random start of the others must not depend here.
    later.supernet.load_state_dict(plain.supernet.state_dict(), strict=False)
    (calls, of_alpha, of_weights), (others, alpha_too, weights_too) = kernels(plain), kernels(later)
    assert calls == others
    assert all(torch.equal(*pair) for pair in zip(of_alpha, alpha_too, strict=True))
    assert all(torch.equal(weights_too[name], gradient) for name, gradient in of_weights.items())
    assert all(weights_too[name] is None for name in weights_too.keys() - of_weights.keys())
    assert later.draw_drop_path(torch.Generator(), 4) == {}
    version = later.architecture.version
    later.architecture.set_progress(0.6)
    assert later.architecture.version == version + 1
    later.architecture.set_progress(0.7)
    assert later.architecture.version == version + 1
    assert len(later.draw_drop_path(torch.Generator(), 4)) == len(later.architecture.cells)


def test_at_stride_1_it_costs_sums_of_scalars_alone_which_the_cells_share():
    def extra(cells):
        counts = []
        for settings in ({}, {"auxiliary_skip": FADING}):
            torch.manual_seed(0)
            space = NB201(C=2, N=cells, **settings)
            architecture = Architecture(space.cells, Softmax(), torch.Generator().manual_seed(0)).double()
            counts.append(len(kernels(HalfSteps(architecture, space.supernet(4).double()))[0]))
        return counts[1] - counts[0]

    assert extra(3) <= extra(1) < 60


@pytest.mark.parametrize(
    "extras",
    [
        {"auxiliary_skip": FADING},
        {"drop_path": Ramp(0.0, 0.4, epochs=3)},
        BOTH,
        {**ALL, "drop_path": Ramp(0.0, 0.4, epochs=3)},
    ],
    ids=str,
)
def test_replayed_search_equals_the_eager_search(extras, monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(nas_lightning.supernet.runner, "step_graphs", lambda device, state: StepGraphs(recorder, state))

    def search(**settings):
        torch.manual_seed(0)
        return nas_lightning.supernet.SupernetModule(
            NB201(C=4, N=1, **extras), Softmax(), num_classes=4,
            weight_optimizer=functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9),
            arch_optimizer=functools.partial(torch.optim.Adam, lr=3e-3, betas=(0.5, 0.999)), **settings,
        )  # fmt: skip

    eager, replayed = trained(search()), trained(search(graphs=True))
    assert states_equal(eager, replayed)
    assert (
        recorder.replays == 2 * 3 * 3
    )  # three full batches in three epochs: masks set in without the loss of the graphs


@pytest.mark.parametrize("name", ["nb201", "nb201/partial/edges", "darts", "darts/partial/edges", "s4"])
def test_a_cell_compiles_as_one_graph(name):
    torch.manual_seed(0)
    space = SPACES[name](**BOTH)
    supernet = space.supernet(3)
    keep_LEB = draws(space, supernet, 4) / (1 - P)
    weights = {}
    for cell_type, spec in space.cells.items():
        edge = torch.rand(len(spec.edges)) if spec.edge_weights else None
        beta = torch.rand(spec.mask_EO.shape) * spec.mask_EO
        weights[cell_type] = EdgeWeights(beta, spec.candidates, edge, auxiliary=torch.tensor(GAMMA), keep_LEB=keep_LEB)
    x = torch.randn(4, 3, 8, 8)
    torch.manual_seed(0)
    eager = supernet(x, weights)
    list(supernet.cells())[1].compile(dynamic=False, fullgraph=True, backend="eager")
    torch.manual_seed(0)
    assert torch.equal(supernet(x, weights), eager)


# ---- its name ----


def test_a_skip_connection_that_stays_and_one_that_fades_have_two_names_in_report_and_panel(toy, capsys):
    """Two searches: were their names one, a table would take them for seeds of one."""
    for end in (1, 0):
        short = ("trainer.max_epochs=1", "data.train_images=16", "data.valid_images=16")
        report = toy(f"to{end}", "method=edd", f"space.auxiliary_skip={{start: 1, end: {end}}}", *short)
        printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert report["method"] == f"edd + space.auxiliary_skip={{start:1,end:{end}}}"
        assert f"{report['method']} on nb201, fake, seed 0" in printed


# ---- settings ----


@pytest.mark.parametrize("space", ["nb201", "darts"])
@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("auxiliary_skip=1", r"space.auxiliary_skip must be null or a ramp whose ends are 0 or more, such as"),
        ("auxiliary_skip={start: 1}", "space.auxiliary_skip must be null or a ramp"),
        ("auxiliary_skip={start: 1, end: 0, slope: 2}", "space.auxiliary_skip must be null or a ramp"),
        (
            "auxiliary_skip={start: 1, end: -0.1}",
            "space.auxiliary_skip must be null or a ramp whose ends are 0 or more",
        ),
        ("auxiliary_skip={start: much, end: 0}", "a ramp's start must be a finite number"),
        ("auxiliary_skip={start: 1, end: 0, shape: square}", "a ramp's shape must be linear, cosine or exponential"),
        ("drop_path=0.2", r"space.drop_path must be null or a ramp whose ends are 0 or more and less than 1, such as"),
        (
            "drop_path={start: 0, end: 1}",
            "space.drop_path must be null or a ramp whose ends are 0 or more and less than 1",
        ),
        ("skip_dropout={start: 0.99999999, end: 0}", "space.skip_dropout must be null or a ramp whose ends are 0"),
        (
            "skip_dropout={start: 1, end: 0}",
            "space.skip_dropout must be null or a ramp whose ends are 0 or more and less",
        ),
        ("drop_path={start: 0, end: 0.2, epochs: 2.5}", "a ramp's epochs must be a whole number"),
    ],
)
def test_what_is_no_ramp_is_one_sentence_and_writes_nothing(space, setting, sentence, toy, tmp_path):
    with pytest.raises(UserError, match=sentence) as error:
        toy("run", f"space={space}", f"space.{setting}")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "config.yaml").exists()


def sizes_of_features(**extras):
    """Root mean squares behind each of NAS-Bench-201's 15 cells as a search starts."""
    torch.manual_seed(0)
    space, sizes = NB201(C=4, N=5, none=False, auxiliary_skip=Ramp(1.0, 1.0), **extras), []
    architecture, supernet = Architecture(space.cells, Softmax(), torch.Generator()), space.supernet(4)
    for cell in supernet.cells():
        cell.register_forward_hook(lambda cell, inputs, output: sizes.append(output.square().mean().sqrt().item()))
    with torch.no_grad():
        weights = architecture.weights(architecture.beta(), {"cell": space.cells["cell"].candidates})
        supernet(torch.randn(8, 3, 8, 8), weights)
    return sizes


def test_features_grow_from_cell_to_cell_beside_the_sum_far_more_than_beside_the_mean():
    """Eight times against twice, with no batch norm between the cells."""
    of_sum, of_mean = sizes_of_features(), sizes_of_features(auxiliary_mean=True)
    assert all(6 < after / before < 10 for before, after in itertools.pairwise(of_sum[:5]))
    assert all(1.5 < after / before < 2.5 for before, after in itertools.pairwise(of_mean[:5]))
    assert of_sum[-1] > 1e10
    assert of_mean[-1] < 1e5
