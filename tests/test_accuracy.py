"""How close a bilevel step in float32 comes to one in float64."""

import pytest
import torch
import torch.nn.functional as F

from nas_lightning.bilevel import FirstOrder
from nas_lightning.relaxations import Softmax
from nas_lightning.spaces import DARTS, NB201, norms
from nas_lightning.supernet.architecture import Architecture
from nas_lightning.supernet.halves import HalfSteps


def relative(ours, exact):
    return ((ours.double() - exact.double()).norm() / exact.double().norm()).item()


def normalised(x, weight, bias):
    return norms._BatchNorm.apply(x, weight, bias)[0]


def batch_norm_gradients(x, weight, upstream):
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    output = norms.batch_norm(x, weight)
    return output, *torch.autograd.grad(output, [x, weight], upstream)


@pytest.mark.parametrize("images", [64, 50])  # the last part may be shorter
def test_batch_norm_in_channels_last_loses_no_digits_to_a_large_batch(images):
    generator = torch.Generator().manual_seed(0)
    x, upstream = (torch.randn(images, 8, 32, 32, generator=generator) * 1.3 + 0.7 for _ in range(2))
    weight = torch.rand(8, generator=generator)
    exact = batch_norm_gradients(x.double(), weight.double(), upstream.double())
    x, upstream = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, upstream))
    ours = batch_norm_gradients(x, weight, upstream)
    assert all(
        relative(mine, theirs) < bound for mine, theirs, bound in zip(ours, exact, (2e-6, 1e-5, 2e-4), strict=True)
    )
    assert ours[0].is_contiguous(memory_format=torch.channels_last)
    plain = F.batch_norm(x, None, None, weight, training=True)
    assert relative(plain, exact[0]) > 2 * relative(ours[0], exact[0])  # else the parts would be for nothing


def test_batch_norm_of_parts_is_differentiable_twice(monkeypatch):
    monkeypatch.setattr(norms, "_PART", 10)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    weight, bias = (torch.rand(2, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.allclose(normalised(x, weight, bias), F.batch_norm(x, None, None, weight, bias, training=True))
    assert torch.autograd.gradcheck(normalised, (x, weight, bias))
    assert torch.autograd.gradgradcheck(normalised, (x, weight, bias))
    assert torch.autograd.gradcheck(lambda x: normalised(x, None, None), (x,))


def step(space, batch, dtype):
    """(loss, the weights' gradients, alpha's) of a bilevel step at the start of a search."""
    torch.manual_seed(0)
    architecture, supernet = Architecture(space.cells, Softmax(), torch.Generator().manual_seed(0)), space.supernet(10)
    halves = HalfSteps(architecture.to(dtype), supernet.to(dtype))
    batch = batch[0].to(dtype), batch[1]
    loss, _, *of_weights = halves.weight_gradients(batch, {})
    _, _, *of_alpha = FirstOrder().alpha_gradients(halves, {"valid": batch}, {}, None)
    return loss, *(torch.cat([part.flatten() for part in parts]) for parts in (of_weights, of_alpha))


@pytest.mark.parametrize("space", [NB201(C=4, N=1), DARTS(C=2, num_cells=3)], ids=lambda space: space.name)
def test_a_step_in_float32_is_within_the_stated_bounds(space):
    generator = torch.Generator().manual_seed(1)
    batch = torch.randn(20, 3, 32, 32, generator=generator), torch.randint(10, (20,), generator=generator)
    ours, exact = (step(space, batch, dtype) for dtype in (torch.float32, torch.float64))
    assert all(
        relative(mine, theirs) < bound for mine, theirs, bound in zip(ours, exact, (1e-6, 2e-2, 2e-2), strict=True)
    )
