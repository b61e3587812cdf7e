"""The stand-alone networks of the DARTS family: published sizes, and what they compute."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas_lightning.errors import UserError
from nas_lightning.spaces import DARTS
from nas_lightning.spaces.darts.network import FactorizedReduce, _Auxiliary
from nas_lightning.training.cost import network_cost
from speed.network import plain

# Computed with quark0/darts' network classes: C10 36/20, its auxiliary head, C100 36/20, 10 and 100 classes 16/8,
# multiply-adds of C10 36/20, ImageNet 48/14, its auxiliary head, multiply-adds of ImageNet.
SIZES = {
    "DARTS_V1": (3169414, 3645840, 3221344, 232890, 256020, 500987520, 4510432, 5771208, 505864704),
    "DARTS_V2": (3349342, 3825768, 3401272, 246106, 269236, 528359040, 4718752, 5979528, 529911552),
    "NASNet": (3830950, 4288944, 3895840, 333946, 362836, 603452448, 5564320, 6800520, 604031616),
    "PC_DARTS_cifar": (3634678, 4111104, 3686608, 335738, 358868, 556670592, 5270560, 6531336, 571137408),
    "DrNAS_cifar10": (4099294, 4575720, 4151224, 360410, 383540, 635135616, 5738464, 6999240, 633832320),
}


def params(space, name, num_classes):
    with torch.device("meta"):
        network = space.network(space.parse(name), num_classes)
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", SIZES)
def test_networks_have_the_published_size_and_cost(name):
    c10, c10_aux, c100, small10, small100, c10_macs, imagenet, imagenet_aux, imagenet_macs = SIZES[name]
    large = DARTS(C=36, num_cells=20, auxiliary_head=True)
    cost = network_cost(large, large.parse(name), 10, 32)
    assert (cost.params, cost.params + cost.auxiliary_params, cost.macs) == (c10, c10_aux, c10_macs)
    # Batch norms after pools count nothing.
    mobile = DARTS(C=48, num_cells=14, stem="imagenet", auxiliary_head=True, pool_norm=True)
    cost = network_cost(mobile, mobile.parse(name), 1000, 224)
    assert (cost.params, cost.params + cost.auxiliary_params, cost.macs) == (imagenet, imagenet_aux, imagenet_macs)
    assert params(DARTS(C=36, num_cells=20), name, 100) == c100
    assert [params(DARTS(C=16, num_cells=8), name, n) for n in (10, 100)] == [small10, small100]


def small(name="DARTS_V2", **settings):
    torch.manual_seed(0)
    space = DARTS(C=4, num_cells=6, **settings)
    genotype = space.parse(name)
    return genotype, space.network(genotype, 5).double()


def images(count=2, side=32):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def reference_operation(name, operation, x):
    """Written from the description, on the operation's own weights: sep_conv twice (ReLU, depthwise, pointwise, BN), ..."""
    layers = [m for m in operation.modules() if not list(m.children())]
    convs = [m for m in layers if isinstance(m, nn.Conv2d)]
    norms = [m for m in layers if isinstance(m, nn.BatchNorm2d)]

    def norm(x, bn):
        return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias)

    size = int(name[-1]) if name[-1].isdigit() else 0
    if name.startswith("sep"):
        for half, bn in zip((convs[:2], convs[2:]), norms, strict=True):
            depthwise, pointwise = half
            x = F.conv2d(F.relu(x), depthwise.weight, stride=depthwise.stride, padding=size // 2, groups=x.shape[1])
            x = norm(F.conv2d(x, pointwise.weight), bn)
        return x
    if name.startswith("dil"):
        depthwise, pointwise = convs
        x = F.conv2d(F.relu(x), depthwise.weight, None, depthwise.stride, size - 1, 2, x.shape[1])
        return norm(F.conv2d(x, pointwise.weight), norms[0])
    if name == "skip_connect":
        if not convs:
            return x
        x = F.relu(x)
        halves = [F.conv2d(x, convs[0].weight, stride=2), F.conv2d(x[:, :, 1:, 1:], convs[1].weight, stride=2)]
        return norm(torch.cat(halves, 1), norms[0])
    stride = layers[0].stride
    average = {"count_include_pad": False}
    x = F.max_pool2d(x, 3, stride, 1) if name == "max_pool_3x3" else F.avg_pool2d(x, 3, stride, 1, **average)
    return F.batch_norm(x, norms[0].running_mean, norms[0].running_var) if norms else x


def reference(genotype, network, x):
    """The network cell by cell and edge by edge, in evaluation mode."""
    kinds = ["reduce" if index in (2, 4) else "normal" for index in range(6)]
    before = last = network.stem[0](x)
    for index, (kind, cell) in enumerate(zip(kinds, network.cells, strict=True)):
        assert isinstance(cell.preprocess[0], FactorizedReduce) == (index > 0 and kinds[index - 1] == "reduce")
        nodes = [cell.preprocess[0](F.relu(before)), cell.preprocess[1](F.relu(last))]
        for target in sorted({choice.target for choice in genotype.cells[kind]}):
            nodes.append(
                sum(
                    reference_operation(choice.operation, edge.operation, nodes[choice.source])
                    for choice, edge in zip(genotype.cells[kind], cell.edges, strict=True)
                    if choice.target == target
                )
            )
        before, last = last, torch.cat([nodes[node] for node in genotype.output_nodes(kind)], 1)
    return network.classifier(last.mean((2, 3)))


@pytest.mark.parametrize("pool_norm", [False, True])
@pytest.mark.parametrize("name", SIZES)
def test_network_equals_the_edge_by_edge_reference(name, pool_norm):
    genotype, network = small(name, pool_norm=pool_norm)
    network(images())  # moves the running statistics away from 0 and 1
    network.eval()
    with torch.no_grad():
        assert torch.allclose(network(images()), reference(genotype, network, images()), rtol=1e-10, atol=1e-12)


def test_sharing_relus_changes_neither_outputs_nor_gradients():
    _, network = small("PC_DARTS_cifar")
    other = plain(network)
    grads = []
    for each in (network, other):
        loss = each(images()).square().sum()
        grads.append(torch.autograd.grad(loss, list(each.parameters())))
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(*grads, strict=True))


def test_drop_path_leaves_whole_images_out_and_rescales_the_rest_but_never_the_identity():
    _, network = small()
    edges = [edge for cell in network.cells for edge in cell.edges]
    for edge in edges:
        identity = isinstance(edge.operation, nn.Identity)
        assert (edge.drop is None) == identity
        if not identity:
            edge.drop.p = 0.4
    edge = next(edge for edge in edges if edge.drop is not None)
    x = images(400, 8)[:, :1].expand(-1, 4, -1, -1)
    expected, out = edge.operation(x), edge(x)
    dropped = (out == 0).flatten(1).all(1)
    assert 0.3 < dropped.double().mean() < 0.5
    assert torch.allclose(out[~dropped], expected[~dropped] / 0.6)
    network.eval()
    assert torch.equal(edge(x), edge.operation(x))


def test_auxiliary_head_follows_the_second_reduction_and_is_silent_in_use():
    _, network = small(auxiliary_head=True)
    seen = []
    network.cells[4].register_forward_hook(lambda module, inputs, output: seen.append(output))
    logits, auxiliary = network(images())
    assert torch.equal(auxiliary, network.auxiliary(seen[0]))
    assert logits.shape == auxiliary.shape == (2, 5)
    assert isinstance(network.eval()(images()), torch.Tensor)


def test_imagenets_auxiliary_head_has_no_last_batch_norm():
    counts = [
        sum(isinstance(m, nn.BatchNorm2d) for m in _Auxiliary(8, 5, stride, norm).modules())
        for stride, norm in ((3, True), (2, False))
    ]
    assert counts == [2, 1]


def test_noise_depends_on_nothing_but_the_random_state():
    space = DARTS(C=4, num_cells=3, candidates="s4")
    text = ", ".join(f"('noise', {source})" for _ in range(4) for source in (0, 1))
    network = space.network(space.parse(f"Genotype(normal=[{text}], reduce=[{text}])"), 5).eval()
    outputs = []
    for x in (images().float(), 2 * images().float()):
        torch.manual_seed(3)
        outputs.append(network(x))
    assert torch.equal(*outputs)
    assert not torch.equal(network(x), network(x))
    edge = network.cells[1].edges[0]
    assert edge(torch.zeros(64, 4, 16, 16)).std() == pytest.approx(1, abs=0.02)
    assert not [p for cell in network.cells for e in cell.edges for p in e.parameters()]


def test_no_1x1_convolution_has_a_stride():
    """PyTorch 2.14's backward of one writes out of bounds on a CPU where channels are few and images large."""
    space = DARTS(C=8, num_cells=5, stem="imagenet", auxiliary_head=True)
    network = space.network(space.parse("DARTS_V1"), 10)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert {c.stride for c in convolutions if c.kernel_size == (1, 1)} == {(1, 1)}
    assert {c.stride for c in convolutions} == {(1, 1), (2, 2)}


def test_images_too_small_for_the_network_are_one_sentence():
    space = DARTS(C=4, num_cells=3, auxiliary_head=True)
    genotype = space.parse("DARTS_V2")
    assert network_cost(space, genotype, 5, 16).macs > 0
    for side, training in ((16, True), (9, False)):
        with pytest.raises(UserError, match=f"images of {side} pixels do not pass") as raised:
            network_cost(space, genotype, 5, side, training)
        assert "\n" not in str(raised.value)
