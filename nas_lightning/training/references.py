"""torchvision's networks for classification, to hold a found one against: as they are, with a last layer for the classes."""

import difflib
from http.client import HTTPException
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights, list_models

from nas_lightning.errors import UserError, check_flag
from nas_lightning.training.cost import Cost, cost_of

_WITHOUT_AUXILIARY = {"aux_logits": False, "init_weights": True}
_OPTIONS = {"googlenet": _WITHOUT_AUXILIARY, "inception_v3": _WITHOUT_AUXILIARY}  # their extra heads are for 224 pixels


def reference_names(baselines: Any, pretrained: Any, train: bool) -> tuple[str, ...]:
    """The names that the setting `baselines` holds, as a list or a text with commas; () where it is true or false.

    UserError for what is none of these, for networks that torchvision does not have, and for settings that would do nothing.
    """
    check_flag("pretrained", pretrained)
    if isinstance(baselines, bool):
        if pretrained:
            raise UserError("pretrained=true is for networks of torchvision; name some, as in baselines=[resnet18].")
        return ()
    names = [name.strip() for name in baselines.split(",")] if isinstance(baselines, str) else baselines
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UserError(
            "baselines must be true or false, or names of torchvision's networks as in [resnet18,mobilenet_v3_small], got "
            f"{baselines!r}."
        )
    known = list_models(module=torchvision.models)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name.lower(), known, 5) or ["resnet18", "mobilenet_v3_small"]
            raise UserError(
                f"baselines must be true or false, or name networks of torchvision, which has no {name!r} for classification; "
                f"give one such as {', '.join(near)}."
            )
    if not train:
        raise UserError("baselines that are named are trained beside the network; add train=true.")
    return tuple(dict.fromkeys(names))


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
