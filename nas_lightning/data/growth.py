"""Batches that grow while a search decides edge after edge."""

from dataclasses import dataclass

from nas_lightning.errors import UserError, check_whole, is_number
from nas_lightning.schedules.base import whole_epochs


@dataclass(frozen=True)
class BatchGrowth:
    """`images` more in a batch after epoch `start` and after every `interval` epochs from there, `times` times in all.

    SGAS (arXiv 1912.00195, lightaime/sgas) adds 8 after each epoch with a decision, as far as fewer operations leave memory.
    A function of the epoch alone, so that an interrupted search goes on with the same batches. start and interval are epochs
    (int) or shares of the run of `epochs` epochs (float), as the decision's.

    >>> [BatchGrowth(images=8, start=9, interval=5, times=8)(epoch) for epoch in (0, 9, 10, 14, 15, 45, 49)]
    [0, 0, 8, 8, 16, 64, 64]
    """

    images: int
    start: int | float
    interval: int | float
    times: int
    epochs: int = 50

    def __post_init__(self) -> None:
        for name in ("images", "times", "epochs"):
            check_whole(f"data.batch_growth.{name}", getattr(self, name), 1)
        for name, value, least in (("start", self.start, 0), ("interval", self.interval, 1)):
            if not is_number(value) or not (value >= least if isinstance(value, int) else 0 <= value <= 1):
                raise UserError(
                    f"data.batch_growth.{name} must be a number of epochs of at least {least} or a share of the run such as "
                    f"0.1, got {value!r}."
                )

    @property
    def _first(self) -> int:
        return whole_epochs(self.start, self.epochs) + 1

    @property
    def _every(self) -> int:
        return max(1, whole_epochs(self.interval, self.epochs))

    def __call__(self, epoch: int) -> int:
        """Images more than at first in the batches of `epoch`, from 0."""
        since = epoch - self._first
        return 0 if since < 0 else self.images * min(self.times, since // self._every + 1)

    def steps(self) -> list[int]:
        """The epochs that begin with larger batches than the one before."""
        return [self._first + self._every * number for number in range(self.times)]
