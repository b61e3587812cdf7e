"""Batches that grow while a search decides edge after edge."""

from dataclasses import dataclass

from nas_lightning.errors import check_whole


@dataclass(frozen=True)
class BatchGrowth:
    """`images` more in a batch after epoch `start` and after every `interval` epochs from there, `times` times in all.

    SGAS (arXiv 1912.00195, lightaime/sgas) adds 8 after each epoch with a decision, as far as fewer operations leave memory.
    A function of the epoch alone, so that an interrupted search goes on with the same batches.

    >>> [BatchGrowth(images=8, start=9, interval=5, times=8)(epoch) for epoch in (0, 9, 10, 14, 15, 45, 49)]
    [0, 0, 8, 8, 16, 64, 64]
    """

    images: int
    start: int
    interval: int
    times: int

    def __post_init__(self) -> None:
        for name, least in (("images", 1), ("start", 0), ("interval", 1), ("times", 1)):
            check_whole(f"data.batch_growth.{name}", getattr(self, name), least)

    def __call__(self, epoch: int) -> int:
        """Images more than at first in the batches of `epoch`, from 0."""
        since = epoch - 1 - self.start
        return 0 if since < 0 else self.images * min(self.times, since // self.interval + 1)

    def epochs(self) -> list[int]:
        """The epochs that begin with larger batches than the one before."""
        return [self.start + 1 + self.interval * number for number in range(self.times)]
