"""How the weights' rate falls during a search, where torch has no schedule for it."""

import torch
from torch.optim.lr_scheduler import MultiStepLR

from nas_lightning.errors import UserError, is_number
from nas_lightning.schedules.base import is_start, whole_epochs


def lowered(optimizer: torch.optim.Optimizer, epochs: int, after: int | float, share: float = 0.125) -> MultiStepLR:
    """The whole rate for the first epochs, `share` of it, in (0, 1], from then on.

    In EDD's reduced searches 3x3 convolutions are pushed down at the whole rate once the edges are being decided, and up at
    an eighth of it (`results/final_cell_rates`).

    epochs: the run's. after: a number of epochs, or a fraction of the run. UserError for other values.
    """
    if not (is_number(share) and 0 < share <= 1):
        raise UserError(f"lr.share must be more than 0 and at most 1, got {share!r}.")
    if not is_start(after):
        raise UserError(f"lr.after must be a number of epochs or a fraction of the run, got {after!r}.")
    return MultiStepLR(optimizer, [whole_epochs(after, epochs)], share)
