"""The half steps that are measured: ours and the per-edge reference's, over the same weights, for each search space.

One bilevel step is one weight step (forward, backward to the weights) and one architecture step (forward, backward to
alpha). Optimiser updates are left out: they are the same few milliseconds for both. The reference computes every operation
in every step, and in the architecture step the weights' gradients too, as the field's published implementations do.

Letters: E edges, O operations.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.reference import ReferenceSupernet
from nas_lightning.banks import EdgeWeights
from nas_lightning.spaces import NB201
from nas_lightning.spaces.base import CellSpec

Step = Callable[[], None]
Betas = Mapping[str, Tensor]

SIDES = ("ours", "reference")
ARCHITECTURE = "architecture step"
WEIGHT_STEPS = {
    "weight step, dense beta": "dense",
    "weight step, half of beta negligible": "half",
    "weight step, one-hot beta": "one-hot",
}
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Size:
    """C, N and batch of images of `side` pixels; `cells` is N of NAS-Bench-201, the number of cells of other spaces."""

    channels: int = 16
    cells: int = 5
    batch: int = 64
    side: int = 32


class Networks(NamedTuple):
    """`reference`(x, beta_EO of each cell type) computes what `supernet` does; `chosen`: the one-hot beta's operations."""

    cells: Mapping[str, CellSpec]
    supernet: nn.Module
    reference: nn.Module
    forward_reference: Callable[[Tensor, Betas], Tensor]
    chosen: Mapping[str, Sequence[int]]


def _nb201(size: Size) -> Networks:
    space = NB201(C=size.channels, N=size.cells)
    supernet = space.supernet(10)
    reference = ReferenceSupernet(supernet)
    return Networks(
        space.cells, supernet, reference, lambda x, betas: reference(x, betas["cell"]), {"cell": (3, 1, 3, 2, 4, 3)}
    )


SPACES: dict[str, Callable[[Size], Networks]] = {"nb201": _nb201}


def weightings(networks: Networks, logits: Betas) -> dict[str, dict[str, Tensor]]:
    """The constant betas of the weight steps: all operations, every second one, one an edge."""
    dense = {name: torch.softmax(alpha.detach(), -1) for name, alpha in logits.items()}
    half = {}
    for name, beta_EO in dense.items():
        edges, operations = (torch.arange(count) for count in beta_EO.shape)
        kept = beta_EO * ((edges[:, None] + operations) % 2 == 0)
        half[name] = kept / kept.sum(-1, keepdim=True)
    one_hot = {
        name: F.one_hot(torch.tensor(chosen), dense[name].shape[1]).float() for name, chosen in networks.chosen.items()
    }
    return {"dense": dense, "half": half, "one-hot": one_hot}


class HalfSteps:
    """Everything that is measured at one size: `run[side][half step]()` runs one of them."""

    def __init__(self, space: str, size: Size, precision: str) -> None:
        torch.manual_seed(0)
        self._networks = SPACES[space](size)
        self._dtype = PRECISIONS[precision]
        self._x, self._y = torch.randn(size.batch, 3, size.side, size.side), torch.randint(10, (size.batch,))
        self._x_last = self._x.contiguous(memory_format=torch.channels_last)
        cells = self._networks.cells
        self._logits = {name: (1e-3 * torch.randn(spec.mask_EO.shape)).requires_grad_() for name, spec in cells.items()}
        betas = weightings(self._networks, self._logits)
        self.run: dict[str, dict[str, Step]] = {
            "ours": {name: lambda beta=betas[kind]: self._our_weights(beta) for name, kind in WEIGHT_STEPS.items()},
            "reference": {
                name: lambda beta=betas[kind]: self._reference_weights(beta) for name, kind in WEIGHT_STEPS.items()
            },
        }
        self.run["ours"][ARCHITECTURE] = self._our_alpha
        self.run["reference"][ARCHITECTURE] = self._reference_alpha
        self._discrete = betas["one-hot"]

    def _loss(self, forward: Callable[[], Tensor], y: Tensor) -> Tensor:
        # As Lightning's bf16-mixed does. No cache: it would hand the casts of old weights to the next half step.
        with torch.autocast("cpu", self._dtype, self._dtype is not None, cache_enabled=False):
            return F.cross_entropy(forward(), y)

    def _ours(self, weights: Mapping[str, EdgeWeights]) -> Tensor:
        return self._loss(lambda: self._networks.supernet(self._x_last, weights), self._y)

    def _reference(self, betas: Betas) -> Tensor:
        self._networks.reference.zero_grad()
        return self._loss(lambda: self._networks.forward_reference(self._x, betas), self._y)

    def _our_weights(self, betas: Betas) -> None:
        self._networks.supernet.zero_grad()
        self._ours({name: EdgeWeights(beta, (beta > 0).tolist()) for name, beta in betas.items()}).backward()

    def _our_alpha(self) -> None:
        cells = self._networks.cells
        weights = {
            name: EdgeWeights(torch.softmax(alpha, -1), cells[name].candidates) for name, alpha in self._logits.items()
        }
        torch.autograd.grad(self._ours(weights), list(self._logits.values()))

    def _reference_weights(self, betas: Betas) -> None:
        self._reference(betas).backward()

    def _reference_alpha(self) -> None:
        self._reference({name: torch.softmax(alpha, -1) for name, alpha in self._logits.items()}).backward()

    @torch.inference_mode()
    def validate(self, images: int) -> None:
        """One batch of the discretised supernet's validation."""
        x = torch.randn(images, *self._x.shape[1:])
        weights = {name: EdgeWeights(beta, beta.bool().tolist()) for name, beta in self._discrete.items()}
        self._loss(lambda: self._networks.supernet(x, weights), torch.zeros(images, dtype=torch.long))
