"""The half steps that are measured: ours and the per-edge reference's, over the same weights, for each search space.

One bilevel step is one weight step (forward, backward to the weights) and one architecture step (forward, backward to
alpha). Optimiser updates are left out: they are the same few milliseconds for both. The reference computes every operation
in every step, and in the architecture step the weights' gradients too, as the field's published implementations do.
"pc_darts" is the DARTS space with a quarter of the channels mixed and weights of the edges.

Letters: E edges, O operations.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_lightning.relaxations import Softmax
from nas_lightning.spaces import DARTS, NB201, SearchSpace
from nas_lightning.spaces.weights import EdgeWeights
from nas_lightning.supernet.architecture import Architecture
from speed.reference import ReferenceSupernet
from speed.reference_darts import ReferenceDartsSupernet

Step = Callable[[], None]
Betas = Mapping[str, Tensor]
Edges = Mapping[str, Tensor] | None

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
    """C, N and batch of images of `side` pixels; `cells` is N of NAS-Bench-201, the number of cells of the DARTS space."""

    channels: int = 16
    cells: int = 5
    batch: int = 64
    side: int = 32


class Networks(NamedTuple):
    """`reference`(x, beta_EO, weights of the edges, each of every cell type) computes what `supernet` does.

    chosen: the one-hot beta's operations.
    """

    space: SearchSpace
    supernet: nn.Module
    reference: nn.Module
    forward_reference: Callable[[Tensor, Betas, Edges], Tensor]
    chosen: Mapping[str, Sequence[int]]


def _nb201(size: Size) -> Networks:
    space = NB201(C=size.channels, N=size.cells)
    supernet = space.supernet(10)
    reference = ReferenceSupernet(supernet)
    return Networks(
        space, supernet, reference, lambda x, betas, _: reference(x, betas["cell"]), {"cell": (3, 1, 3, 2, 4, 3)}
    )


def _darts(size: Size, partial: int = 1) -> Networks:
    space = DARTS(C=size.channels, num_cells=size.cells, none=True, partial=partial, edge_weights=partial > 1)
    supernet = space.supernet(10)
    reference = ReferenceDartsSupernet(supernet, space.cells)
    drawn = torch.Generator().manual_seed(0)
    chosen = {name: torch.randint(1, 8, (14,), generator=drawn).tolist() for name in space.cells}
    return Networks(space, supernet, reference, reference, chosen)


def _pc_darts(size: Size) -> Networks:
    return _darts(size, partial=4)


SPACES: dict[str, Callable[[Size], Networks]] = {"nb201": _nb201, "darts": _darts, "pc_darts": _pc_darts}


def weightings(betas: Betas, chosen: Mapping[str, Sequence[int]]) -> dict[str, dict[str, Tensor]]:
    """The constant betas of the weight steps: all operations, every second one, one an edge."""
    dense = {name: beta_EO.detach() for name, beta_EO in betas.items()}
    half = {}
    for name, beta_EO in dense.items():
        edges, operations = (torch.arange(count) for count in beta_EO.shape)
        kept = beta_EO * ((edges[:, None] + operations) % 2 == 0)
        half[name] = kept / kept.sum(-1, keepdim=True)
    one_hot = {name: F.one_hot(torch.tensor(row), dense[name].shape[1]).float() for name, row in chosen.items()}
    return {"dense": dense, "half": half, "one-hot": one_hot}


class MeasuredSteps:
    """Everything that is measured at one size: `run[side][half step]()` runs one of them."""

    def __init__(self, space: str, size: Size, precision: str) -> None:
        torch.manual_seed(0)
        self._networks = networks = SPACES[space](size)
        self._dtype = PRECISIONS[precision]
        self._x, self._y = torch.randn(size.batch, 3, size.side, size.side), torch.randint(10, (size.batch,))
        self._x_last = self._x.contiguous(memory_format=torch.channels_last)
        self._architecture = Architecture(networks.space.cells, Softmax(), torch.Generator().manual_seed(0))
        self._betas = betas = weightings(self._architecture.beta(), networks.chosen)
        self.run: dict[str, dict[str, Step]] = {
            "ours": {name: lambda beta=betas[kind]: self._our_weights(beta) for name, kind in WEIGHT_STEPS.items()},
            "reference": {
                name: lambda beta=betas[kind]: self._reference_weights(beta) for name, kind in WEIGHT_STEPS.items()
            },
        }
        self.run["ours"][ARCHITECTURE] = self._our_alpha
        self.run["reference"][ARCHITECTURE] = self._reference_alpha

    def _loss(self, forward: Callable[[], Tensor], y: Tensor) -> Tensor:
        # As Lightning's bf16-mixed does. No cache: it would hand the casts of old weights to the next half step.
        with torch.autocast("cpu", self._dtype, self._dtype is not None, cache_enabled=False):
            return F.cross_entropy(forward(), y)

    def _edges(self) -> dict[str, Tensor]:
        """Of each cell type that has them, the weights of the edges as wholes."""
        weights = {name: self._architecture.edge_weights(name) for name in self._networks.space.cells}
        return {name: edge_E for name, edge_E in weights.items() if edge_E is not None}

    def _constant(self, betas: Betas) -> dict[str, EdgeWeights]:
        with torch.no_grad():
            edges = self._edges()
            return {name: EdgeWeights(beta, (beta > 0).tolist(), edges.get(name)) for name, beta in betas.items()}

    def _ours(self, weights: Mapping[str, EdgeWeights]) -> Tensor:
        return self._loss(lambda: self._networks.supernet(self._x_last, weights), self._y)

    def _reference(self, betas: Betas, edges: Edges) -> Tensor:
        self._networks.reference.zero_grad()
        return self._loss(lambda: self._networks.forward_reference(self._x, betas, edges or None), self._y)

    def _our_weights(self, betas: Betas) -> None:
        self._networks.supernet.zero_grad()
        self._ours(self._constant(betas)).backward()

    def _our_alpha(self) -> None:
        self._networks.supernet.requires_grad_(False)
        weights = self._architecture.weights(self._architecture.beta(), self._architecture.candidates)
        torch.autograd.grad(self._ours(weights), list(self._architecture.parameters()))
        self._networks.supernet.requires_grad_(True)

    def _reference_weights(self, betas: Betas) -> None:
        with torch.no_grad():
            edges = self._edges()
        self._reference(betas, edges).backward()

    def _reference_alpha(self) -> None:
        self._reference(self._architecture.beta(), self._edges()).backward()

    @torch.inference_mode()
    def validate(self, images: int) -> None:
        """One batch of the discretised supernet's validation."""
        x = torch.randn(images, *self._x.shape[1:])
        weights = self._constant(self._betas["one-hot"])
        self._loss(lambda: self._networks.supernet(x, weights), torch.zeros(images, dtype=torch.long))
