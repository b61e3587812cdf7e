"""The supernet by operation banks is the plain mixed operation, exactly."""

import pytest
import torch
import torch.nn.functional as F

from nas_lightning.derive.base import derived
from nas_lightning.errors import UserError
from nas_lightning.genotypes.nb201 import NB201_OPERATIONS, nb201_genotype
from nas_lightning.spaces import NB201
from nas_lightning.spaces.kernels import average_pool_3x3
from nas_lightning.spaces.weights import EdgeWeights
from speed.reference import ReferenceSupernet
from tests.conftest import derive

ALL = [[True] * 5] * 6


def random_beta(generator):
    return torch.softmax(torch.randn(6, 5, generator=generator, dtype=torch.float64), -1)


def one_hot_beta(generator):
    return F.one_hot(torch.randint(5, (6,), generator=generator), 5).double()


def sparse_beta(generator):
    beta = random_beta(generator) * (torch.rand(6, 5, generator=generator) < 0.5)
    return beta


def none_beta(generator):
    """Only `none` on every edge but the first, which leads nowhere: the cell's output is zero."""
    beta = torch.zeros(6, 5, dtype=torch.float64)
    beta[:, 0] = 1
    beta[0] = torch.tensor([0, 0.5, 0, 0.5, 0])
    return beta


BETAS = [random_beta, one_hot_beta, sparse_beta, none_beta]


def relative_error(ours, theirs):
    return (
        ((ours - theirs).norm() / theirs.norm().clamp(min=1e-300)).item() if theirs.norm() > 0 else ours.norm().item()
    )


@pytest.fixture(params=[False, True], ids=["no_bias", "bias"])
def pair(request):
    torch.manual_seed(0)
    supernet = NB201(C=4, N=2, conv_bias=request.param).supernet(10).double()
    reference = ReferenceSupernet(supernet)
    x, y = torch.randn(6, 3, 16, 12, dtype=torch.float64), torch.randint(10, (6,))
    return supernet, reference, x, y


@pytest.mark.parametrize("make_beta", BETAS)
@pytest.mark.parametrize("seed", [0, 1])
def test_architecture_step_equals_per_edge_reference(pair, make_beta, seed):
    supernet, reference, x, y = pair
    beta = make_beta(torch.Generator().manual_seed(seed)).requires_grad_()
    theirs = reference(x, beta)
    expected = torch.autograd.grad(F.cross_entropy(theirs, y), beta)[0]
    ours = supernet(x, {"cell": EdgeWeights(beta, ALL)})
    gradient = torch.autograd.grad(F.cross_entropy(ours, y), beta)[0]
    assert relative_error(ours, theirs) < 1e-10
    assert relative_error(gradient, expected) < 1e-10


@pytest.mark.parametrize("make_beta", BETAS)
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("skip_zeros", [False, True])
def test_weight_step_equals_per_edge_reference(pair, make_beta, seed, skip_zeros):
    """Every weight's gradient, with operations of zero beta computed or left out."""
    supernet, reference, x, y = pair
    beta = make_beta(torch.Generator().manual_seed(seed))
    F.cross_entropy(reference(x, beta), y).backward()
    expected = {name: p.grad.clone() for name, p in supernet.named_parameters() if p.grad is not None}  # shared parts
    supernet.zero_grad()
    active = (beta > 0).tolist() if skip_zeros else ALL
    F.cross_entropy(supernet(x, {"cell": EdgeWeights(beta, active)}), y).backward()
    scale = max(g.norm() for g in expected.values())
    for name, gradient in expected.items():
        parameter = supernet.get_parameter(name)
        ours = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert (ours - gradient).norm() <= 1e-10 * scale, name
    compared = 0
    for kernels, stacked in reference.stacked_pairs(supernet):
        per_edge = torch.cat([k.grad for k in kernels])
        gradient = torch.zeros_like(stacked) if stacked.grad is None else stacked.grad
        # A bias before a batch norm has gradient 0 but for rounding, so it is compared on the scale of the whole.
        bound = 1e-10 * (per_edge.norm() if stacked.dim() > 1 else scale)
        assert (gradient - per_edge).norm() <= bound
        compared += per_edge.abs().max().item() > 0
    assert compared > 0 or make_beta is none_beta


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 3), (5, 5)])
def test_average_pool_leaves_the_padding_out_of_the_count(size):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    plain = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    assert relative_error(average_pool_3x3(x), plain) < 1e-14


def test_gradient_reaches_the_image_as_in_the_reference(pair):
    supernet, reference, x, y = pair
    beta = random_beta(torch.Generator().manual_seed(3))
    x.requires_grad_()
    expected = torch.autograd.grad(F.cross_entropy(reference(x, beta), y), x)[0]
    gradient = torch.autograd.grad(F.cross_entropy(supernet(x, {"cell": EdgeWeights(beta, ALL)}), y), x)[0]
    assert relative_error(gradient, expected) < 1e-10


@pytest.mark.parametrize(
    ("conv_bias", "classes", "count"),
    [
        # AutoDL-Projects' TinyNetworkDarts (its search convolutions have biases) and DrNAS's TinyNetwork (they have none)
        (True, 10, 1_692_826),
        (True, 100, 1_698_676),
        (True, 120, 1_699_976),
        (False, 10, 1_686_106),
    ],
)
def test_supernet_has_the_published_number_of_weights(conv_bias, classes, count):
    with torch.device("meta"):
        supernet = NB201(conv_bias=conv_bias).supernet(classes)
    assert sum(p.numel() for p in supernet.parameters()) == count


@pytest.mark.parametrize(
    ("operations", "counts"),
    [
        (("skip_connect",) * 6, (73_306, 79_156, 80_456)),
        (("none",) * 6, (73_306, 79_156, 80_456)),
        (("avg_pool_3x3",) * 6, (73_306, 79_156, 80_456)),
        (("nor_conv_1x1",) * 6, (241_306, 247_156, 248_456)),
        (("nor_conv_3x3",) * 6, (1_531_546, 1_537_396, 1_538_696)),
        (("nor_conv_3x3",) * 3 + ("skip_connect",) + ("nor_conv_3x3",) * 2, (1_288_506, 1_294_356, 1_295_656)),
        (("nor_conv_1x1",) + ("none",) * 4 + ("skip_connect",), (101_306, 107_156, 108_456)),
    ],
)
def test_network_has_the_published_number_of_weights(operations, counts):
    for classes, count in zip((10, 100, 120), counts, strict=True):
        with torch.device("meta"):
            network = NB201().network(nb201_genotype(operations), classes)
        assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("seed", range(4))
def test_network_computes_what_the_one_hot_supernet_computes(seed):
    """With fresh (identity) affine parameters and batch statistics both are the same function of the same weights."""
    torch.manual_seed(seed)
    space = NB201(C=4, N=1)
    supernet = space.supernet(10).double()
    hot = one_hot_beta(torch.Generator().manual_seed(seed))
    genotype = derive(space, {"cell": hot})
    network = space.network(genotype, 10).double()
    for part in ("stem", "reductions", "head", "classifier"):
        getattr(network, part).load_state_dict(getattr(supernet, part).state_dict(), strict=False)
    reference = ReferenceSupernet(supernet)
    for stage, mixed in zip(network.stages, reference.stages, strict=True):
        for cell, reference_cell in zip(stage, mixed, strict=True):
            chosen = [e for e, o in enumerate(hot.argmax(-1).tolist()) if o != 0]
            for e, operation in zip(chosen, cell.operations, strict=True):
                name = NB201_OPERATIONS[hot[e].argmax()]
                operation.load_state_dict(reference_cell.edges[e].operations[name].state_dict(), strict=False)
    x = torch.randn(5, 3, 16, 16, dtype=torch.float64)
    network.train()
    assert relative_error(network(x), supernet(x, {"cell": EdgeWeights(hot, hot.bool().tolist())})) < 1e-10


def test_derive_takes_each_edges_best_operation():
    e, o = torch.arange(6.0)[:, None], torch.arange(5.0)
    assert str(derive(NB201(), {"cell": torch.cos(7 * e + 3 * o)})) == (
        "|none~0|+|avg_pool_3x3~0|avg_pool_3x3~1|+|skip_connect~0|skip_connect~1|nor_conv_3x3~2|"
    )


def test_masked_none_is_never_derived_nor_weighted():
    from nas_lightning.relaxations import SnSoftmax
    from nas_lightning.supernet.architecture import Architecture

    space = NB201(C=2, N=1, none=False)
    architecture = Architecture(space.cells, SnSoftmax(second_temperature=1.0), torch.Generator().manual_seed(0))
    with torch.no_grad():
        architecture.alpha["cell"][:, 0] = 5.0
    assert (architecture.beta()["cell"][:, 0] == 0).all()
    assert "none" not in str(derived(space.name, space.rule, architecture.snapshot()))
    assert max(architecture.observe().entropy["cell"]) <= torch.log(torch.tensor(4.0)) + 1e-6


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_bf16_supernet_loses_no_more_than_the_reference_in_bf16(memory_format):
    torch.manual_seed(0)
    supernet = NB201(C=8, N=1).supernet(10)
    reference = ReferenceSupernet(supernet)
    x, y = torch.randn(16, 3, 16, 16).to(memory_format=memory_format), torch.randint(10, (16,))
    beta = random_beta(torch.Generator().manual_seed(0)).float().requires_grad_()

    def gradient(forward):
        return torch.autograd.grad(F.cross_entropy(forward(x), y), beta)[0]

    def relaxed(x):
        return supernet(x, {"cell": EdgeWeights(beta, ALL)})

    exact = gradient(relaxed)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = gradient(relaxed), gradient(lambda x: reference(x, beta))
    assert ours.dtype == torch.float32
    assert 0 < relative_error(ours, exact) < 1.5 * relative_error(theirs, exact) < 0.5


@pytest.mark.parametrize("settings", [{"C": 0}, {"N": -1}, {"C": 2.5}, {"N": True}])
def test_impossible_sizes_are_named(settings):
    (key,) = settings
    with pytest.raises(UserError, match=f"space.{key} must be"):
        NB201(**settings)
