"""alpha as it was drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nas_lightning.bilevel.base import Batch, Lookahead, Losses, Order, Outputs


@dataclass(frozen=True)
class Fixed:
    """No architecture step: the supernet is trained at alpha's start (DARTS-PT's "fixed" or "blank", arXiv 2108.04392).

    Nothing of a validation batch is used or logged.
    """

    looks_ahead: ClassVar[bool] = False
    order: ClassVar[Order] = "weights_first"
    batches: ClassVar[tuple[str, ...]] = ()

    def alpha_gradients(
        self, losses: Losses, batches: Mapping[str, Batch], drawn: Mapping[str, Tensor], ahead: Lookahead
    ) -> Outputs:
        raise NotImplementedError("there is no architecture step")
