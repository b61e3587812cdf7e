"""What a network costs: parameters and multiply-adds, counted without its weights or any image."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas_lightning.costs import Cost
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.spaces import SearchSpace


def network_cost(space: SearchSpace, genotype: Genotype, num_classes: int, side: int, training: bool = False) -> Cost:
    """The cost of the network of `genotype` on images of `side` pixels; UserError where these do not pass through it.

    training: check that they pass in training mode too, which an auxiliary head may not allow.
    """
    with torch.device("meta"):
        network = space.network(genotype, num_classes)
    try:
        return cost_of(network, side, training)
    except RuntimeError as error:
        raise UserError(
            f"images of {side} pixels do not pass through this network ({str(error).splitlines()[0]}); set "
            "dataset.image_size to a multiple of 32, at least 224 with space.stem=imagenet, or space.auxiliary_head=false."
        ) from error


def cost_of(network: nn.Module, side: int, training: bool = False) -> Cost:
    """As `network_cost`, of a network on the device meta; what PyTorch says where the images do not pass is raised as it is."""
    images = torch.empty(2, 3, side, side, device="meta")
    if training:
        network.train()(images)
    macs = _multiply_adds(network.eval(), images[:1])
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    auxiliary = sum(size for name, size in sizes.items() if name.startswith("auxiliary."))
    return Cost(sum(sizes.values()) - auxiliary, auxiliary, macs)


def _multiply_adds(network: nn.Module, images: torch.Tensor) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    return counter.get_total_flops() // 2
