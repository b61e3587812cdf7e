"""How alpha's gradient is formed, against autograd through the virtual step, finite differences and a textbook loop."""

import copy
import dataclasses
import functools

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from torch import nn
from torch.func import functional_call

from nas_lightning.bilevel import FirstOrder, SecondOrder
from nas_lightning.errors import UserError
from nas_lightning.optimizers.clip import ArchClip
from nas_lightning.optimizers.lookahead import SgdLookahead
from nas_lightning.penalties import BetaDecay
from nas_lightning.relaxations import Softmax
from nas_lightning.spaces import NB201
from nas_lightning.supernet.module import SupernetModule
from tests.axes import options, toy_choice
from tests.conftest import composed
from tests.test_module import TEMPERATURE, Batches, TextbookSearch
from tests.test_nb201_supernet import relative_error

RATE = 0.05
# Those with an architecture step.
STEPPING = [
    option for option in options("bilevel") if instantiate(composed(f"bilevel={option}", "run_dir=x").bilevel).batches
]


def batches(seed=1, size=8):
    generator = torch.Generator().manual_seed(seed)
    return {
        part: (
            torch.randn(size, 3, 8, 8, generator=generator, dtype=torch.float64),
            torch.randint(10, (size,), generator=generator),
        )
        for part in ("train", "valid")
    }


def make(momentum=0.0, decay=0.0, penalty=None, **settings):
    """A search on the supernet of NAS-Bench-201 in float64, and what looks ahead; with momentum, buffers from two steps."""
    torch.manual_seed(0)
    optimizer = functools.partial(torch.optim.SGD, lr=RATE, momentum=momentum, weight_decay=decay)
    module = SupernetModule(
        NB201(C=4, N=1), Softmax(), 10, optimizer, torch.optim.Adam, penalty=penalty, **settings
    ).double()
    module.architecture.progress.fill_(0.5)
    sgd = optimizer(module.supernet.parameters())
    generator = torch.Generator().manual_seed(2)
    for _ in range(2 if momentum else 0):
        for weight in module.supernet.parameters():
            weight.grad = 0.1 * torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        sgd.step()
        sgd.zero_grad()
    return module, SgdLookahead(lambda: sgd), sgd


def exact_gradient(module, sgd, batch):
    """d (L_val(w', alpha) + penalty) / d alpha with w' as quark0's: w - rate * (momentum * buffer + dL + decay * w)."""
    named, alphas = dict(module.supernet.named_parameters()), module.halves.alphas()
    group = sgd.param_groups[0]

    def loss(weights, part):
        x, y = batch[part]
        edges = module.architecture.weights(module.architecture.beta(), module.architecture.candidates)
        return F.cross_entropy(functional_call(module.supernet, weights, (x, edges)), y)

    gradients = torch.autograd.grad(
        loss(named, "train"), list(named.values()), create_graph=True, allow_unused=True, materialize_grads=True
    )
    moved = {}
    for (name, weight), gradient in zip(named.items(), gradients, strict=True):
        buffer = sgd.state[weight].get("momentum_buffer") if group["momentum"] else None
        step = gradient + group["weight_decay"] * weight + (0 if buffer is None else group["momentum"] * buffer)
        moved[name] = weight - group["lr"] * step
    objective = loss(moved, "valid")
    if module.halves.penalty is not None:
        objective = objective + module.halves.penalty_term()
    return torch.autograd.grad(objective, alphas)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9},
        {"decay": 0.1},
        {"momentum": 0.9, "decay": 0.1},
        {"momentum": 0.9, "decay": 3e-4, "penalty": BetaDecay()},
    ],
    ids=str,
)
def test_second_order_is_the_exact_gradient_through_the_virtual_step(settings):
    module, ahead, sgd = make(**settings)
    batch = batches()
    wanted = exact_gradient(module, sgd, batch)
    _, _, *ours = SecondOrder(radius=1e-5).alpha_gradients(module.halves, batch, {}, ahead)
    _, _, *first = FirstOrder().alpha_gradients(module.halves, batch, {}, ahead)
    for gradient, exact, plain in zip(ours, wanted, first, strict=True):
        assert relative_error(gradient, exact) < 1e-6
        assert relative_error(plain, exact) > 1e-2  # else the first order would pass too


def test_momentum_and_weight_decay_belong_to_the_virtual_step():
    """Else the comparison above would not see them."""
    plain, momentum, decay = (
        exact_gradient(module, sgd, batches())[0] for module, _, sgd in (make(), make(momentum=0.9), make(decay=0.1))
    )
    assert relative_error(momentum, plain) > 1e-2
    assert relative_error(decay, plain) > 1e-4


@pytest.mark.parametrize("option", STEPPING)
def test_weights_and_alpha_have_the_same_bits_after_alphas_gradient(option):
    strategy = instantiate(composed(*toy_choice("bilevel", option), "run_dir=x").bilevel)
    module, ahead, _ = make(momentum=0.9, decay=0.1, penalty=BetaDecay())
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    strategy.alpha_gradients(module.halves, batches(), {}, ahead)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())


def test_weights_have_their_bits_back_after_a_failure_on_the_way():
    module, ahead, _ = make()
    before = [weight.detach().clone() for weight in module.supernet.parameters()]
    batch = batches()
    x, y = batch["valid"]
    with pytest.raises(IndexError):
        SecondOrder().alpha_gradients(module.halves, {**batch, "valid": (x, y + 10)}, {}, ahead)
    assert all(torch.equal(a, b) for a, b in zip(module.supernet.parameters(), before, strict=True))


def test_on_the_training_batch_it_is_the_gradient_of_the_training_loss():
    module, ahead, _ = make()
    batch = batches()
    loss, logits, *ours = FirstOrder(batch="train").alpha_gradients(module.halves, batch, {}, ahead)
    x, y = batch["train"]
    edges = module.architecture.weights(module.architecture.beta(), module.architecture.candidates)
    theirs = module.supernet(x, edges)
    wanted = torch.autograd.grad(F.cross_entropy(theirs, y), module.halves.alphas())
    assert torch.equal(logits, theirs.detach())
    assert loss == F.cross_entropy(theirs, y)
    assert all(relative_error(a, b) < 1e-12 for a, b in zip(ours, wanted, strict=True))
    other = FirstOrder(batch="valid").alpha_gradients(module.halves, batch, {}, ahead)[2]
    assert relative_error(other, wanted[0]) > 0.1


class Smooth:
    """A search of three alphas and two layers of tanh: no kinks, so that finite differences are good to many digits."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.supernet = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
        with torch.no_grad():
            for weight in self.supernet.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64))
        self.alpha = nn.Parameter(torch.randn(3, generator=generator, dtype=torch.float64))
        self.sgd = torch.optim.SGD(self.supernet.parameters(), lr=0.3, momentum=0.9, weight_decay=0.01)
        self.batch = {
            part: (
                torch.randn(5, 3, generator=generator, dtype=torch.float64),
                torch.randint(2, (5,), generator=generator),
            )
            for part in ("train", "valid")
        }

    def alphas(self):
        return [self.alpha]

    def passes(self, drawn):
        return [drawn]

    def loss(self, batch, drawn):
        logits = self.supernet(batch[0] * torch.softmax(self.alpha, -1))
        return F.cross_entropy(logits, batch[1]), logits

    def penalty_term(self):
        return 0.1 * self.alpha.square().sum()


def loss_it_stands_for(strategy, search):
    """Of the last batch, at the weights after the optimiser's step on the training batch where it looks ahead."""
    kept = copy.deepcopy(search.supernet.state_dict())
    if strategy.looks_ahead:
        loss, _ = search.loss(search.batch["train"], {})
        steps = SgdLookahead(lambda: search.sgd)(torch.autograd.grad(loss, list(search.supernet.parameters())))
        with torch.no_grad():
            for weight, step in zip(search.supernet.parameters(), steps, strict=True):
                weight += step
    with torch.no_grad():
        value = search.loss(search.batch[strategy.batches[-1]], {})[0] + search.penalty_term()
    search.supernet.load_state_dict(kept)
    return value.item()


STRATEGIES = [instantiate(composed(f"bilevel={option}", "run_dir=x").bilevel) for option in STEPPING]
STRATEGIES += [dataclasses.replace(one, batch="train") for one in STRATEGIES if hasattr(one, "batch")]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_alphas_gradient_is_that_of_the_loss_it_stands_for(strategy):
    search, h = Smooth(), 1e-5
    parts = {part: search.batch[part] for part in strategy.batches}
    loss, _, ours = strategy.alpha_gradients(search, parts, {}, SgdLookahead(lambda: search.sgd))
    expected = loss_it_stands_for(strategy, search)
    assert loss.item() + search.penalty_term().item() == pytest.approx(expected)  # the loss itself has no penalty
    differences = []
    for index in range(3):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                search.alpha[index] += sign * h
            ends.append(loss_it_stands_for(strategy, search))
            with torch.no_grad():
                search.alpha[index] -= sign * h
        differences.append((ends[0] - ends[1]) / (2 * h))
    # A finite difference at the yaml's own radius is good to its square.
    assert ours.tolist() == pytest.approx(differences, rel=1e-3)
    others = [FirstOrder(), FirstOrder(batch="train"), SecondOrder(radius=1e-4)]
    agreeing = [
        other
        for other in others
        if other.alpha_gradients(search, search.batch, {}, SgdLookahead(lambda: search.sgd))[2].tolist()
        == pytest.approx(differences, rel=1e-2)
    ]
    assert len(agreeing) == 1  # they are so far apart that only the right one is close


class SecondOrderTextbook(TextbookSearch):
    """quark0's architect on the per-edge supernet: a copy of the network is stepped, the Hessian product a difference."""

    def __init__(self, module, radius):
        super().__init__(module, "arch_first", sn=False, weight_clip=5.0, includes_arch=False, arch_clip=ArchClip())
        self.radius = radius

    def step(self, batch):
        self.second_order = self.gradient(batch)
        self.arch_step(*batch["valid"])
        self.weight_step(*batch["train"])

    def alpha_gradient(self, x, y, sn):
        return self.second_order

    def gradient(self, batch):
        first_order = functools.partial(TextbookSearch.alpha_gradient, self, sn=False)
        weights = list(self.reference.parameters())
        kept = [w.detach().clone() for w in weights]

        def put(values):
            with torch.no_grad():
                for weight, value in zip(weights, values, strict=True):
                    weight.copy_(value)

        def weight_gradients(x, y):
            beta = torch.softmax(self.alpha / TEMPERATURE, -1)
            return torch.autograd.grad(F.cross_entropy(self.reference(x, beta), y), weights)

        put(
            w - 0.025 * (0.9 * self.momentum.get(weight, 0.0) + g + 5e-4 * w)
            for weight, w, g in zip(weights, kept, weight_gradients(*batch["train"]), strict=True)
        )
        direct, v = first_order(*batch["valid"]), weight_gradients(*batch["valid"])
        eps = self.radius / torch.cat([g.flatten() for g in v]).norm()
        put(w + eps * g for w, g in zip(kept, v, strict=True))
        plus = first_order(*batch["train"])
        put(w - eps * g for w, g in zip(kept, v, strict=True))
        minus = first_order(*batch["train"])
        put(kept)
        self.differs = bool((plus - minus).norm() > 1e-3 * direct.norm())
        return direct - 0.025 * (plus - minus) / (2 * eps)


def test_a_search_of_second_order_follows_the_textbook(monkeypatch):
    monkeypatch.setattr("tests.test_module.TEMPERATURE", 0.5)
    monkeypatch.setitem(globals(), "TEMPERATURE", 0.5)
    torch.manual_seed(0)
    module = SupernetModule(
        NB201(C=2, N=1),
        Softmax(),
        num_classes=4,
        weight_optimizer=functools.partial(torch.optim.SGD, lr=0.025, momentum=0.9, nesterov=True, weight_decay=5e-4),
        arch_optimizer=functools.partial(torch.optim.Adam, lr=3e-4, betas=(0.5, 0.999)),
        bilevel=SecondOrder(),
    ).double()
    module.architecture.set_temperature(0.5)
    textbook = SecondOrderTextbook(copy.deepcopy(module), radius=0.01)
    data = Batches()
    for batch in data.batches:
        textbook.step(batch)
        assert textbook.differs
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    assert torch.allclose(module.architecture.alpha["cell"], textbook.alpha, rtol=1e-7, atol=1e-11)
    for kernels, stacked in textbook.reference.stacked_pairs(module.supernet):
        assert torch.allclose(stacked, torch.cat(list(kernels)), rtol=1e-7, atol=1e-10)


def test_a_virtual_step_of_another_optimiser_is_refused_in_one_sentence():
    module, _, _ = make()
    adam = torch.optim.Adam(module.supernet.parameters())
    with pytest.raises(UserError, match="knows the step of SGD alone, not of Adam; set") as error:
        SecondOrder().alpha_gradients(module.halves, batches(), {}, SgdLookahead(lambda: adam))
    assert "\n" not in str(error.value)


def test_it_is_refused_before_anything_is_written(toy, tmp_path):
    optimizer = ("model.weight_optimizer._target_=torch.optim.Adam", "~model.weight_optimizer.momentum")
    with pytest.raises(UserError, match=r"^bilevel=second_order knows the step of SGD alone, not of Adam"):
        toy("run", "bilevel=second_order", *optimizer, "~model.weight_optimizer.nesterov")
    assert not (tmp_path / "run").exists()


def test_a_virtual_step_of_several_groups_of_weights_is_refused_in_one_sentence():
    weights = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    sgd = torch.optim.SGD([{"params": [weight]} for weight in weights], lr=0.1)
    with pytest.raises(UserError, match="one group of weights, not of 2") as error:
        SgdLookahead(lambda: sgd)([torch.ones(1)] * 2)
    assert "\n" not in str(error.value)


def test_looking_ahead_is_what_sgd_would_do():
    """Without Nesterov it is exactly the optimiser's own step, momentum buffers included."""
    module, ahead, sgd = make(momentum=0.9, decay=0.1)
    weights = list(module.supernet.parameters())
    gradients = [torch.randn_like(weight) for weight in weights]
    before = [weight.detach().clone() for weight in weights]
    steps = ahead(gradients)
    assert all(torch.equal(a, b) for a, b in zip(weights, before, strict=True))
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    sgd.step()
    for weight, start, step in zip(weights, before, steps, strict=True):
        assert torch.allclose(weight, start + step, rtol=1e-12, atol=1e-15)
