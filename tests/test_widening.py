"""Supernets that get wider during a search, against copies made channel by channel; DrNAS' stages.

Letters: C channels, D channels afterwards.
"""

import csv

import pytest
import torch

from nas_lightning.app.axes import build_axis
from nas_lightning.errors import UserError
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.spaces.darts.bank import StackedDepthwiseSeparable, StackedFactorizedReduce, StackedSeparable
from nas_lightning.spaces.nb201.bank import StackedConv
from nas_lightning.spaces.weights import EdgeWeights
from nas_lightning.spaces.widening import Widening, widen
from nas_lightning.stages import Stage, Stages
from nas_lightning.supernet.compatible import check_widening
from tests.conftest import composed
from tests.test_search import interrupt

C, D, EDGES = 4, 6, 3
SPACES = {"nb201": NB201(C=8, N=1, partial=4), "darts": DARTS(C=8, num_cells=3, partial=4)}
STAGES = Stages(4, {"narrow": Stage(2), "wide": Stage(2, partial=2)})


class Kept(Widening):
    """Remembers its draws."""

    def __init__(self, seed=0):
        super().__init__(torch.Generator().manual_seed(seed))
        self.draws = []

    def draw(self, groups, channels, wider):
        self.draws.append(super().draw(groups, channels, wider))
        return self.draws[-1]


def random(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def copies(old, rows, columns=None):
    """[G * C, I, ...] -> [G * D, J, ...], entry by entry."""
    size = len(old) // len(rows)
    new = []
    for group, picks in enumerate(rows.tolist()):
        for pick in picks:
            row = old[group * size + pick]
            new.append(row if columns is None else torch.stack([row[i] for i in columns[group].tolist()]))
    return torch.stack(new)


def test_what_is_drawn_keeps_the_channels_there_are_and_adds_any_of_them():
    drawn = Widening(torch.Generator().manual_seed(0)).draw(200, C, D)
    assert drawn.shape == (200, D)
    assert (drawn[:, :C] == torch.arange(C)).all()
    assert drawn[:, C:].unique().tolist() == list(range(C))
    assert len({tuple(row) for row in drawn.tolist()}) > 10  # each edge its own


def test_a_convolution_grows_by_copies_of_its_outputs_and_inputs():
    module, widening = StackedConv(EDGES, C, 3, bias=True), Kept()
    old = random(module)
    module.widen(D, widening)
    inputs, outputs = widening.draws
    assert not torch.equal(inputs, outputs)
    assert torch.equal(module.weight, copies(old["weight"], outputs, inputs))
    assert torch.equal(module.bias, copies(old["bias"], outputs))
    assert (module.weight.shape, module.channels) == ((EDGES * D, D, 3, 3), D)


def test_a_pointwise_convolutions_inputs_are_its_depthwise_ones_outputs():
    module, widening = StackedSeparable(EDGES, C, 5, 1), Kept()
    old = random(module)
    module.widen(D, widening)
    for number, half in enumerate(("first", "second")):
        between, outputs = widening.draws[2 * number : 2 * number + 2]
        part: StackedDepthwiseSeparable = getattr(module, half)
        assert torch.equal(part.depthwise, copies(old[f"{half}.depthwise"], between))
        assert torch.equal(part.pointwise, copies(old[f"{half}.pointwise"], outputs, between))


def test_both_convolutions_of_a_factorised_reduction_grow():
    module, widening = StackedFactorizedReduce(EDGES, C, C), Kept()
    old = random(module)["weight"]
    module.widen(D, widening)
    inputs, outputs = widening.draws  # [2 EDGES, ...]: of an edge's first convolution, of its second
    expected = []
    for edge in range(EDGES):
        for half in range(2):
            own = old[edge * C + half * C // 2 :][: C // 2]
            expected.append(copies(own, outputs[None, 2 * edge + half], inputs[None, 2 * edge + half]))
    assert torch.equal(module.weight, torch.cat(expected))


@pytest.mark.parametrize("name", SPACES)
def test_a_wider_supernet_is_one_that_was_built_so_and_momentum_follows(name):
    space = SPACES[name]
    supernet = space.supernet(3)
    wide = (NB201(C=8, N=1, partial=2) if name == "nb201" else DARTS(C=8, num_cells=3, partial=2)).supernet(3)
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1, momentum=0.9)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.grad = 2 * parameter.clone()
    before = [parameter.detach().clone() for parameter in supernet.parameters()]
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()  # momentum is the gradient, twice the weight
    widening = Widening(torch.Generator().manual_seed(3))
    widen(supernet.cells(), 2, widening)
    widening.follow(optimizer)
    after = list(supernet.parameters())
    assert any(a.shape != b.shape for a, b in zip(after, before, strict=True))
    assert all(a is b for a, b in zip(after, optimizer.param_groups[0]["params"], strict=True))
    assert all(torch.equal(optimizer.state[p]["momentum_buffer"], 2 * p) for p in after)
    assert len(optimizer.state) == len(after)
    wide.load_state_dict(supernet.state_dict())
    assert [p.stride() for p in wide.parameters()] == [p.stride() for p in after]  # a resumed search computes alike
    x = torch.randn(2, 3, 16, 16)
    weights = {
        cell: EdgeWeights(torch.rand(spec.mask_EO.shape), spec.mask_EO.tolist()) for cell, spec in space.cells.items()
    }
    assert torch.equal(supernet(x, weights), wide(x, weights))


@pytest.mark.parametrize("partial", [4, 8, 3])
def test_what_is_no_wider_or_no_whole_share_is_refused_before_the_search(partial):
    stages = Stages(2, {"a": Stage(1), "b": Stage(1, partial=partial)})
    with pytest.raises(
        UserError, match=rf"stages: partial={partial} cannot follow space.partial=4 in a cell of 8 channels"
    ):
        check_widening(SPACES["nb201"].supernet(3), stages)


def test_a_supernet_that_cannot_get_wider_is_refused():
    class Fixed(torch.nn.Module):
        def cells(self):
            return [self]

    with pytest.raises(UserError, match="Fixed has no method `widen`"):
        check_widening(Fixed(), STAGES)
    check_widening(Fixed(), None)
    check_widening(Fixed(), Stages(1, {"a": Stage(1)}))


def drnas(epochs, *overrides):
    return build_axis(
        composed("stages=drnas", f"trainer.max_epochs={epochs}", *overrides, "run_dir=x"), "stages", Stages
    )


def test_drnas_stages_are_the_programs():
    """201-space/train_search_progressive.py: 50 + 50 epochs, alpha rests in the first 10 of each."""
    stages = drnas(100)
    assert [epoch for epoch in range(100) if stages.trains_alpha(epoch)] == [*range(10, 50), *range(60, 100)]
    assert (stages.at(50)[0].keep, stages.at(50)[0].partial, stages.at(50)[1]) == (3, 2, 0)
    config = composed("method=drnas_progressive", "space=darts", "protocol=published", "run_dir=x")
    stages = build_axis(config, "stages", Stages)
    assert [epoch for epoch in range(50) if stages.trains_alpha(epoch)] == [*range(10, 25), *range(35, 50)]
    assert stages.at(25)[0].keep == 4


@pytest.mark.parametrize("epochs", [2, 3, 5, 25])
def test_halves_of_an_odd_run_are_all_of_it(epochs):
    stages = drnas(epochs)
    assert [stages.at(epoch)[0] for epoch in range(epochs)].count(stages.stages["narrow"]) == (epochs + 1) // 2


@pytest.mark.parametrize("value", [-1, 1.0, float("nan"), "half", True])
def test_a_bad_arch_start_of_a_stage_is_one_sentence(value):
    with pytest.raises(UserError, match="stages: arch_start must be"):
        Stage(1, arch_start=value)


def test_alpha_rests_and_operations_widen_within_a_search_that_is_interrupted_when_they_have(
    toy, tmp_path, monkeypatch
):
    """Four epochs: alpha's first step comes in the second of each half."""
    settings = ("stages.stages.narrow.arch_start=1", "stages.stages.wide.arch_start=1", "space.C=8", "space=darts")
    toy("whole", "method=drnas_progressive", *settings)
    interrupt(monkeypatch, epoch=3)
    with pytest.raises(SystemExit):
        toy("stopped", "method=drnas_progressive", *settings)
    toy("stopped", "method=drnas_progressive", *settings)
    whole, stopped = (checkpoint(tmp_path / name) for name in ("whole", "stopped"))
    assert all(torch.equal(whole["state_dict"][name], value) for name, value in stopped["state_dict"].items())
    momenta = [[s["momentum_buffer"] for s in c["optimizer_states"][0]["state"].values()] for c in (whole, stopped)]
    assert all(torch.equal(a, b) for a, b in zip(*momenta, strict=True))
    pointwise = whole["state_dict"]["supernet.layers.0.banks.0.kinds.sep_conv_3x3.first.pointwise"]
    assert (pointwise.shape[1], whole["state_dict"]["partial"]) == (4, 2)  # 8 / 4 at first
    architectures = [row["architecture"] for row in rows(tmp_path / "whole", "architecture.csv")]
    assert len(architectures) == 4
    alphas = [
        {key: float(value) for key, value in row.items() if key.startswith("alpha/") and value}
        for row in rows(tmp_path / "whole", "architecture.csv")
    ]
    kept = [alphas[1].keys() & alphas[2].keys(), alphas[2].keys() & alphas[3].keys()]
    assert all(alphas[1][key] == alphas[2][key] for key in kept[0])
    assert any(alphas[2][key] != alphas[3][key] for key in kept[1])
    assert any(alphas[0][key] != alphas[1][key] for key in alphas[0])
    # What an epoch does not measure is blank, not what was measured before.
    assert [row["valid_loss"] != "" for row in rows(tmp_path / "whole", "metrics.csv")] == [False, True, False, True]


def checkpoint(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def rows(folder, file):
    with (folder / file).open() as text:
        return list(csv.DictReader(text))
