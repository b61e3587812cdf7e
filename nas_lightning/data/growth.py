"""Batches that grow while a search decides edge after edge."""

from dataclasses import dataclass

from nas_lightning.errors import check_whole
from nas_lightning.schedules.recurrence import Recurrence


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
        _ = self._recurrence

    @property
    def _recurrence(self) -> Recurrence:
        return Recurrence("data.batch_growth", self.start, self.interval, self.epochs)

    def __call__(self, epoch: int) -> int:
        """Images more than at first in the batches of `epoch`, from 0."""
        return self.images * min(self.times, self._recurrence.count(epoch))

    def steps(self) -> list[int]:
        """The epochs that begin with larger batches than the one before."""
        return [self._recurrence.first + self._recurrence.every * number for number in range(self.times)]
