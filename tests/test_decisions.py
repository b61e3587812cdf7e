"""What takes candidates away: decisions and stages of the folders, SGAS and DARTS-PT against slow loops, dropped edges.

Letters: E edges, O operations.
"""

import copy
import functools
import itertools
import json
import math

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn

from nas_lightning.bilevel import FirstOrder
from nas_lightning.build import build_axis
from nas_lightning.callbacks import Decisions
from nas_lightning.callbacks.decisions import _ValidationProbe
from nas_lightning.decisions import Decision, EdgeConfidence, OperationDrop
from nas_lightning.decisions.base import undecided
from nas_lightning.derive.base import derived
from nas_lightning.errors import UserError
from nas_lightning.relaxations import Softmax
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.spaces.weights import EdgeWeights
from nas_lightning.stages import Stage, Stages
from nas_lightning.stages.base import kept
from nas_lightning.supernet.architecture import Architecture
from nas_lightning.supernet.module import SupernetModule
from speed.reference import ReferenceSupernet
from speed.reference_darts import ReferenceDartsSupernet, shuffle
from tests.axes import options
from tests.conftest import composed
from tests.ddp_searches import on_two_processes
from tests.test_bilevel import batches
from tests.test_nb201_supernet import relative_error

SPACES = {
    "nb201": NB201(C=4, N=1),
    "darts": DARTS(C=4, num_cells=3),
    "none": DARTS(C=4, num_cells=3, none=True),
    "s1": DARTS(C=4, num_cells=3, candidates="s1"),
    "s3": DARTS(C=4, num_cells=3, candidates="s3"),
}
EPOCHS = 50


def stages_of(option, epochs=EPOCHS):
    return build_axis(composed(f"stages={option}", f"trainer.max_epochs={epochs}", "run_dir=x"), "stages", Stages)


DECISIONS = {
    option: build_axis(composed(f"decision={option}", "run_dir=x"), "decision", Decision)
    for option in options("decision")
}
DECISIONS |= {
    f"{option}/{name}": stage.decision
    for option in options("stages")
    for name, stage in stages_of(option).stages.items()
    if stage.decision is not None
}
DECISIONS["criterion_2"] = EdgeConfidence(criterion=2)
DECISIONS["by_loss"] = OperationDrop(by="loss")
DECISIONS["not_none"] = OperationDrop(none=False)
DECISIONS["edge_and_accuracy"] = EdgeConfidence(by="accuracy")


class Probe:
    """A supernet that is worth a weighted sum of its betas; keeps what it was asked."""

    def __init__(self, space, seed=0, constant=False):
        generator = torch.Generator().manual_seed(seed)
        self.values = {
            name: (0.0 if constant else 1.0) * torch.rand(spec.mask_EO.shape, generator=generator)
            for name, spec in space.cells.items()
        }
        self.asked = []

    def __call__(self, betas):
        self.asked.append({name: beta.clone() for name, beta in betas.items()})
        accuracy = sum((self.values[name] * beta).sum().item() for name, beta in betas.items())
        return -accuracy, accuracy


def architecture_of(space, seed=0):
    return Architecture(space.cells, Softmax(), torch.Generator().manual_seed(seed))


def walk(space, epochs=EPOCHS, seed=0):
    """[epoch] -> {cell type: alpha_EO} of a random walk."""
    generator = torch.Generator().manual_seed(seed)
    alpha = {name: 1e-3 * torch.randn(spec.mask_EO.shape, generator=generator) for name, spec in space.cells.items()}
    path = []
    for _ in range(epochs):
        alpha = {name: a + 0.2 * torch.randn(a.shape, generator=generator) for name, a in alpha.items()}
        path.append(alpha)
    return path


def put(architecture, alpha):
    with torch.no_grad():
        for name, value in alpha.items():
            architecture.alpha[name].copy_(value)


def decided_along(decision, space, path, probe=None, seed=0, from_epoch=1):
    """[(epoch, masks)] of an architecture that walks along `path`, asked at the start of every epoch from `from_epoch`."""
    architecture, state, seen = architecture_of(space), {}, []
    probe = probe or Probe(space)
    for epoch in range(from_epoch, len(path) + 1):
        put(architecture, path[epoch - 1])
        generator = torch.Generator().manual_seed(1000 * seed + epoch)
        masks, state = decision(epoch, len(path) + 1, architecture.snapshot(), probe, state, generator)
        state = json.loads(json.dumps(state))  # plain data, as a checkpoint keeps it
        architecture.narrow(masks)
        seen.append((epoch, {name: architecture.mask(name).clone() for name in space.cells}))
    return architecture, seen


@pytest.mark.parametrize("space", sorted(SPACES))
@pytest.mark.parametrize("name", sorted(DECISIONS))
def test_masks_only_shrink_and_what_is_derived_lies_within_them(name, space):
    space, path = SPACES[space], walk(SPACES[space], epochs=90)
    architecture, seen = decided_along(DECISIONS[name], space, path)
    before = {name: spec.mask_EO for name, spec in space.cells.items()}
    changes = 0
    for _, masks in seen:
        for cell, mask in masks.items():
            assert not (mask & ~before[cell]).any()
            changes += not torch.equal(mask, before[cell])
        before = masks
    assert changes >= 6 * len(space.cells)
    genotype = derived(space.name, space.rule, architecture.snapshot())
    space.check(genotype, "what is derived")
    for cell, spec in space.cells.items():
        for choice in genotype.cells[cell]:
            edge = spec.edges.index((choice.source, choice.target))
            assert architecture.candidates[cell][edge][spec.operations.index(choice.operation)]
        assert not undecided(architecture.mask(cell))


@pytest.mark.parametrize("name", sorted(DECISIONS))
def test_the_same_generator_decides_the_same(name):
    space = SPACES["none"]
    runs = [decided_along(DECISIONS[name], space, walk(space), seed=3)[1] for _ in range(2)]
    for (_, one), (_, other) in zip(*runs, strict=True):
        assert all(torch.equal(one[cell], other[cell]) for cell in one)


# SGAS ------------------------------------------------------------------------------------------------------------------


def scaled(values):
    low, high = min(values), max(values)
    return [(v - low) / (high - low) if high > low else 0.0 for v in values]


def sgas(spec, alphas, criterion, has_none):
    """methods' SGAS for one cell: {epoch after whose training it was decided: (edge, operation)}, edges that are pruned."""
    decided, pruned, history, when = {}, set(), [], {}
    names = list(spec.operations)
    others = [o for o, name in enumerate(names) if name != "none"]
    for e, alpha in enumerate(alphas):
        importance, certainty, shares = [], [], []
        for row in alpha.double().tolist():
            powers = [math.exp(a) for a in row]
            s = [power / sum(powers) for power in powers]
            importance.append(1 - s[names.index("none")] if has_none else 1.0)
            q = [s[o] / sum(s[o] for o in others) for o in others]
            shares.append(q)
            certainty.append(1 + sum(p * math.log(p) for p in q) / math.log(len(others)))
        score = scaled(certainty)
        if has_none:
            score = [a * b for a, b in zip(score, scaled(importance), strict=True)]
        if criterion == 2:
            last = history[-4:]
            stability = [
                sum(sum(min(a, b) for a, b in zip(old[i], q, strict=True)) for old in last) / max(1, len(last))
                for i, q in enumerate(shares)
            ]
            score = [a * b for a, b in zip(score, scaled(stability), strict=True)]
        if e >= 9 and (e - 9) % 5 == 0:
            left = [i for i in range(len(spec.edges)) if i not in decided and i not in pruned]
            if left:
                edge = max(left, key=lambda i: score[i])
                decided[edge] = others[shares[edge].index(max(shares[edge]))]
                when[e] = edge, decided[edge]
                node = spec.edges[edge][1]
                into = [i for i, (_, target) in enumerate(spec.edges) if target == node]
                if spec.inputs_a_node and sum(i in decided for i in into) == spec.inputs_a_node:
                    pruned |= {i for i in into if i not in decided}
        history.append(shares)
    return when, pruned


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("criterion", [1, 2])
@pytest.mark.parametrize("space", ["nb201", "darts", "none"])
def test_edge_confidence_is_the_authors_loop(space, criterion, seed):
    has_none, space = space != "darts", SPACES[space]
    path = walk(space, seed=seed)
    architecture, seen = decided_along(EdgeConfidence(criterion=criterion), space, path)
    for name, spec in space.cells.items():
        when, pruned = sgas(spec, [alphas[name] for alphas in path], criterion, has_none)
        before, ours = spec.mask_EO, {}
        for epoch, masks in seen:
            now = masks[name]
            fresh = [e for e in range(len(now)) if before[e].sum() > 1 and now[e].sum() == 1]
            for edge in fresh:
                ours[epoch - 1] = edge, int(now[edge].nonzero())
            before = now
        assert ours == when
        epochs = list(range(9, 45, 5)) if len(spec.edges) == 14 else list(range(9, 35, 5))
        assert sorted(when) == epochs
        mask = architecture.mask(name)
        assert {e for e in range(len(mask)) if not mask[e].any()} == pruned
        if spec.inputs_a_node:
            for node in range(2, 6):
                left = [int(mask[e].sum()) for e, (_, target) in enumerate(spec.edges) if target == node]
                assert sorted(left)[-2:] == [1, 1]
                assert sum(left) == 2


def decided_after(decision, epochs):
    """The epochs after whose training an edge was decided, in a run of `epochs`."""
    space = SPACES["none"]
    _, seen = decided_along(decision, space, walk(space, epochs - 1))
    before, after = space.cells["normal"].mask_EO, []
    for epoch, masks in seen:
        if not torch.equal(masks["normal"], before):
            after.append(epoch - 1)
        before = masks["normal"]
    return after


@pytest.mark.parametrize(
    ("epochs", "settings", "wanted"),
    [
        (50, {}, [*range(9, 45, 5)]),
        (50, {"start": 9, "interval": 5}, [*range(9, 45, 5)]),
        (60, {"start": 3, "interval": 7}, [*range(3, 53, 7)]),
        (100, {}, [*range(18, 89, 10)]),
        (20, {}, [*range(4, 19, 2)]),
        (10, {}, [*range(2, 9)]),
        (4, {}, [1, 2]),
        (4, {"start": 0, "interval": 1}, [0, 1, 2]),
        (20, {"start": 0.5, "interval": 3}, [10, 13, 16]),
    ],
)
def test_start_and_interval_are_epochs_or_shares_of_the_run(epochs, settings, wanted):
    assert decided_after(EdgeConfidence(epochs, **settings), epochs) == wanted


@pytest.mark.parametrize("by", ["accuracy", "loss"])
@pytest.mark.parametrize("space", ["nb201", "darts", "none"])
def test_sgas_pt_is_sgas_edge_and_the_operation_that_is_missed_most(space, by):
    """Edges by the authors' loop; of a supernet that is a weighted sum, that operation has the largest part of the sum."""
    has_none, space = space != "darts", SPACES[space]
    path, probe = walk(space, seed=5), Probe(space, seed=5)
    _, seen = decided_along(EdgeConfidence(by=by), space, path, probe)
    differs = 0
    for name, spec in space.cells.items():
        when, _ = sgas(spec, [alphas[name] for alphas in path], 1, has_none)
        others = [o for o, operation in enumerate(spec.operations) if operation != "none"]
        before = spec.mask_EO
        for epoch, masks in seen:
            fresh = [e for e in range(len(before)) if before[e].sum() > 1 and masks[name][e].sum() == 1]
            assert fresh == ([when[epoch - 1][0]] if epoch - 1 in when else [])
            for edge in fresh:
                part = probe.values[name][edge] * path[epoch - 1][name][edge].softmax(-1)
                assert int(masks[name][edge].nonzero()) == max(others, key=lambda o: part[o].item())
                differs += int(masks[name][edge].nonzero()) != when[epoch - 1][1]
            before = masks[name]
    assert differs  # else the operation of largest probability would do


def test_sgas_pt_leaves_operations_out_one_by_one_without_none_and_the_cells_in_turn():
    space = SPACES["none"]
    architecture, probe = architecture_of(space), Probe(space)
    put(architecture, walk(space, 1)[0])
    views, decision = architecture.snapshot(), EdgeConfidence(start=0, by="accuracy")
    masks, _ = decision(1, 50, views, probe, {}, torch.Generator())
    edges = {name: int((mask.sum(-1) == 1).nonzero()[0]) for name, mask in masks.items()}
    assert len(probe.asked) == 2 * 7
    for name, asked in (("normal", probe.asked[:7]), ("reduce", probe.asked[7:])):
        for operation, betas in enumerate(asked, 1):
            wanted = {cell: view.probabilities_EO.clone() for cell, view in views.items()}
            if name == "reduce":
                wanted["normal"][edges["normal"]] = masks["normal"][edges["normal"]].float()
            wanted[name][edges[name], operation] = 0
            assert all(torch.equal(betas[cell], wanted[cell]) for cell in wanted)


def test_the_criteria_decide_differently():
    space = SPACES["none"]
    masks = [
        [decided_along(EdgeConfidence(criterion=c), space, walk(space, seed=s))[0].mask("normal") for s in range(4)]
        for c in (1, 2)
    ]
    assert any(not torch.equal(a, b) for a, b in zip(*masks, strict=True))


def test_decided_edges_take_part_in_the_scaling_with_their_own_alpha():
    """Two open edges whose order depends on how they are scaled; a decided edge must not count as sure and important."""
    space = SPACES["nb201"]
    architecture = architecture_of(space)
    alpha = torch.zeros(6, 5)
    alpha[0] = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0])  # decided below, with middling numbers of its own
    alpha[1] = torch.tensor([-1.0, 1.5, 0.0, 0.0, 0.0])
    alpha[2] = torch.tensor([-3.0, 1.0, 0.0, 0.0, 0.0])
    put(architecture, {"cell": alpha})
    mask = space.cells["cell"].mask_EO
    mask[0] = torch.tensor([False, True, False, False, False])
    architecture.narrow({"cell": mask})
    from nas_lightning.decisions.edge_confidence import _shares

    importance, q = _shares(architecture.snapshot()["cell"])
    p = torch.softmax(alpha.double(), -1)
    assert torch.allclose(importance, 1 - p[:, 0])
    assert torch.allclose(q[:, 1:], p[:, 1:] / (1 - p[:, :1]))


# DARTS-PT --------------------------------------------------------------------------------------------------------------


def asked(decision, architecture, probe, seed=0):
    masks, state = decision(0, 81, architecture.snapshot(), probe, {}, torch.Generator().manual_seed(seed))
    assert state["made"] == 1
    return masks


@pytest.mark.parametrize("by", ["accuracy", "loss"])
def test_the_operation_whose_absence_hurts_most_stays(by):
    space = SPACES["nb201"]
    for seed in range(10):
        architecture, probe = architecture_of(space, seed), Probe(space, seed)
        beta = architecture.beta()["cell"].detach()
        (mask,) = asked(OperationDrop(by=by), architecture, probe, seed=seed).values()
        (edge,) = [e for e in range(6) if mask[e].sum() == 1]
        assert mask[edge].tolist().index(True) == int((probe.values["cell"] * beta)[edge].argmax())
        assert mask.sum() == 5 * 5 + 1


def test_an_operation_is_left_out_without_renormalising_its_row():
    space = SPACES["nb201"]
    architecture, probe = architecture_of(space), Probe(space)
    put(architecture, {"cell": torch.arange(30.0).view(6, 5).sin()})
    beta = architecture.beta()["cell"].detach()
    (mask,) = asked(OperationDrop(), architecture, probe).values()
    (edge,) = [e for e in range(6) if mask[e].sum() == 1]
    assert len(probe.asked) == 5
    for operation, betas in enumerate(probe.asked):
        wanted = beta.clone()
        wanted[edge, operation] = 0
        assert torch.equal(betas["cell"], wanted)
    assert len(probe.asked) == 5


def test_masked_operations_are_not_tried():
    space = SPACES["s1"]
    architecture, probe = architecture_of(space), Probe(space)
    masks = asked(OperationDrop(), architecture, probe)
    assert masks.keys() == {"normal", "reduce"}
    assert len(probe.asked) == 4  # two candidates on an edge of each cell


def test_the_reduction_cell_is_measured_with_the_normal_cell_as_it_is_now():
    space = SPACES["darts"]
    architecture, probe = architecture_of(space), Probe(space)
    masks = asked(OperationDrop(), architecture, probe)
    (edge,) = [e for e in range(14) if masks["normal"][e].sum() == 1]
    assert len(probe.asked) == 14
    for betas in probe.asked[7:]:
        assert torch.equal(betas["normal"][edge], masks["normal"][edge].float())


def test_of_equal_operations_the_first_stays():
    architecture, probe = architecture_of(SPACES["nb201"]), Probe(SPACES["nb201"], constant=True)
    (mask,) = asked(OperationDrop(), architecture, probe).values()
    assert [mask[e].tolist().index(True) for e in range(6) if mask[e].sum() == 1] == [0]


def test_the_order_of_edges_follows_from_the_generator_alone():
    """Uniformly over the open edges; alpha and the probe have no say."""
    space = SPACES["nb201"]

    def first(seed, world):
        architecture = architecture_of(space, world)
        (mask,) = asked(OperationDrop(), architecture, Probe(space, world), seed=seed).values()
        return next(e for e in range(6) if mask[e].sum() == 1)

    edges = [first(seed, 0) for seed in range(120)]
    assert edges == [first(seed, 1) for seed in range(120)]
    assert set(edges) == set(range(6))
    assert max(edges.count(e) for e in range(6)) < 40  # 20 on average


def decided_darts(space, operation="sep_conv_3x3"):
    architecture = architecture_of(space)
    masks = {}
    for name, spec in space.cells.items():
        masks[name] = torch.zeros_like(spec.mask_EO)
        masks[name][:, spec.operations.index(operation)] = True
    architecture.narrow(masks)
    return architecture


def test_of_equal_edges_into_a_node_the_last_goes():
    space = SPACES["darts"]
    masks = asked(OperationDrop(), decided_darts(space), Probe(space, constant=True))
    for name, mask in masks.items():
        gone = [space.cells[name].edges[e] for e in range(14) if not mask[e].any()]
        node = gone[0][1]
        assert gone == [(source, node) for source in range(2, node)]  # two inputs stay, those of the lowest sources


def test_the_edge_whose_absence_leaves_the_best_supernet_goes():
    space = SPACES["darts"]
    for seed in range(6):
        architecture, probe = decided_darts(space), Probe(space, seed)
        masks = asked(OperationDrop(), architecture, probe, seed=seed)
        for name, mask in masks.items():
            spec = space.cells[name]
            node = next(spec.edges[e][1] for e in range(14) if not mask[e].any())
            into = [e for e, (_, target) in enumerate(spec.edges) if target == node]
            worth = probe.values[name][:, spec.operations.index("sep_conv_3x3")]
            best = sorted(into, key=lambda e: -worth[e])[:2]
            assert {e for e in into if mask[e].any()} == {*best}
        for betas in probe.asked:
            for beta in betas.values():
                assert set(beta.unique().tolist()) <= {0.0, 1.0}
                assert (beta.sum(-1) == 0).sum() >= (beta.sum(-1) == 0).any()


@pytest.mark.parametrize(
    ("space", "epochs", "decides"),
    [
        ("darts", 81, [*range(0, 81, 5)]),  # the authors' in its space: 14 edges, and nodes 3, 4, 5 of each cell
        ("nb201", 25, [0, 5, 10, 15, 20, 24]),  # and theirs of the 6 edges here
        ("nb201", 26, [0, 5, 10, 15, 20, 25]),
        ("nb201", 40, [0, 5, 10, 15, 20, 25]),
        ("darts", 31, [0, 2, 4, 6, 8, 10, 12, 14, 15, 17, 19, 21, 23, 25, 27, 29, 30]),
        ("darts", 17, [*range(17)]),
        ("nb201", 3, [0, 1, 2]),  # one, two and three decisions
        ("darts", 1, [0]),
    ],
)
def test_a_projection_of_any_length_decides_everything_and_the_authors_in_their_epochs(space, epochs, decides):
    space = SPACES[space]
    architecture, state, changed = architecture_of(space), {}, []
    put(architecture, walk(space, 1)[0])  # alpha rests
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(epoch)
        masks, state = OperationDrop()(epoch, epochs, architecture.snapshot(), Probe(space), state, generator)
        state = json.loads(json.dumps(state))
        assert masks.keys() in (set(), set(space.cells))
        if masks:
            changed.append(epoch)
        architecture.narrow(masks)
    assert changed == decides
    for name, spec in space.cells.items():
        mask = architecture.mask(name)
        assert sorted(set(mask.sum(-1).tolist())) == ([0, 1] if space.name == "darts" else [1])
        assert mask.sum() == (8 if space.name == "darts" else 6)
        assert torch.equal(architecture.beta()[name].detach(), mask.float())  # one-hot
        for node in {target for _, target in spec.edges}:
            into = [e for e, (_, target) in enumerate(spec.edges) if target == node]
            assert mask[into].sum() == (2 if space.name == "darts" else len(into))


@pytest.mark.parametrize("space", ["nb201", "s3", "none"])
def test_none_is_never_chosen_where_it_would_leave_no_architecture(space):
    """With a supernet that is worth nothing but its `none`."""
    space = SPACES[space]
    probe = Probe(space)
    for name, spec in space.cells.items():
        probe.values[name] = torch.zeros(spec.mask_EO.shape)
        probe.values[name][:, spec.operations.index("none")] = 1.0
    for seed in range(3):
        architecture, _ = decided_along(OperationDrop(interval=1), space, walk(space, 20), probe, seed)
        genotype = derived(space.name, space.rule, architecture.snapshot())
        space.check(genotype, "what is derived")
        chosen = [spec.named(architecture.candidates[name], e) for name, spec in space.cells.items() for e in range(6)]
        assert [] in chosen  # `none` was chosen where it may be


def test_none_is_not_tried_where_it_may_not_stay():
    space = SPACES["s3"]
    probe = Probe(space)
    for name, spec in space.cells.items():
        probe.values[name] = torch.zeros(spec.mask_EO.shape)
        probe.values[name][:, spec.operations.index("none")] = 1.0
    architecture, _ = decided_along(OperationDrop(interval=1, none=False), space, walk(space, 20), probe)
    for name, spec in space.cells.items():
        column = spec.operations.index("none")
        assert not architecture.mask(name)[:, column].any()
        for betas in probe.asked:
            of_none_E, row_E = betas[name][:, column], betas[name].sum(-1)
            assert (of_none_E[(row_E > 0) & (row_E < 1 - 1e-5)] > 0).all()  # what was left out of a mixture is another


# The supernet under a decision ------------------------------------------------------------------------------------------


class Data(pl.LightningDataModule):
    def __init__(self, sizes=(6, 5)):
        super().__init__()
        generator = torch.Generator().manual_seed(4)

        def batch(count):
            x = torch.randn(count, 3, 8, 8, generator=generator, dtype=torch.float64)
            return x, torch.randint(4, (count,), generator=generator)

        self.train = [{"train": batch(6), "valid": batch(6)} for _ in range(2)]
        self.valid = [batch(size) for size in sizes]

    def train_dataloader(self):
        return torch.utils.data.DataLoader(self.train, batch_size=None)

    def val_dataloader(self):
        return torch.utils.data.DataLoader(self.valid, batch_size=None)


def make(space, classes=4, arch_decay=0.0, relaxation=None, **settings):
    torch.manual_seed(0)
    return SupernetModule(
        space, relaxation or Softmax(), classes, functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        functools.partial(torch.optim.Adam, lr=0.1, betas=(0.5, 0.999), weight_decay=arch_decay), **settings,
    ).double()  # fmt: skip


def fitted(module, epochs=1, callbacks=()):
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=list(callbacks), num_sanity_val_steps=0,
    )  # fmt: skip
    data = Data()
    trainer.fit(module, datamodule=data)
    return trainer, data


def test_the_probe_is_the_accuracy_of_the_per_edge_reference_over_the_validation_images():
    module = make(NB201(C=4, N=1))
    trainer, data = fitted(module, epochs=3)
    reference = ReferenceSupernet(module.supernet)
    probe = _ValidationProbe(trainer, module)
    generator = torch.Generator().manual_seed(0)
    accuracies = set()
    for number in range(6):
        beta = torch.softmax(3 * torch.randn(6, 5, generator=generator, dtype=torch.float64), -1)
        beta[number, number % 5] = 0
        losses, hits = [], []
        for x, y in data.valid:
            logits = reference(x, beta).detach()
            losses += F.cross_entropy(logits, y, reduction="none").tolist()
            hits += (logits.argmax(1) == y).tolist()
        assert len(hits) == 11
        loss, accuracy = probe({"cell": beta})
        assert accuracy == pytest.approx(sum(hits) / 11, abs=1e-7)
        assert loss == pytest.approx(sum(losses) / 11, rel=1e-6)
        accuracies.add(accuracy)
    assert len(accuracies) > 1


def test_a_rate_of_a_stages_own_leaves_the_schedule_to_the_stages_after_it():
    """The cosine goes on from the rate it finds; it had gone on from the stage's."""
    rates = []

    class Seen(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    cosine = functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=6)
    stages = Stages(6, {"one": Stage(2), "two": Stage(2, weight_rate=0.0025), "three": Stage(2)})
    fitted(make(NB201(C=4, N=1), weight_scheduler=cosine), 6, [Decisions(None, stages), Seen()])
    scheduled = [0.1 * (1 + math.cos(math.pi * epoch / 6)) / 2 for epoch in range(6)]
    scheduled[2:4] = [0.0025, 0.0025]
    assert rates[::2] == rates[1::2] == pytest.approx(scheduled)


@pytest.mark.parametrize("option", options("stages"))
def test_the_parts_of_every_stages_cover_the_run_in_order(option):
    stages = stages_of(option, epochs=131)
    names = list(stages.stages)
    places = [stages.at(epoch) for epoch in range(131)]
    order = [next(name for name, stage in stages.stages.items() if stage is place) for place, _ in places]
    assert [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name] == names
    for name in names:
        assert [done for (_, done), own in zip(places, order, strict=True) if own == name] == [
            *range(order.count(name))
        ]
    with pytest.raises(ValueError, match="131"):
        stages.at(131)


def test_darts_pts_parts_are_50_and_81_of_131_epochs():
    stages = stages_of("darts_pt", epochs=131)
    search, projection = stages.stages.values()
    assert stages.at(49) == (search, 49)
    assert stages.at(50) == (projection, 0)
    assert stages.at(130) == (projection, 80)
    assert (search.decision, search.weight_rate, projection.weight_rate) == (None, None, 0.0025)
    assert (projection.decision.interval, projection.decision.by) == (5, "accuracy")


@pytest.mark.parametrize("keep", [1, 2, 3, 9])
@pytest.mark.parametrize("space", ["nb201", "darts", "s1"])
def test_kept_are_the_most_probable_candidates_of_each_edge(space, keep):
    space = SPACES[space]
    architecture = architecture_of(space)
    put(architecture, {name: (a * 4).round() / 4 for name, a in walk(space, 3)[-1].items()})  # with ties
    for name, mask in kept(architecture.snapshot(), keep).items():
        alpha, old = architecture.alpha[name].tolist(), architecture.candidates[name]
        for e, row in enumerate(alpha):
            order = sorted((o for o in range(len(row)) if old[e][o]), key=lambda o: (-row[o], o))
            assert {o for o in range(len(row)) if mask[e, o]} == {*order[:keep]}


def test_a_stage_keeps_candidates_at_its_start():
    module = make(NB201(C=4, N=1))
    seen = []

    class Seen(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            seen.append(pl_module.architecture.mask("cell").sum(-1).tolist())

    fitted(module, 3, [Decisions(None, Stages(3, {"a": Stage(1), "b": Stage(2, keep=2)})), Seen()])
    assert seen == [[5] * 6, [2] * 6, [2] * 6]


def test_alpha_of_a_decided_edge_rests():
    """Adam with momentum and weight decay would move it on; the open edges go where they went before."""
    space = DARTS(C=4, num_cells=3, none=True)
    architecture = architecture_of(space).double()
    adam = torch.optim.Adam(architecture.parameter_groups(), lr=0.1, betas=(0.5, 0.999), weight_decay=0.1)
    generator = torch.Generator().manual_seed(3)

    def backward():
        for name, alpha in architecture.alpha.items():
            mask_EO = architecture.mask(name)
            alpha.grad = torch.randn(alpha.shape, generator=generator, dtype=torch.float64)
            alpha.grad *= mask_EO & (mask_EO.sum(-1, keepdim=True) > 1)

    for _ in range(3):
        backward()
        with architecture.decided_at_rest():
            adam.step()
    mask = space.cells["normal"].mask_EO
    mask[1] = False  # dropped
    mask[4] = torch.arange(8) == 2  # decided
    mask[6, 3:] = False  # open still
    architecture.narrow({"normal": mask})
    for _ in range(3):
        backward()
        before = {name: alpha.detach().clone() for name, alpha in architecture.alpha.items()}
        state = copy.deepcopy(adam.state_dict())
        adam.step()
        plain = {name: alpha.detach().clone() for name, alpha in architecture.alpha.items()}
        put(architecture, before)
        adam.load_state_dict(state)
        with architecture.decided_at_rest():
            adam.step()
        for name, alpha in architecture.alpha.items():
            for edge in range(14):
                rests = name == "normal" and edge in (1, 4)
                assert torch.equal(alpha[edge], (before if rests else plain)[name][edge])
                assert not torch.equal(plain[name][edge], before[name][edge])


@pytest.mark.parametrize("order", ["arch_first", "weights_first"])
def test_in_a_search_a_decided_edge_rests_from_its_decision_on(order):
    seen = []

    class Seen(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            architecture = pl_module.architecture
            seen.append((architecture.alpha["cell"].detach().clone(), architecture.mask("cell").sum(-1) == 1))

    decision = EdgeConfidence(start=0, interval=1)
    module = make(NB201(C=4, N=1), arch_decay=0.1, bilevel=FirstOrder(order))
    fitted(module, 5, [Decisions(decision, None), Seen()])
    for (before, _), (alpha, decided) in itertools.pairwise(seen):
        for edge in range(6):
            assert torch.equal(alpha[edge], before[edge]) == decided[edge]
    assert seen[-1][1].sum() == 4


# Architecture.narrow ---------------------------------------------------------------------------------------------------


def state_of(architecture):
    masks = {name: architecture.mask(name).clone() for name in architecture.cells}
    return masks, copy.deepcopy(architecture.candidates), architecture.version


def refused(architecture, masks, sentence):
    before = state_of(architecture)
    with pytest.raises(UserError, match=sentence) as error:
        architecture.narrow(masks)
    assert "\n" not in str(error.value)
    after = state_of(architecture)
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert before[1:] == after[1:]


def test_a_mask_that_grows_is_refused():
    architecture = architecture_of(SPACES["darts"])
    smaller = architecture.mask("reduce").clone()
    smaller[3, 1] = False
    architecture.narrow({"reduce": smaller})
    fine = architecture.mask("normal").clone()
    fine[0, 0] = False
    grown = torch.ones_like(smaller)
    refused(architecture, {"normal": fine, "reduce": grown}, "brings operations of the reduce cell back")


@pytest.mark.parametrize("node", [2, 3, 4, 5])
def test_a_darts_node_without_an_input_is_refused(node):
    space = SPACES["none"]
    spec = space.cells["normal"]
    mask = spec.mask_EO
    for edge, (_, target) in enumerate(spec.edges):
        if target == node:
            mask[edge] = False
            mask[edge, spec.operations.index("none")] = edge % 2 == 0  # `none` leads nowhere, as no candidate does
    refused(architecture_of(space), {"normal": mask}, f"leaves node {node} of the normal cell without an operation")


def test_an_output_of_nas_bench_201_that_nothing_reaches_is_refused():
    """Its edge from node 1 has operations, but nothing leads into node 1."""
    mask = SPACES["nb201"].cells["cell"].mask_EO
    mask[[0, 3, 5], 1:] = False
    refused(architecture_of(SPACES["nb201"]), {"cell": mask}, "leaves node 3 of the cell cell without an operation")
    mask[3, 2] = True
    architecture_of(SPACES["nb201"]).narrow({"cell": mask})


def test_masks_are_in_the_checkpoint_and_come_back_with_the_hosts_copies():
    space = DARTS(C=4, num_cells=3, partial=2, edge_weights=True)
    module, other = make(space), make(space)
    mask = space.cells["normal"].mask_EO
    mask[2] = False
    mask[4, 1:] = False
    module.architecture.narrow({"normal": mask})
    module.architecture.set_temperature(0.25)
    version = other.architecture.version
    other.load_state_dict(copy.deepcopy(module.state_dict()))
    assert torch.equal(other.architecture.mask("normal"), mask)
    assert other.architecture.candidates == module.architecture.candidates
    assert other.architecture.candidates["normal"] == mask.tolist()
    assert other.architecture.version > version
    assert other.architecture.host_temperature == 0.25
    weights = other.architecture.weights(other.architecture.beta(), other.architecture.candidates)["normal"]
    assert set(weights.dropped) == {2}
    assert (weights.beta_EO[2] == 0).all()
    batch = batches()["train"]
    x, y = batch[0], batch[1] % 4
    assert torch.equal(module.halves.loss((x, y), {})[0], other.halves.loss((x, y), {})[0])


# An edge without candidates --------------------------------------------------------------------------------------------

DROPPING = {
    "nb201": (NB201(C=4, N=1), {"cell": (1, 3)}),
    "nb201_edges": (NB201(C=4, N=1, edge_weights=True), {"cell": (1, 3)}),
    "darts": (DARTS(C=4, num_cells=4), {"normal": (0, 5, 13), "reduce": (1, 7)}),
    "none": (DARTS(C=4, num_cells=4, none=True), {"normal": (2,), "reduce": (0, 13)}),
    "partial": (DARTS(C=4, num_cells=4, partial=2), {"normal": (0, 5, 13), "reduce": (1, 7)}),
    "partial_edges": (
        DARTS(C=4, num_cells=4, partial=2, edge_weights=True, none=True),
        {"normal": (0, 5, 13), "reduce": (1, 7)},
    ),
    "partial_s3": (DARTS(C=4, num_cells=4, partial=2, candidates="s3"), {"normal": (1, 2, 12), "reduce": (0, 9)}),
}


class Removed(nn.Module):
    def forward(self, x, beta_O):
        return torch.zeros((), dtype=x.dtype)


def softmax_by_hand(logits, mask):
    """Over the last dimension's entries that `mask` leaves; zeros where it leaves none."""
    powers = torch.where(mask, logits, 0.0).exp() * mask
    return powers / powers.sum(-1, keepdim=True).clamp_min(1e-300)


def reference_loss(module, dropped, x, y):
    """(loss, leaves) of the per-edge reference with the dropped edges taken out of every cell."""
    architecture, space = module.architecture, module.space
    alphas = {name: alpha.detach().clone().requires_grad_() for name, alpha in architecture.alpha.items()}
    edges = {name: edge.detach().clone().requires_grad_() for name, edge in architecture.edge_alpha.items()}
    beta, share = {}, {}
    for name, spec in space.cells.items():
        beta[name] = softmax_by_hand(alphas[name], architecture.mask(name))
        if name in edges:
            kept = torch.tensor([e not in dropped[name] for e in range(len(spec.edges))])
            share[name] = torch.zeros(len(spec.edges), dtype=torch.float64)
            for node in {target for _, target in spec.edges}:
                into = torch.tensor([target == node for _, target in spec.edges])
                share[name] = share[name] + softmax_by_hand(edges[name], kept & into)
    if space.name == "nb201":
        reference = ReferenceSupernet(module.supernet)
        for stage in reference.stages:
            for cell in stage:
                for e in dropped["cell"]:
                    cell.edges[e] = Removed()
        scaled = beta["cell"] * share["cell"][:, None] if share else beta["cell"]
        logits = reference(x, scaled)
    else:
        reference = ReferenceDartsSupernet(module.supernet, space.cells)
        for cell_type, cell in zip(reference.cell_types, reference.cells, strict=True):
            for e in dropped[cell_type]:
                cell.edges[e] = Removed()
        logits = reference(x, beta, share or None)
    return F.cross_entropy(logits, y), [*alphas.values(), *edges.values()]


@pytest.mark.parametrize("name", DROPPING)
def test_an_edge_without_a_candidate_is_an_edge_that_is_not_there(name):
    space, dropped = DROPPING[name]
    module = make(space)
    with torch.no_grad():
        for alpha in module.architecture.parameters():
            alpha.copy_(torch.randn_like(alpha))
    masks = {cell: spec.mask_EO for cell, spec in space.cells.items()}
    for cell, edges in dropped.items():
        masks[cell][list(edges)] = False
    module.architecture.narrow(masks)
    x, y = torch.randn(4, 3, 12, 8, dtype=torch.float64), torch.randint(4, (4,))
    loss, _ = module.halves.loss((x, y), {})
    wanted, leaves = reference_loss(module, dropped, x, y)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-11)
    gradients = torch.autograd.grad(loss, module.halves.alphas())
    for gradient, theirs in zip(gradients, torch.autograd.grad(wanted, leaves), strict=True):
        assert gradient.isfinite().all()
        assert relative_error(gradient, theirs) < 1e-9
    for cell, edges in dropped.items():
        at = list(module.architecture.alpha).index(cell)
        assert (gradients[at][list(edges)] == 0).all()
    # The weight step too, and discretised.
    value, _, *weights = module.halves.weight_gradients((x, y), {})
    assert value.item() == pytest.approx(wanted.item(), rel=1e-11)
    assert all(gradient is None or gradient.isfinite().all() for gradient in weights)
    hot, _ = module.halves.loss_at((x, y), module.architecture.one_hot(module.genotype()))
    assert hot.isfinite()


def test_a_dropped_edge_of_partial_nas_bench_201_passes_nothing_by():
    """Against the per-edge cell on C/K channels, the dropped edge left out of the sum."""
    torch.manual_seed(0)
    partial, channels, gone = 2, 8, (1, 4)
    space = NB201(C=channels, N=1, partial=partial, edge_weights=True)
    cell = space.supernet(3).double().stages[0][0]
    narrow = NB201(C=channels // partial, N=1).supernet(3).double()
    narrow.stages[0][0].load_state_dict(cell.state_dict())
    edges_of = ReferenceSupernet(narrow).stages[0][0].edges
    beta, edge = torch.rand(6, 5, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
    beta[list(gone)] = 0
    x, mixed = torch.randn(3, channels, 6, 6, dtype=torch.float64), channels // partial
    nodes = [x]
    for node in (1, 2, 3):
        total = torch.zeros_like(x)
        for e, (source, target) in enumerate(space.cells["cell"].edges):
            if target == node and e not in gone:
                h = nodes[source]
                both = torch.cat([edges_of[e](h[:, :mixed], beta[e]), h[:, mixed:]], 1)
                total = total + edge[e] * shuffle(both, partial)
        nodes.append(total)
    active = [[e not in gone] * 5 for e in range(6)]
    ours = cell(x, EdgeWeights(beta, active, edge, frozenset(gone)))
    assert relative_error(ours, nodes[3]) < 1e-12
    assert relative_error(cell(x, EdgeWeights(beta, active, edge)), nodes[3]) > 1e-2


# Several ranks ---------------------------------------------------------------------------------------------------------


def test_two_ranks_take_the_same_decisions(tmp_path):
    """A projection on two CPU processes, each with images of its own; the probe is over those of both."""
    on_two_processes(tmp_path, "decided")
    steps = sorted({int(path.stem.split("-")[1]) for path in (tmp_path / "decided-steps").glob("0-*.pt")})
    left = []
    for step in steps:
        one, other = (
            torch.load(tmp_path / "decided-steps" / f"{rank}-{step}.pt")["state"]["architecture.mask_cell"]
            for rank in (0, 1)
        )
        assert torch.equal(one, other)
        left.append(int(one.sum()))
    assert left[0] == 30
    assert left[-1] == 6  # a projection of any length decides every edge
