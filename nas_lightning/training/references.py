"""torchvision's networks for classification, to hold a found one against: as they are, with a last layer for the classes."""

import difflib
from collections.abc import Sequence
from http.client import HTTPException

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights, list_models

from nas_lightning.costs import Cost
from nas_lightning.errors import UserError
from nas_lightning.training.cost import cost_of

_WITHOUT_AUXILIARY = {"aux_logits": False, "init_weights": True}
_OPTIONS = {"googlenet": _WITHOUT_AUXILIARY, "inception_v3": _WITHOUT_AUXILIARY}  # their extra heads are for 224 pixels


def check_names(names: Sequence[str]) -> None:
    """UserError for one that torchvision does not have, with those of a similar name."""
    known = list_models(module=torchvision.models)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name.lower(), known, 5) or ["resnet18", "mobilenet_v3_small"]
            raise UserError(
                f"baselines must be true or false, or name networks of torchvision, which has no {name!r} for classification; "
                f"give one such as {', '.join(near)}."
            )


def reference_network(name: str, num_classes: int, pretrained: bool) -> nn.Module:
    """torchvision's network `name`, called as network(x_BCHW) -> logits [B, num_classes].

    pretrained: with the weights of ImageNet that torchvision offers first, but for the last layer where the number of classes
    is another. UserError where they cannot be fetched.
    """
    network: nn.Module = get_model(name, weights=None, num_classes=num_classes, **_OPTIONS.get(name, {}))
    if pretrained:
        own = network.state_dict()
        fitting = {k: v for k, v in _weights(name).items() if k in own and v.shape == own[k].shape}
        network.load_state_dict(fitting, strict=False)
    return network


def reference_cost(name: str, num_classes: int, side: int) -> Cost:
    """UserError where images of `side` pixels do not pass through it."""
    network = reference_network(name, num_classes, pretrained=False).to("meta")
    try:
        return cost_of(network, side, training=True)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(
            f"images of {side} pixels do not pass through torchvision's {name} ({str(error).splitlines()[0]}), which is made "
            "for larger ones; leave it out of baselines, or set dataset.image_size=224."
        ) from error


def described(name: str, pretrained: bool) -> str:
    start = "pretrained on ImageNet" if pretrained else "from scratch"
    return f"torchvision {torchvision.__version__}'s {name}, made for images of 224 pixels or so, {start}"


def _weights(name: str) -> dict[str, Tensor]:
    offered = get_model_weights(name).DEFAULT
    try:
        state: dict[str, Tensor] = offered.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError, HTTPException) as error:  # no connection, no room, another content
        reason = " ".join(str(error).split())[:150]
        raise UserError(
            f"the pretrained weights of {name} cannot be fetched ({reason}); put {offered.url} into "
            f"{torch.hub.get_dir()}/checkpoints, or set pretrained=false."
        ) from error
    return state
