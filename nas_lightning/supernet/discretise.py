"""What the discretised accuracy of each epoch is measured on: the weights of the operations in a validation forward.

`derived` is the architecture itself, `without_skips` that without its skip connections, `with_auxiliary` that beside those of
the supernet. The others are how published programs measure it, for comparison with their curves.

Letters: E edges, O operations.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.relaxations.base import negligible
from nas_lightning.spaces.weights import EdgeWeights
from nas_lightning.supernet.architecture import Architecture

COLD = 1e-4
"""The temperature at which the EDD authors' programs measure."""

Discretise = Callable[[Architecture, Genotype], dict[str, EdgeWeights]]
"""(architecture, what it stands for) -> the weights that a supernet is called with"""


def derived(architecture: Architecture, genotype: Genotype) -> dict[str, EdgeWeights]:
    """Weight 1 on the edges and operations of the genotype, and only those."""
    return architecture.one_hot(genotype)


@torch.no_grad()
def cold(architecture: Architecture, genotype: Genotype) -> dict[str, EdgeWeights]:
    """beta at t = 1e-4 on every edge: nearly each edge's strongest operation, two where alphas are close, no edge left out
    (chaoji90/PCDEDD, the curves of figure 4B in arXiv 2306.06855). A relaxation that does not look at t stays as it is."""
    betas = {name: cell.at(COLD).probabilities_EO for name, cell in architecture.view().items()}
    return {
        name: architecture.of_operations(name, beta_EO, (beta_EO > negligible(beta_EO.dtype)).tolist())
        for name, beta_EO in betas.items()
    }


@torch.no_grad()
def gaea_artefact(architecture: Architecture, genotype: Genotype) -> dict[str, EdgeWeights]:
    """beta_max * operation(x) + the sum of the edge's other betas, a constant at every pixel.

    The "discrete" forward of liamcli/gaea_release (nasbench_201/model_search.py) hands soft weights to GDAS' cell, which
    adds the weights of the operations that are not taken: nothing where they are those of a drawn one-hot, much here.
    """
    weights = {}
    for name, cell in architecture.view().items():
        beta_EO = cell.probabilities_EO
        best_EO = torch.nn.functional.one_hot(beta_EO.argmax(-1), beta_EO.shape[-1]).bool() & cell.mask_EO
        others_E = (beta_EO * ~best_EO).sum(-1)
        weights[name] = architecture.of_operations(name, beta_EO * best_EO, best_EO.tolist(), others_E)
    return weights


def without_skips(architecture: Architecture, genotype: Genotype) -> dict[str, EdgeWeights]:
    """`derived` with its skip connections off: what the others do alone. Ours, for `selection=best_discrete`."""
    left = {
        name: tuple(choice for choice in choices if choice.operation != "skip_connect")
        for name, choices in genotype.cells.items()
    }
    return architecture.one_hot(replace(genotype, cells=left))


def with_auxiliary(architecture: Architecture, genotype: Genotype) -> dict[str, EdgeWeights]:
    """`derived` beside the auxiliary skip connections of every edge, as the supernet is trained.

    Ours, for methods that keep them to the end: their supernet has never been without, and `derived` is near chance there.
    """
    return architecture.one_hot(genotype, auxiliary=True)


_WAYS: dict[str, Discretise] = {
    way.__name__: way for way in (derived, cold, gaea_artefact, without_skips, with_auxiliary)
}


def discretisation(name: str) -> Discretise:
    if name not in _WAYS:
        raise UserError(f"model.discretise must be one of {', '.join(_WAYS)}, got {name!r}.")
    return _WAYS[name]
