"""DrNAS' change of stage on NAS-Bench-201: what goes on through it, and the first step after it written out.

By xiangning-chen/DrNAS 201-space/train_search_progressive.py. Letters: E edges, O operations, K kept operations.
"""

import copy
import math
from itertools import chain

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Beta
from torch.distributions import Dirichlet as TorchDirichlet

from nas_lightning.app.axes import build_module
from nas_lightning.build import build_axis
from nas_lightning.callbacks import Decisions
from nas_lightning.relaxations import Dirichlet
from nas_lightning.spaces import NB201
from nas_lightning.stages import Stages
from nas_lightning.supernet.architecture import Architecture
from speed.reference import ReferenceSupernet
from tests.conftest import composed
from tests.test_module import STEPS, Batches

KEPT, PARTIAL = 3, 2  # of the second stage


# ---- the slow reference ----


class PartialEdge(nn.Module):
    """The operations on half of the channels; the other half passes by, and both are shuffled."""

    def __init__(self, edge):
        super().__init__()
        self.operations, self.mixed = edge.operations, edge

    def forward(self, x, beta_O):
        width = x.shape[1] // PARTIAL
        both = torch.cat([self.mixed(x[:, :width], beta_O), x[:, width:]], 1)
        images, channels, *sides = both.shape
        return both.view(images, PARTIAL, channels // PARTIAL, *sides).transpose(1, 2).reshape(both.shape)


class PartialSupernet(ReferenceSupernet):
    def __init__(self, supernet):
        super().__init__(supernet)
        for cell in chain(*self.stages):
            cell.edges = nn.ModuleList(map(PartialEdge, cell.edges))


def largest(alpha_EO):
    """bool [E, O]: three operations of each edge, by their raw logits."""
    kept_EO = torch.zeros(alpha_EO.shape, dtype=torch.bool)
    for row_O, kept_O in zip(alpha_EO.tolist(), kept_EO, strict=True):
        kept_O[sorted(range(5), key=lambda o: -row_O[o])[:KEPT]] = True
    return kept_EO


def sampled(alpha_EO, kept_EO):
    """beta as the program makes it: of all operations, pruned ones with logit 0; then these zeroed and the rest divided."""
    c_EO = F.elu(alpha_EO.masked_fill(~kept_EO, 0.0)) + 1
    sample_EO = TorchDirichlet(c_EO).sample() * kept_EO
    return sample_EO / sample_EO.sum(-1, keepdim=True)


def alphas_gradient(alpha_EO, kept_EO, beta_EO, g_EO):
    """From dL/dbeta: the pathwise one of the distribution of the kept operations, that of the pruned ones is 0."""
    alpha_EK, beta_EK, g_EK = (values[kept_EO].view(6, KEPT) for values in (alpha_EO, beta_EO, g_EO))
    c_EK = F.elu(alpha_EK) + 1
    derivative_EK = torch._dirichlet_grad(beta_EK, c_EK, c_EK.sum(-1, keepdim=True).expand_as(c_EK).contiguous())
    by_c_EK = derivative_EK * (g_EK - (beta_EK * g_EK).sum(-1, keepdim=True))
    slope_EK = torch.where(alpha_EK > 0, 1.0, alpha_EK.exp())
    return torch.zeros_like(alpha_EO).masked_scatter(kept_EO, by_c_EK * slope_EK)


# ---- through the change ----


class State:
    """What a search has at some moment."""

    def __init__(self, trainer, module):
        sgd, adam = trainer.optimizers
        alpha = module.architecture.alpha["cell"]
        self.alpha = alpha.detach().clone()
        self.mask = module.architecture.mask("cell").clone()
        self.moments = {name: value.clone() for name, value in adam.state[alpha].items()}
        self.rate = sgd.param_groups[0]["lr"]
        self.supernet = copy.deepcopy(module.supernet)
        self.momentum = {
            name: sgd.state[weight]["momentum_buffer"].clone() for name, weight in module.supernet.named_parameters()
        }


class Seen(pl.Callback):
    """The state at the start of the second stage, as far as the callbacks before this one have brought it."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            self.state = State(trainer, pl_module)


class Stepped(pl.Callback):
    """The state after the first step of the second stage."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (1, 0):
            self.state = State(trainer, pl_module)


@pytest.fixture(scope="module")
def changed():
    """(before the change, after it, after the step that follows, the samples of that step's halves)"""
    config = composed(
        "method=drnas_progressive", "space=nb201", "protocol=published", "space.C=8", "space.N=1", "trainer.max_epochs=2",
        "stages.stages.narrow.arch_start=0", "stages.stages.wide.arch_start=0", "run_dir=x",
    )  # fmt: skip
    torch.manual_seed(0)
    module = build_module(config, 4).double()
    module.architecture.alpha["cell"].data = torch.randn(6, 5, dtype=torch.float64)
    own_draw, samples = module.draw, {}

    def draw(step, for_weights):
        if module.current_epoch == 0:
            return own_draw(step, for_weights)
        alpha_EO = module.architecture.alpha["cell"].detach()
        sample_EO = sampled(alpha_EO, module.architecture.mask("cell"))
        if step == 0:
            samples["weights" if for_weights else "alpha"] = sample_EO
        return {"cell": sample_EO}

    module.draw = draw
    before, after, stepped = Seen(), Seen(), Stepped()
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        callbacks=[before, Decisions(None, build_axis(config, "stages", Stages)), after, stepped],
    )  # fmt: skip
    trainer.fit(module, datamodule=Batches())
    return before.state, after.state, stepped.state, samples


def test_kept_logits_adams_moments_and_the_rates_schedule_go_on_through_the_change(changed):
    before, after, _, _ = changed
    kept = largest(before.alpha)
    assert before.mask.all()
    assert torch.equal(after.mask, kept)
    assert torch.equal(after.alpha[kept], before.alpha[kept])
    assert before.moments["step"] == STEPS
    assert before.moments["exp_avg"].abs().min() > 0
    assert before.moments.keys() == after.moments.keys() == {"step", "exp_avg", "exp_avg_sq"}
    assert all(torch.equal(value, after.moments[name]) for name, value in before.moments.items())
    # The cosine is at its second epoch of two.
    assert after.rate == pytest.approx(0.001 + 0.024 * (1 + math.cos(math.pi / 2)) / 2)
    narrow, wide = (state.supernet.stages[0][0].banks[0].channels for state in (before, after))
    assert (narrow, wide) == (2, 4)


def test_weights_and_their_momentum_go_on_in_the_first_channels_of_the_wider_operations(changed):
    before, after, _, _ = changed
    wider = 0
    for name, weight in after.supernet.named_parameters():
        for new, old in ((weight, before.supernet.get_parameter(name)), (after.momentum[name], before.momentum[name])):
            if new.shape != old.shape:
                wider += 1
                channels = old.shape[1]  # of each edge's own kernel, whose rows are its outputs
                new = new.unflatten(0, (-1, 2 * channels))[:, :channels, :channels]
                old = old.unflatten(0, (-1, channels))
            assert torch.equal(new, old), name
            assert old.abs().max() > 0
    # Weights and momentum of three cells, three nodes that edges leave, two convolutions.
    assert wider == 2 * 3 * 3 * 2


def test_alphas_first_step_after_the_change_is_the_programs_at_its_sample(changed):
    _, after, stepped, samples = changed
    network, kept, beta = PartialSupernet(after.supernet), after.mask, samples["alpha"].clone().requires_grad_()
    assert (beta[~kept] == 0).all()
    x, y = Batches().batches[0]["valid"]
    (g,) = torch.autograd.grad(F.cross_entropy(network(x, beta), y), beta)
    g = alphas_gradient(after.alpha, kept, beta.detach(), g)
    assert g[kept].abs().min() > 0
    g = g + 1e-3 * after.alpha
    steps = STEPS + 1
    m = 0.5 * after.moments["exp_avg"] + 0.5 * g
    v = 0.999 * after.moments["exp_avg_sq"] + 0.001 * g * g
    wanted = after.alpha - 3e-4 * (m / (1 - 0.5**steps)) / ((v / (1 - 0.999**steps)).sqrt() + 1e-8)
    assert stepped.moments["step"] == steps
    assert torch.allclose(stepped.moments["exp_avg"][kept], m[kept], rtol=1e-8, atol=1e-13)
    assert torch.allclose(stepped.moments["exp_avg_sq"][kept], v[kept], rtol=1e-8, atol=1e-16)
    assert torch.allclose(stepped.alpha[kept], wanted[kept], rtol=1e-9)


def test_the_weights_first_step_after_the_change_is_the_programs_on_wider_operations(changed):
    _, after, stepped, samples = changed
    network = PartialSupernet(after.supernet)
    weights = list(network.parameters())
    x, y = Batches().batches[0]["train"]
    found = torch.autograd.grad(F.cross_entropy(network(x, samples["weights"]), y), weights)
    by_weight = dict(zip(map(id, weights), found, strict=True))
    gradients = {
        name: by_weight[id(weight)] for name, weight in after.supernet.named_parameters() if id(weight) in by_weight
    }
    names = {id(weight): name for name, weight in after.supernet.named_parameters()}
    for kernels, stacked in network.stacked_pairs(after.supernet):
        gradients[names[id(stacked)]] = torch.cat([by_weight[id(kernel)] for kernel in kernels])
    assert gradients.keys() == after.momentum.keys()
    scale = min(1.0, 5.0 / (sum(g.square().sum() for g in gradients.values()).sqrt().item() + 1e-6))
    for name, weight in after.supernet.named_parameters():
        buffer = 0.9 * after.momentum[name] + scale * gradients[name] + 3e-4 * weight.detach()
        wanted = weight.detach() - after.rate * buffer
        assert torch.allclose(stepped.supernet.get_parameter(name), wanted, rtol=1e-9, atol=1e-12), name


# ---- what is drawn after the change ----


def pruned(logit):
    """(an architecture of which three operations an edge are left, the mask); the others' logits are `logit`."""
    architecture = Architecture(NB201(C=4, N=1).cells, Dirichlet(), torch.Generator().manual_seed(0)).double()
    alpha = architecture.alpha["cell"]
    alpha.data = torch.randn(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    kept = largest(alpha.detach())
    architecture.narrow({"cell": kept})
    alpha.data[~kept] = logit
    return architecture, kept


def test_a_draw_is_one_of_all_operations_with_the_pruned_ones_zeroed_and_the_rest_divided():
    architecture, kept = pruned(0.0)  # a concentration of 1
    for seed in range(20):
        drawn = architecture.draw(torch.Generator().manual_seed(seed))["cell"]
        c = F.elu(architecture.alpha["cell"].detach()) + 1
        gamma = torch._standard_gamma(c, torch.Generator().manual_seed(seed))
        sample = (gamma / gamma.sum(-1, keepdim=True)) * kept
        assert torch.allclose(drawn, sample / sample.sum(-1, keepdim=True), rtol=1e-9)


def test_what_pruned_logits_are_does_not_matter():
    """The program sets them to 0; here they stay what they were, and have neither weight nor gradient."""
    found = []
    for logit in (0.0, 7.0):
        architecture, kept = pruned(logit)
        sample = sampled(architecture.alpha["cell"].detach(), kept) if not found else found[0][0]
        beta = architecture.beta({"cell": sample})["cell"]
        v = torch.arange(30, dtype=torch.float64).view(6, 5).cos()
        (gradient,) = torch.autograd.grad((beta * v).sum(), architecture.alpha["cell"])
        assert (gradient[~kept] == 0).all()
        found.append((sample, gradient, architecture.observe()))
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]


def test_alphas_gradient_is_the_mean_of_the_programs_over_what_the_pruned_operations_drew():
    """The program differentiates the sample of all operations. How much of it the pruned ones had is noise in its gradient."""
    torch.manual_seed(0)
    count, c_K = 200_000, torch.tensor([1.7, 0.8, 2.4], dtype=torch.float64)
    slope_K = torch.where(c_K > 1, 1.0, c_K)
    z_K, v_K = (torch.tensor(values, dtype=torch.float64) for values in ([0.5, 0.2, 0.3], [1.0, -2.0, 0.5]))

    share = Beta(c_K.sum(), torch.tensor(2.0, dtype=torch.float64)).sample((count, 1))
    others = TorchDirichlet(torch.ones(2, dtype=torch.float64)).sample((count,))
    x = torch.cat([share * z_K, (1 - share) * others], -1).requires_grad_()
    kept = x[:, :3] / x[:, :3].sum(-1, keepdim=True)
    (u,) = torch.autograd.grad((kept * v_K).sum(), x)
    x, c = x.detach(), torch.cat([c_K, torch.ones(2)]).expand(count, 5).contiguous()
    derivative = torch._dirichlet_grad(x, c, c.sum(-1, keepdim=True).expand_as(c).contiguous())
    theirs = derivative * (u - (x * u).sum(-1, keepdim=True))
    assert theirs[:, 3:].abs().max() < 1e-8
    theirs = theirs[:, :3] * slope_K

    alpha = torch.where(c_K > 1, c_K - 1, c_K.log())
    alpha = torch.cat([alpha, torch.zeros(2)])[None].requires_grad_()
    mask, sample = torch.arange(5)[None] < 3, torch.cat([z_K, torch.zeros(2)])[None]
    beta = Dirichlet()(alpha, mask, torch.tensor(1.0, dtype=torch.float64), sample)
    (ours,) = torch.autograd.grad((beta[0, :3] * v_K).sum(), alpha)
    assert torch.allclose(theirs.mean(0), ours[0, :3], rtol=0.02)
    assert (theirs.std(0) > 0.05 * ours[0, :3].abs()).all()
