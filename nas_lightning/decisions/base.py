"""What takes candidates away during a search.

Letters: E edges, O operations.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from nas_lightning.relaxations.view import View

State = dict[str, Any]
"""What a decision remembers from epoch to epoch: plain data, as JSON takes it."""

Masks = Mapping[str, Tensor]
"""Cell type -> bool [E, O]."""


class Probe(Protocol):
    """The supernet as it is at other weights of its operations, evaluated when called."""

    def __call__(self, betas: Mapping[str, Tensor]) -> tuple[float, float]:
        """(mean loss, accuracy as a fraction) on the validation half at betas[cell] [E, O]; weights of 0 are not computed."""
        ...


class Decision(Protocol):
    """Asked at the start of every epoch but the run's first. Settings are frozen; what it remembers is `state`."""

    def __call__(
        self, epoch: int, epochs: int, view: View, probe: Probe, state: State, generator: torch.Generator
    ) -> tuple[Masks, State]:
        """New masks of the cell types that change, each within the old one, and the state for the next epoch.

        epoch: of the `epochs` of the stage, or of the run, from 0 on; so many are done. view: copies on the CPU. state: {} at
        first. generator: for what is random, the same on every rank and in an interrupted run. A row of False drops the edge.
        """
        ...


def undecided(mask_EO: Tensor) -> list[int]:
    """The edges with more than one candidate left."""
    return [edge for edge, count in enumerate(mask_EO.sum(-1).tolist()) if count > 1]


def only(mask_EO: Tensor, edge: int, operation: int) -> Tensor:
    """The mask with `operation` alone on `edge`."""
    decided = mask_EO.clone()
    decided[edge] = False
    decided[edge, operation] = True
    return decided


def within(beta_EO: Tensor, mask_EO: Tensor) -> Tensor:
    """beta once the mask is narrowed: decided edges have weight 1 on what is left, dropped ones none."""
    decided_E1 = mask_EO.sum(-1, keepdim=True) == 1
    return torch.where(decided_E1, mask_EO.to(beta_EO.dtype), beta_EO * mask_EO)
