"""What a network costs. Imports no torch: of NAS-Bench-201's architectures it follows from their text."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from nas_lightning.genotypes.base import Genotype

KINDS = {"params": "parameters", "macs": "multiply-adds", "latency_ms": "ms for an image"}
"""What a budget may limit -> its unit."""

_KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}
"""Operation -> places of its kernel; the others have no weights."""


@dataclass(frozen=True)
class Cost:
    """params: without the auxiliary head, whose are `auxiliary_params`. macs: multiply-adds of convolutions, linear and
    attention layers for one image in use; biases, batch norms, pools and activations do not count."""

    params: int
    auxiliary_params: int
    macs: int


def in_units(kind: str, cost: float) -> str:
    """Of one of `KINDS`: "1,234 parameters"."""
    return f"{cost:.2f} {KINDS[kind]}" if kind == "latency_ms" else f"{cost:,.0f} {KINDS[kind]}"


def budget_sentence(record: Mapping[str, Any]) -> str:
    """The part `budget` of a report in words: "1,234 parameters of 2,000, with C=12 instead of 16"."""
    costs, limits = record["costs"], record["limits"]
    parts = [f"{in_units(kind, cost)} of {in_units(kind, limits[kind]).split()[0]}" for kind, cost in costs.items()]
    narrowed = "" if record["C"] == record["C_asked"] else f" instead of {record['C_asked']}"
    is_beyond = any(costs[kind] > limit for kind, limit in limits.items())
    beyond = f" and {'still ' if narrowed else ''}beyond it" if is_beyond else ""
    return f"{', '.join(parts)}, with C={record['C']}{narrowed}{beyond}"


def nb201_cost(genotype: Genotype, channels: int, cells_per_stage: int, num_classes: int, side: int) -> Cost:
    """What `training.cost.network_cost` counts in the network of NAS-Bench-201; `side`, in pixels, is a multiple of 4.

    C channels: a stem of 3x3; three stages of N cells with C, 2C and 4C; between them a block of two 3x3 and a 1x1 beside
    them; a linear layer. A batch norm has two parameters a channel and follows each convolution but the 1x1 of the blocks.
    """
    count = Counter(choice.operation for choice in genotype.cells["cell"])
    places = cells_per_stage * sum(count[operation] * kernel for operation, kernel in _KERNELS.items())
    norms = cells_per_stage * sum(count[operation] for operation in _KERNELS)
    widths = (channels, 2 * channels, 4 * channels)
    pixels = [(side // 2**stage) ** 2 for stage in range(3)]
    weights = [27 * channels, *(places * width**2 for width in widths)]
    macs = [27 * channels * pixels[0], *(places * width**2 * area for width, area in zip(widths, pixels, strict=True))]
    for (narrow, wide), area in zip(pairwise(widths), pixels[1:], strict=True):
        weights.append(wide * (9 * narrow + 9 * wide + narrow))
        macs.append(weights[-1] * area)
    normed = channels + sum(norms * width for width in widths) + 2 * sum(widths[1:]) + widths[-1]
    linear = widths[-1] * num_classes
    return Cost(sum(weights) + 2 * normed + linear + num_classes, 0, sum(macs) + linear)
