"""sn_softmax against explicit Jacobians, tabulated values and the limits of the number formats."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nas_lightning.errors import UserError
from nas_lightning.relaxations import SnSoftmax, Softmax, sn_softmax
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.supernet.architecture import Architecture

A = (1e-3, -5e-4, 2e-3, 0.0, 3e-4)
A_SATURATED = (0.1, -0.05, 0.02, 0.0, 0.03)
V = (0.3, -0.1, 0.2, 0.5, -0.4)

FIRST_AT_1E3 = (27.4983402, -12.4357336, 18.1866165, 25.4256403, -58.6748633)
SECOND_AT_0_1 = (0.400340331, -0.397154844, 0.201470647, 0.794108113, -0.998764246)
KNOWN = {  # (t, st): beta_t, total gradient
    (1e-3, None): ((0.208078579, 0.046428607, 0.565616219, 0.076547831, 0.103328764), FIRST_AT_1E3),
    (1e-3, 0.1): (
        (0.208078579, 0.046428607, 0.565616219, 0.076547831, 0.103328764),
        (27.8986805, -12.8328884, 18.3880871, 26.2197484, -59.6736276),
    ),
    (1e-3, 1.0): (
        (0.208078579, 0.046428607, 0.565616219, 0.076547831, 0.103328764),
        (27.5383438, -12.4757052, 18.2066313, 25.5055815, -58.7748513),
    ),
    (0.1, None): ((0.20087435, 0.197883721, 0.202893171, 0.198875617, 0.19947314), SECOND_AT_0_1),
    (0.1, 1.0): (
        (0.20087435, 0.197883721, 0.202893171, 0.198875617, 0.19947314),
        (0.440343911, -0.437126439, 0.221485438, 0.8740493, -1.09875221),
    ),
}


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def beta_and_gradient(logits, v, temperature, second_temperature=None):
    logits = logits.detach().requires_grad_()
    beta = sn_softmax(logits, temperature, second_temperature)
    (gradient,) = torch.autograd.grad(beta, logits, v)
    return beta.detach(), gradient


def explicit_gradient(logits, v, temperature, second_temperature=None):
    """J v from the matrices S(b) = diag(b) - b b^T, row by row."""
    rows = []
    for a, u in zip(logits.reshape(-1, logits.shape[-1]), v.reshape(-1, v.shape[-1]), strict=True):
        jacobian = torch.zeros(len(a), len(a), dtype=a.dtype)
        for t in (temperature, second_temperature):
            if t is temperature or (t is not None and t > temperature):
                b = torch.exp(a / t - torch.logsumexp(a / t, -1))
                jacobian += (torch.diag(b) - torch.outer(b, b)) / t
        rows.append(jacobian @ u)
    return torch.stack(rows).reshape(logits.shape)


def random_logits(*shape, seed=0, scale=1e-3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    return logits.to(dtype), torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def relative_error(value, reference):
    return ((value - reference).norm() / reference.norm()).item()


@pytest.mark.parametrize(("temperature", "second"), KNOWN)
def test_beta_and_gradient_equal_the_tabulated_values(temperature, second):
    beta, gradient = KNOWN[temperature, second]
    ours = beta_and_gradient(double(A), double(V), temperature, second)
    torch.testing.assert_close(ours[0], double(beta), rtol=0, atol=6e-10)
    torch.testing.assert_close(ours[1], double(gradient), rtol=2e-8, atol=0)


@pytest.mark.parametrize("shape", [(1,), (5,), (6, 5), (14, 7), (2, 3, 8), (4, 1)])
@pytest.mark.parametrize(("temperature", "second"), [(1.0, None), (1e-3, None), (1e-3, 0.1), (5e-4, 1.0), (0.5, 1.0)])
def test_gradient_equals_the_explicit_jacobian(shape, temperature, second):
    for seed in range(5):
        logits, v = random_logits(*shape, seed=seed)
        expected = explicit_gradient(logits, v, temperature, second)
        _, gradient = beta_and_gradient(logits, v, temperature, second)
        if shape[-1] == 1:
            assert gradient.tolist() == torch.zeros(shape).tolist()
        else:
            assert relative_error(gradient, expected) < 1e-12


def test_forward_is_the_softmax_of_the_first_temperature_alone():
    logits, _ = random_logits(6, 5)
    for second in (None, 0.1, 1.0):
        beta = sn_softmax(logits, 1e-3, second)
        torch.testing.assert_close(beta, torch.softmax(logits / 1e-3, -1), rtol=1e-13, atol=0)


def test_sn_softmax_moves_alpha_after_saturation_where_softmax_gives_exactly_0():
    logits, v = torch.tensor(A_SATURATED), torch.tensor(V)
    beta, plain = beta_and_gradient(logits, v, 5e-4)
    assert sorted(beta.tolist()) == [0, 0, 0, 0, 1]
    assert plain.tolist() == [0, 0, 0, 0, 0]
    for second in (0.05, 1.0):
        _, gradient = beta_and_gradient(logits, v, 5e-4, second)
        assert gradient.abs().min() > 1e-3
        expected = explicit_gradient(logits.double(), v.double(), 5e-4, second)
        assert relative_error(gradient.double(), expected) < 1e-6


def test_gradient_norms_of_a_saturated_edge_equal_the_tabulated_values():
    logits, v = double(A_SATURATED), double(V)
    for second, norm in ((None, 2.78e-28), (0.1, 1.359), (1.0, 0.1413)):
        assert beta_and_gradient(logits, v, 1e-3, second)[1].norm().item() == pytest.approx(norm, rel=1e-3)


def test_gradient_sums_to_0_and_ignores_a_common_shift():
    logits, v = random_logits(6, 5)
    _, gradient = beta_and_gradient(logits, v, 1e-3, 0.1)
    _, shifted = beta_and_gradient(logits + 0.25, v, 1e-3, 0.1)
    assert gradient.sum(-1).abs().max() < 1e-12 * gradient.abs().max()
    assert relative_error(shifted, gradient) < 1e-10


def test_gradient_at_equal_logits_is_the_centred_upstream_gradient():
    _, v = random_logits(6, 5)
    _, gradient = beta_and_gradient(torch.zeros(6, 5).double(), v, 0.01, 1.0)
    expected = (v - v.mean(-1, keepdim=True)) / 5 * (1 / 0.01 + 1 / 1.0)
    assert relative_error(gradient, expected) < 1e-13


def test_gradient_tends_to_softmax_for_large_scale_but_differs_for_a_finite_one():
    logits, v = random_logits(6, 5)
    _, plain = beta_and_gradient(logits, v, 1e-3)
    assert relative_error(beta_and_gradient(logits, v, 1e-3, 1e9)[1], plain) < 1e-11
    assert relative_error(beta_and_gradient(logits, v, 1e-3, 0.1)[1], plain) > 1e-3


@pytest.mark.parametrize("second", [1.0, 0.5])
def test_second_term_is_added_only_above_the_first_temperature(second):
    logits, v = random_logits(6, 5)
    _, plain = beta_and_gradient(logits, v, torch.tensor(1.0))
    _, gradient = beta_and_gradient(logits, v, torch.tensor(1.0), second)
    assert relative_error(gradient, plain) < 1e-14
    _, just_above = beta_and_gradient(logits, v, torch.tensor(second - 1e-6), second)
    assert relative_error(just_above * (second - 1e-6), 2 * plain) < 1e-2


@pytest.mark.parametrize("temperature", [2.0, 1.0 + 1e-12, 1.0, 1.0 - 1e-12, 0.5, 1e-3])
@pytest.mark.parametrize("at_1", [False, True])
def test_the_second_term_of_a_scale_is_off_at_exactly_1_unless_asked_for(temperature, at_1):
    logits, v = random_logits(6, 5, scale=0.5)
    leaf = logits.clone().requires_grad_()
    t = torch.tensor(temperature, dtype=torch.float64)
    beta = SnSoftmax(scale=100.0, at_1=at_1)(leaf, torch.ones_like(logits).bool(), t)
    (gradient,) = torch.autograd.grad(beta, leaf, v)
    off = temperature == 1.0 and not at_1
    wanted = explicit_gradient(logits, v, t, None if off else 100 * t)
    assert relative_error(gradient, wanted) < 1e-13
    assert (relative_error(gradient, explicit_gradient(logits, v, t)) < 1e-13) == off


@pytest.mark.parametrize("at_1", [False, True])
def test_with_a_constant_second_temperature_of_1_there_is_none_at_1_either_way(at_1):
    logits, v = random_logits(6, 5, scale=0.5)
    leaf = logits.clone().requires_grad_()
    beta = SnSoftmax(second_temperature=1.0, at_1=at_1)(leaf, torch.ones_like(logits).bool(), torch.tensor(1.0))
    (gradient,) = torch.autograd.grad(beta, leaf, v)
    assert relative_error(gradient, explicit_gradient(logits, v, torch.tensor(1.0))) < 1e-13


@pytest.mark.parametrize("relaxation", [Softmax(), SnSoftmax(scale=100.0), SnSoftmax(second_temperature=1.0)])
@pytest.mark.parametrize("temperature", [1.0, 1e-3, 1e-6])
def test_masked_operations_get_weight_0_and_gradient_0_and_the_rest_is_as_without_them(relaxation, temperature):
    alpha, v = random_logits(4, 5, scale=0.01, dtype=torch.float32)
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 0, 1], [0, 0, 0, 1, 0], [1, 0, 0, 0, 0]]).bool()
    alpha[~mask] += 5.0
    t = torch.tensor(temperature)
    alpha.requires_grad_()
    beta = relaxation(alpha, mask, t)
    (gradient,) = torch.autograd.grad(beta, alpha, v)
    assert (beta[~mask] == 0).all()
    assert (gradient[~mask] == 0).all()
    assert gradient.isfinite().all()
    assert beta[2, 3] == beta[3, 0] == 1
    assert (gradient[2:] == 0).all()
    for row in range(2):
        kept = alpha.detach()[row, mask[row]].requires_grad_()
        beta_row = relaxation(kept[None], torch.ones(1, len(kept)).bool(), t)[0]
        (gradient_row,) = torch.autograd.grad(beta_row, kept, v[row, mask[row]])
        torch.testing.assert_close(beta[row, mask[row]], beta_row)
        torch.testing.assert_close(gradient[row, mask[row]], gradient_row)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_it_computes_in_float32_under_bf16_autocast(dtype):
    logits, v = random_logits(6, 5, scale=0.01, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        beta, gradient = beta_and_gradient(logits, v.float(), torch.tensor(1e-4), 0.01)
    assert beta.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(beta.double(), torch.softmax(logits.double() / 1e-4, -1), rtol=1e-4, atol=1e-7)
    expected = explicit_gradient(logits.double(), v.double(), 1e-4, 0.01)
    assert relative_error(gradient.double(), expected) < {2: 8e-3, 4: 1e-4}[dtype.itemsize]


def test_float32_beta_has_exact_zeros_beyond_104_temperatures():
    for t in (1e-3, 3e-4, 1e-4):
        near, far = sn_softmax(torch.tensor([[0.0, -85 * t], [0.0, -105 * t]]), t, 1.0)[:, 1]
        assert near > 0
        assert far == 0


def test_differentiating_sn_softmax_twice_raises_while_softmax_allows_it():
    logits = double(A).requires_grad_()
    loss = sn_softmax(logits, 0.5, 1.0).square().sum()
    (gradient,) = torch.autograd.grad(loss, logits, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient[0].backward()
    assert torch.autograd.gradgradcheck(lambda a: sn_softmax(a, 0.5), logits)


@pytest.mark.parametrize(
    ("space", "cells", "noisy"),
    [
        (DARTS(), "all", {"normal", "reduce"}),
        (DARTS(), "normal", {"normal"}),
        (NB201(), "all", {"cell"}),
        (NB201(), "normal", {"cell"}),
    ],
)
def test_reduction_cells_have_the_ordinary_gradient_where_only_normal_cells_are_noisy(space, cells, noisy):
    relaxation = SnSoftmax(second_temperature=1.0, cells=cells)
    architecture = Architecture(space.cells, relaxation, torch.Generator().manual_seed(0)).double()
    architecture.set_temperature(1e-3)
    betas = architecture.beta()
    for name, alpha in architecture.alpha.items():
        _, v = random_logits(*alpha.shape)
        (gradient,) = torch.autograd.grad(betas[name], alpha, v)
        expected = explicit_gradient(alpha.detach(), v, 1e-3, 1.0 if name in noisy else None)
        assert relative_error(gradient, expected) < 1e-12
        assert relative_error(betas[name].detach(), torch.softmax(alpha.detach() / 1e-3, -1)) < 1e-12


class LargestTensor(TorchDispatchMode):
    numel = 0
    host_reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.host_reads += func is torch.ops.aten._local_scalar_dense.default
        for tensor in result if isinstance(result, tuple | list) else [result]:
            self.numel = max(self.numel, tensor.numel() if isinstance(tensor, torch.Tensor) else 0)
        return result


def test_neither_direction_forms_a_jacobian_or_reads_a_value_on_the_host():
    alpha, v = random_logits(6, 50, dtype=torch.float32)
    for relaxation in (SnSoftmax(scale=100.0), SnSoftmax(second_temperature=1.0)):
        with LargestTensor() as seen:
            logits = alpha.clone().requires_grad_()
            beta = relaxation(logits, torch.ones_like(alpha).bool(), torch.tensor(1e-3))
            beta.backward(v)
        assert seen.numel == alpha.numel()
        assert seen.host_reads == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_forward_and_backward_are_captured_in_a_cuda_graph_that_follows_the_temperature():
    alpha, v = (x.cuda() for x in random_logits(6, 5, dtype=torch.float32))
    alpha.requires_grad_()
    mask, temperature = torch.ones_like(alpha).bool(), torch.tensor(1.0, device="cuda")
    relaxation = SnSoftmax(second_temperature=1.0)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        torch.autograd.grad(relaxation(alpha, mask, temperature), alpha, v)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        (gradient,) = torch.autograd.grad(relaxation(alpha, mask, temperature), alpha, v)
    temperature.fill_(1e-3)
    graph.replay()
    expected = explicit_gradient(alpha.detach().cpu().double(), v.cpu().double(), 1e-3, 1.0)
    assert relative_error(gradient.cpu().double(), expected) < 1e-5


MEAN_ENTROPY = {
    5: {1.0: 1.6094, 0.0034414: 1.5765, 0.0018179: 1.4987, 0.0012737: 1.4031, 0.001: 1.3063},
    7: {1.0: 1.9459, 0.0034414: 1.9103, 0.0018179: 1.8245, 0.0012737: 1.7155, 0.001: 1.6021},
}


@pytest.mark.parametrize("operations", MEAN_ENTROPY)
def test_mean_entropy_at_initialisation_equals_the_tabulated_values(operations):
    logits, _ = random_logits(400_000, operations, dtype=torch.float32)
    for temperature, expected in MEAN_ENTROPY[operations].items():
        beta = sn_softmax(logits, temperature)
        assert -torch.xlogy(beta, beta).sum(-1).mean().item() == pytest.approx(expected, abs=2e-3)


def test_a_word_for_the_term_at_1_is_refused():
    with pytest.raises(UserError, match=r"relaxation.at_1 must be true or false, got 'no'"):
        SnSoftmax(scale=100.0, at_1="no")


def test_an_unknown_choice_of_noisy_cells_is_refused():
    with pytest.raises(UserError, match=r"relaxation.cells must be all or normal, got 'reduce'"):
        SnSoftmax(scale=100.0, cells="reduce")


@pytest.mark.parametrize(
    ("scale", "second", "named"),
    [
        (1, None, "relaxation.scale must be a number above 1, got 1"),
        (0.5, None, "relaxation.scale must be a number above 1, got 0.5"),
        (math.nan, None, "relaxation.scale must be a number above 1, got nan"),
        (math.inf, None, "relaxation.scale must be a number above 1, got inf"),
        ("100", None, "relaxation.scale must be a number above 1, got '100'"),
        (True, None, "relaxation.scale must be a number above 1, got True"),
        (None, 0.0, "relaxation.second_temperature must be a positive number, got 0.0"),
        (None, -1, "relaxation.second_temperature must be a positive number, got -1"),
        (None, "one", "relaxation.second_temperature must be a positive number, got 'one'"),
        (None, None, "takes exactly one of them"),
        (100.0, 1.0, "relaxation.scale=100.0 and relaxation.second_temperature=1.0"),
    ],
)
def test_a_bad_second_temperature_is_refused_by_its_hydra_key(scale, second, named):
    with pytest.raises(UserError) as error:
        SnSoftmax(scale=scale, second_temperature=second)
    assert named in str(error.value)
    assert "\n" not in str(error.value)
