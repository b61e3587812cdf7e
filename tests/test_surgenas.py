"""SurgeNAS: LHD's step on one level, and a half step of single paths that train every operation once."""

import copy
from collections import Counter
from itertools import chain, permutations

import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning.plugins.precision import Precision
from torch import nn

from nas_lightning.app.axes import build_module
from nas_lightning.app.estimate import estimate_search
from nas_lightning.bilevel import FirstOrder, SecondOrder
from nas_lightning.genotypes.nb201 import NB201_OPERATIONS
from nas_lightning.meters import Means
from nas_lightning.optimizers.clip import ArchClip
from nas_lightning.relaxations import GumbelOrdered
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.supernet.skipping import Skipping
from speed.reference import ReferenceSupernet
from tests.conftest import composed
from tests.test_extras import module_of
from tests.test_gdas import T, darts_reference, nb201_reference, search
from tests.test_module import Batches, TextbookSearch, fitted
from tests.test_nb201_supernet import relative_error

SPACES = pytest.mark.parametrize("space", [NB201(C=4, N=1), DARTS(C=4, num_cells=3)], ids=["nb201", "darts"])


def ordered(space, seed=0):
    halves, batch = search(space, "constant", seed)
    halves.architecture.relaxations = dict.fromkeys(space.cells, GumbelOrdered())
    halves.skipping = Skipping(halves.architecture)
    return halves, batch, halves.draw(torch.Generator().manual_seed(seed), for_weights=True)


def test_a_half_step_has_each_candidate_of_an_edge_once():
    alpha, columns = torch.randn(4, 5), torch.arange(5)
    mask = torch.stack([torch.isin(columns, torch.tensor(row)) for row in ([0, 1, 2, 3, 4], [0, 1, 3, 4], [2], [1, 3])])
    relaxation = GumbelOrdered()
    drawn = relaxation.draw(alpha, mask, torch.tensor(2.0), torch.Generator().manual_seed(0))
    chosen = [relaxation.support(alpha, mask, 2.0, 0.0, part) for part in relaxation.passes(drawn)]
    assert len(chosen) == 5
    times = torch.stack(chosen).sum(0)
    assert times.sum(-1).tolist() == [5] * 4
    assert times[0].tolist() == [1] * 5
    # with fewer candidates an edge begins anew
    assert sorted(times[1].tolist()) == [0, 1, 1, 1, 2]
    assert times[2].tolist() == [0, 0, 5, 0, 0]
    assert sorted(times[3].tolist()) == [0, 0, 0, 2, 3]
    assert all(torch.stack(chosen[n : n + 2]).sum(0)[3].max() == 1 for n in (0, 2))


def test_likelier_operations_come_first_as_if_drawn_without_replacement():
    """P(order) = p_a * p_b / (1 - p_a)."""
    p = [0.5, 0.3, 0.2]
    alpha, mask = torch.tensor([p]).log().expand(20_000, 3), torch.ones(20_000, 3, dtype=torch.bool)
    for t in (5.0, 0.1):  # which no order depends on
        drawn = GumbelOrdered().draw(alpha, mask, torch.tensor(t), torch.Generator().manual_seed(0))
        orders = torch.stack([(alpha + part).argmax(-1) for part in drawn], -1)
        found = Counter(map(tuple, orders.tolist()))
        for order in permutations(range(3)):
            expected = p[order[0]] * p[order[1]] / (1 - p[order[0]])
            assert found[order] / 20_000 == pytest.approx(expected, abs=0.012)


def programs_weights(alpha_EO, noises_MEO):
    """h of each pass as the program makes it (LightNAS, gumbel_softmax_topk), with the noise that is given."""
    p_EO, weights = torch.softmax(alpha_EO, -1), []
    for noise_EO in noises_MEO.nan_to_num(neginf=0.0):  # where an operation was, p is 0
        y_EO = torch.softmax(((p_EO + 1e-20).log() + noise_EO) / T, -1)
        hard_EO = F.one_hot(y_EO.argmax(-1), y_EO.shape[-1]).to(y_EO)
        weights.append(hard_EO - y_EO.detach() + y_EO)
        left_EO = p_EO * (1 - hard_EO)
        p_EO = left_EO / left_EO.sum(-1, keepdim=True).clamp_min(1e-300)
    return weights


@SPACES
def test_alphas_gradient_is_the_programs_over_all_paths(space, monkeypatch):
    halves, (x, y), drawn = ordered(space)
    if space.name == "nb201":
        reference = nb201_reference(halves.supernet, "constant", monkeypatch)
    else:
        reference = darts_reference(halves.supernet, space.cells, "constant", monkeypatch)
    leaves = {name: alpha.detach().clone().requires_grad_() for name, alpha in halves.architecture.alpha.items()}
    weights = {name: programs_weights(leaf, drawn[name]) for name, leaf in leaves.items()}
    count = {"nb201": 5, "darts": 7}[space.name]
    losses = [F.cross_entropy(reference(x, {name: h[n] for name, h in weights.items()}), y) for n in range(count)]
    expected = torch.autograd.grad(sum(losses) / count, list(leaves.values()))
    loss, logits, *gradients = FirstOrder(batch="train").alpha_gradients(halves, {"train": (x, y)}, drawn, None)
    assert loss.item() == pytest.approx(sum(losses).item() / count, rel=1e-12)
    assert logits.shape == (count, 6, 4)
    scale = max(g.norm() for g in expected)
    assert scale > 1e-4
    for ours, theirs in zip(gradients, expected, strict=True):
        assert (ours - theirs).norm() <= 1e-11 * scale


@SPACES
def test_the_weights_gradient_is_the_mean_of_the_paths(space):
    halves, batch, drawn = ordered(space)
    single, _ = search(space, "constant")
    single.supernet = halves.supernet
    each = [single.weight_gradients(batch, part) for part in halves.passes(drawn)]
    expected = [
        sum(torch.zeros_like(weight) if g is None else g for g in of) / len(each)
        for weight, of in zip(
            halves.supernet.parameters(), zip(*(outputs[2:] for outputs in each), strict=True), strict=True
        )
    ]
    loss, _, *gradients = halves.weight_gradients(batch, drawn)
    assert loss.item() == pytest.approx(sum(outputs[0].item() for outputs in each) / len(each), rel=1e-12)
    assert halves.weight_loss(batch, drawn)[0].item() == pytest.approx(loss.item(), rel=1e-12)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert torch.allclose(theirs if ours is None else ours, theirs, rtol=1e-10, atol=1e-14)


def test_a_penalty_counts_once():
    halves, batch, drawn = ordered(NB201(C=4, N=1))
    plain = FirstOrder().alpha_gradients(halves, {"valid": batch}, drawn, None)[2]
    halves.penalty = lambda view, progress: view["cell"].alpha_EO.sum()
    assert torch.allclose(FirstOrder().alpha_gradients(halves, {"valid": batch}, drawn, None)[2], plain + 1, atol=1e-12)


def test_second_order_at_a_rate_of_0_is_the_first_over_all_paths():
    halves, batch, drawn = ordered(NB201(C=4, N=1))

    class Resting:
        rate = torch.tensor(0.0, dtype=torch.float64)

        def __call__(self, gradients):
            return [0 * gradient for gradient in gradients]

    parts = {"train": batch, "valid": batch}
    second = SecondOrder(radius=1e-5).alpha_gradients(halves, parts, drawn, Resting())
    first = FirstOrder().alpha_gradients(halves, parts, drawn, None)
    assert second[0].item() == pytest.approx(first[0].item(), rel=1e-12)
    assert torch.equal(second[1], first[1])
    assert torch.allclose(second[2], first[2], rtol=1e-9, atol=1e-13)


def test_a_pass_computes_the_operations_of_its_path_and_the_steps_memory_is_one_paths():
    halves, _, drawn = ordered(NB201(C=4, N=1))
    halves.skipping.count(drawn)
    assert halves.skipping.share == pytest.approx(1 / 5)
    plain, sampled = (
        estimate_search(module_of("method=surgenas_ods", relaxation), 16, 16, Precision())
        for relaxation in ("relaxation=gumbel_hard", "relaxation=gumbel_ordered")
    )
    full = estimate_search(module_of("method=surgenas_lhd"), 16, 16, Precision())
    assert sampled.an_image < 1.6 * plain.an_image
    assert sampled.an_image < 0.7 * full.an_image


def test_accuracy_is_the_mean_of_the_paths():
    means = Means("train")
    logits = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    means.update(torch.tensor(0.5), logits, torch.tensor([0, 0]))
    assert means.accuracy.compute().item() == pytest.approx(0.5)


# SurgeNAS as re-implemented for LHD -------------------------------------------------------------------------------------


class LhdsEdge(nn.Module):
    """sum_o w_o (o(x) + gamma x)."""

    def __init__(self, edge):
        super().__init__()
        self.operations, self.gamma = edge.operations, 1.0

    def forward(self, x, w_O):
        outputs = (self.operations[name](x) + self.gamma * x for name in NB201_OPERATIONS)
        return sum(w * output for w, output in zip(w_O, outputs, strict=True))


class Lhd(ReferenceSupernet):
    """NAS-Bench-201's supernet with LHD's edges."""

    def __init__(self, supernet):
        super().__init__(supernet)
        for cell in chain(*self.stages):
            cell.edges = nn.ModuleList(map(LhdsEdge, cell.edges))

    def fade(self, gamma):
        for cell in chain(*self.stages):
            for edge in cell.edges:
                edge.gamma = gamma


def of_lhd():
    """(module in float64 with any alpha, its config)"""
    config = composed("method=surgenas_lhd", "space=nb201", "protocol=published", "space.C=4", "space.N=1", "run_dir=x")
    torch.manual_seed(0)
    module = build_module(config, 4).double()
    module.architecture.alpha["cell"].data = torch.randn(6, 5, dtype=torch.float64)
    return module, config


@pytest.mark.parametrize("epoch", [0, 10, 49])
def test_both_gradients_of_lhds_step_are_those_of_one_backward_pass_on_the_training_batch(epoch):
    module, config = of_lhd()
    module.architecture.set_progress(epoch / config.trainer.max_epochs)
    copied = copy.deepcopy(module.supernet)
    network = Lhd(copied)
    network.fade((50 - epoch) / 50)
    alpha = module.architecture.alpha["cell"].detach().clone().requires_grad_()
    batch = Batches().batches[0]  # with a validation batch that nothing may come from
    x, y = batch["train"]
    logits = network(x, torch.softmax(alpha, -1))
    F.cross_entropy(logits, y).backward()

    _, ours, gradient = module.bilevel.alpha_gradients(module.halves, batch, {}, None)
    assert relative_error(ours, logits.detach()) < 1e-9
    assert alpha.grad.norm() > 1e-3
    assert relative_error(gradient, alpha.grad) < 1e-9
    network.fade(0.0)
    assert relative_error(ours, network(x, torch.softmax(alpha, -1)).detach()) > 1e-3  # gamma shows

    _, _, *gradients = module.halves.weight_gradients((x, y), {})
    found = dict(zip((id(weight) for weight in module.supernet.parameters()), gradients, strict=True))
    scale = max(parameter.grad.norm() for parameter in network.parameters())
    for kernels, stacked in network.stacked_pairs(module.supernet):
        wanted = torch.cat([kernel.grad for kernel in kernels])
        assert (found.pop(id(stacked)) - wanted).norm() <= 1e-9 * max(wanted.norm(), 1e-3 * scale)
    for name, parameter in module.supernet.named_parameters():
        if "banks" not in name:
            assert (found.pop(id(parameter)) - copied.get_parameter(name).grad).norm() <= 1e-9 * scale, name
    assert not found


def test_a_search_of_lhds_follows_the_textbook_on_training_batches_alone_while_gamma_fades(monkeypatch):
    """Weights, then alpha at the weights as they are then: a departure from LHD, whose card says so."""
    monkeypatch.setattr("tests.test_module.TEMPERATURE", 1.0)
    module, config = of_lhd()
    assert config.data.alpha_images == "train_all"
    own = copy.deepcopy(module)
    textbook = TextbookSearch(
        own, "weights_first", sn=False, weight_clip=5.0, includes_arch=False, arch_clip=ArchClip()
    )
    textbook.reference = Lhd(own.supernet)
    for gamma in (1.0, 0.5):
        textbook.reference.fade(gamma)
        for batch in Batches().batches:
            textbook.step({"train": batch["train"], "valid": batch["train"]})
    fitted(module, epochs=2)
    assert torch.allclose(module.architecture.alpha["cell"], textbook.alpha, rtol=1e-9, atol=1e-12)
    for kernels, stacked in textbook.reference.stacked_pairs(module.supernet):
        assert torch.allclose(stacked, torch.cat(list(kernels)), rtol=1e-8, atol=1e-11)
    assert torch.allclose(module.supernet.classifier.weight, own.supernet.classifier.weight, rtol=1e-8, atol=1e-11)
