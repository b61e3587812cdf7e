"""beta-DARTS' regulariser.

Letters: E edges, O operations.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from nas_lightning.errors import UserError
from nas_lightning.ramps import Ramp
from nas_lightning.relaxations.view import View


@dataclass(frozen=True)
class BetaDecay:
    """weight(progress) * mean over all edges of logsumexp(alpha_e) (arXiv 2203.01665, eq. 13 and its code).

    All edges: those of every cell type that have a candidate left. The authors' program for the DARTS space cannot run; a
    sum of both cells' means there is twice the weight. Its gradient is softmax(alpha) / E: it pulls the larger logits down,
    at t = 1 whatever the search's temperature. The authors' weight is 50 * epoch / 100 in a run of 100 epochs.
    """

    weight: Ramp = field(default_factory=lambda: Ramp(0.0, 50.0))

    def __post_init__(self) -> None:
        if not isinstance(self.weight, Ramp):
            raise UserError(f"penalty.weight must be a ramp such as {{start: 0, end: 50}}, got {self.weight!r}.")
        if min(self.weight.start, self.weight.end) < 0:
            raise UserError(
                f"penalty.weight must have ends of 0 or more, got {self.weight.start} and {self.weight.end}."
            )

    def __call__(self, view: View, progress: Tensor) -> Tensor:
        rows = [cell.alpha_EO.masked_fill(~cell.mask_EO, -torch.inf).logsumexp(-1) for cell in view.values()]
        left = torch.cat([cell.mask_EO.any(-1) for cell in view.values()])
        return self.weight(progress) * (torch.where(left, torch.cat(rows), 0.0).sum() / left.sum())
