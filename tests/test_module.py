"""One bilevel step of SupernetModule is the textbook step, written out per edge."""

import copy
import functools

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F

from nas_lightning.bilevel.first_order import FirstOrder
from nas_lightning.callbacks import TemperatureUpdate
from nas_lightning.errors import UserError
from nas_lightning.optimizers.clip import ArchClip
from nas_lightning.relaxations import SnSoftmax, Softmax
from nas_lightning.schedules import ScheduleState
from nas_lightning.spaces import NB201
from nas_lightning.supernet.module import SupernetModule
from speed.reference import ReferenceSupernet

STEPS = 3
TEMPERATURE = 1e-6  # alpha differs by about 1e-3, so that some operations start with a beta of exactly 0


def jacobian(p):
    return torch.diag_embed(p) - p[..., :, None] * p[..., None, :]


class TextbookSearch:
    """Per-edge supernet, explicit Jacobians, plain loops; float64."""

    def __init__(self, module, order, sn, weight_clip, includes_arch, arch_clip):
        self.module = module
        self.reference = ReferenceSupernet(module.supernet)
        self.alpha = module.architecture.alpha["cell"].detach().clone()
        self.alpha_grad = torch.zeros_like(self.alpha)
        self.order, self.sn, self.weight_clip = order, sn, weight_clip
        self.includes_arch, self.arch_clip = includes_arch, arch_clip
        self.momentum = {}
        self.m, self.v, self.steps = torch.zeros_like(self.alpha), torch.zeros_like(self.alpha), 0

    def alpha_gradient(self, x, y, sn):
        beta = torch.softmax(self.alpha / TEMPERATURE, -1).requires_grad_()
        g = torch.autograd.grad(F.cross_entropy(self.reference(x, beta), y), beta)[0]
        total = (jacobian(beta.detach()) @ g[..., None]).squeeze(-1) / TEMPERATURE
        if sn:
            total += (jacobian(torch.softmax(self.alpha, -1)) @ g[..., None]).squeeze(-1)
        return total

    def weight_step(self, x, y):
        beta = torch.softmax(self.alpha / TEMPERATURE, -1)
        parameters = list(self.reference.parameters())
        grads = torch.autograd.grad(F.cross_entropy(self.reference(x, beta), y), parameters)
        squares = sum(g.square().sum() for g in grads)
        if self.includes_arch:
            # What the last step has left, its second term included, and the weights' loss', which has none.
            self.alpha_grad = self.alpha_grad + self.alpha_gradient(x, y, sn=False)
            squares = squares + self.alpha_grad.square().sum()
        scale = 1.0 if self.weight_clip is None else min(1.0, self.weight_clip / (squares.sqrt().item() + 1e-6))
        self.alpha_grad = self.alpha_grad * scale
        with torch.no_grad():
            for p, g in zip(parameters, grads, strict=True):
                g = g * scale + 5e-4 * p
                buffer = self.momentum[p] = 0.9 * self.momentum[p] + g if p in self.momentum else g.clone()
                p -= 0.025 * (g + 0.9 * buffer)  # Nesterov

    def arch_step(self, x, y):
        g = self.alpha_gradient(x, y, self.sn)
        if self.arch_clip.mode == "norm":
            g = g * min(1.0, self.arch_clip.value / (g.norm().item() + 1e-6))
        elif self.arch_clip.mode == "value":
            g = g.clamp(-self.arch_clip.value, self.arch_clip.value)
        self.alpha_grad = g
        self.steps += 1
        self.m = 0.5 * self.m + 0.5 * g
        self.v = 0.999 * self.v + 0.001 * g * g
        corrected = self.m / (1 - 0.5**self.steps), self.v / (1 - 0.999**self.steps)
        self.alpha = self.alpha - 3e-4 * corrected[0] / (corrected[1].sqrt() + 1e-8)

    def step(self, batch, trains_alpha=True):
        halves = [lambda: self.weight_step(*batch["train"])]
        if trains_alpha:
            halves.append(lambda: self.arch_step(*batch["valid"]))
        for half in halves if self.order == "weights_first" else reversed(halves):
            half()


class Batches(pl.LightningDataModule):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)

        def batch():
            x = torch.randn(6, 3, 8, 8, generator=generator, dtype=torch.float64)
            return x, torch.randint(4, (6,), generator=generator)

        self.batches = [{"train": batch(), "valid": batch()} for _ in range(STEPS)]

    def train_dataloader(self):
        return torch.utils.data.DataLoader(self.batches, batch_size=None)

    def val_dataloader(self):
        return torch.utils.data.DataLoader([self.batches[0]["valid"]], batch_size=None)


def trained(
    order="weights_first", sn=True, weight_clip=5.0, includes_arch=False, arch_clip=None, epochs=1, arch_start=0
):
    """(module after epochs of STEPS batches through Lightning, the textbook search after the same)"""
    torch.manual_seed(0)
    module = SupernetModule(
        NB201(C=2, N=1),
        SnSoftmax(second_temperature=1.0) if sn else Softmax(),
        num_classes=4,
        weight_optimizer=functools.partial(torch.optim.SGD, lr=0.025, momentum=0.9, nesterov=True, weight_decay=5e-4),
        arch_optimizer=functools.partial(torch.optim.Adam, lr=3e-4, betas=(0.5, 0.999)),
        bilevel=FirstOrder(order),
        weight_clip=weight_clip,
        weight_clip_includes_arch=includes_arch,
        arch_clip=arch_clip,
        arch_start=arch_start,
    ).double()
    module.architecture.set_temperature(TEMPERATURE)
    assert (module.architecture.beta()["cell"] == 0).any()
    textbook = TextbookSearch(copy.deepcopy(module), order, sn, weight_clip, includes_arch, arch_clip or ArchClip())
    for epoch in range(epochs):
        for batch in Batches().batches:
            textbook.step(batch, trains_alpha=epoch >= arch_start)
    return fitted(module, epochs), textbook


def fitted(module, epochs=1):
    """The module after epochs of STEPS batches through Lightning, in float64, each with its validation."""
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=Batches())
    return module


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"order": "arch_first"},
        {"sn": False},
        {"weight_clip": 0.1},
        {"weight_clip": None},
        {"weight_clip": 1.0, "includes_arch": True, "epochs": 3},
        {"weight_clip": 1.0, "includes_arch": True, "sn": False, "epochs": 2},
        {"weight_clip": 1.0, "includes_arch": True, "order": "arch_first"},
        {"weight_clip": 1.0, "includes_arch": True, "arch_clip": ArchClip("norm", 1e-3)},
        {
            "weight_clip": 1.0,
            "includes_arch": True,
            "epochs": 2,
            "arch_start": 1,
        },  # steps add up until alpha is trained
        {"weight_clip": None, "includes_arch": True},
        {"arch_clip": ArchClip("norm", 1e-3)},
        {"arch_clip": ArchClip("value", 1e-4)},
    ],
    ids=str,
)
def test_search_steps_equal_the_textbook(settings):
    module, textbook = trained(**settings)
    assert torch.allclose(module.architecture.alpha["cell"], textbook.alpha, rtol=1e-9, atol=1e-13)
    shared = dict(textbook.module.supernet.named_parameters())
    for kernels, stacked in textbook.reference.stacked_pairs(module.supernet):
        assert torch.allclose(stacked, torch.cat(list(kernels)), rtol=1e-9, atol=1e-12)
    for name, parameter in module.supernet.named_parameters():
        if "banks" not in name:
            assert torch.allclose(parameter, shared[name], rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"order": "arch_first"}),
        ({}, {"sn": False}),
        ({}, {"weight_clip": 0.1}),
        ({"weight_clip": 1.0}, {"weight_clip": 1.0, "includes_arch": True}),
        ({}, {"arch_clip": ArchClip("value", 1e-4)}),
    ],
    ids=str,
)
def test_every_choice_changes_the_search(one, other):
    """Else the comparison with the textbook would not test it."""
    first, second = trained(**one)[0], trained(**other)[0]
    assert not torch.equal(first.supernet.classifier.weight, second.supernet.classifier.weight) or not torch.equal(
        first.architecture.alpha["cell"], second.architecture.alpha["cell"]
    )


class Halving:
    """t = 0.5 / 2^epoch, whatever it sees, of which it keeps a record beside the alpha of that moment."""

    def __init__(self, alpha):
        self.alpha = alpha
        self.seen = []

    def initial(self):
        return ScheduleState(0.5)

    def update(self, epoch, observed, previous):
        self.seen.append((epoch, observed.entropy["cell"][0], previous.temperature, self.alpha[0].detach().clone()))
        return ScheduleState(0.5 / 2**epoch)


def test_a_schedule_sees_each_epochs_number_and_the_entropies_at_the_temperature_before():
    module, _ = trained()
    with torch.no_grad():
        module.architecture.alpha["cell"].copy_(torch.arange(30.0).view(6, 5).sin())
    schedule = Halving(module.architecture.alpha["cell"])
    trainer = pl.Trainer(
        max_epochs=3, accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False,
        callbacks=[TemperatureUpdate(schedule)], enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=Batches())
    assert [(epoch, before) for epoch, _, before, _ in schedule.seen] == [(0, 0.5), (1, 0.5), (2, 0.25)]
    for _, entropy, before, alpha in schedule.seen:
        beta = torch.softmax(alpha / before, -1)
        assert entropy == pytest.approx(-torch.special.xlogy(beta, beta).sum().item())


@pytest.mark.parametrize("mode", ["nrom", None])
def test_unknown_clip_mode_is_refused(mode):
    with pytest.raises(UserError, match=r"model.arch_clip.mode must be none, norm or value"):
        ArchClip(mode)


@pytest.mark.parametrize("value", [0, -1.0])
def test_clip_values_are_positive(value):
    with pytest.raises(UserError, match="must be positive"):
        ArchClip("norm", value)
    with pytest.raises(UserError, match=r"model.weight_clip must be positive"):
        SupernetModule(NB201(C=2, N=1), Softmax(), 2, torch.optim.SGD, torch.optim.Adam, weight_clip=value)


def test_unknown_order_is_refused():
    with pytest.raises(UserError, match=r"bilevel.order must be"):
        FirstOrder("alpha_first")
