"""What happens again and again in a run."""

from dataclasses import dataclass

from nas_lightning.errors import UserError, is_number
from nas_lightning.schedules.base import whole_epochs


@dataclass(frozen=True)
class Recurrence:
    """After epoch `start` and every `interval` epochs from there, in a run of `epochs` epochs.

    Both are epochs (int) or shares of the run (float); an interval is one epoch at least. group: whose settings they are, for
    the UserError.

    >>> [Recurrence("decision", 9, 5, 50).count(epoch) for epoch in (0, 9, 10, 14, 15, 49)]
    [0, 0, 1, 1, 2, 8]
    """

    group: str
    start: int | float
    interval: int | float
    epochs: int

    def __post_init__(self) -> None:
        for name, value, least in (("start", self.start, 0), ("interval", self.interval, 1)):
            if not is_number(value) or not (value >= least if isinstance(value, int) else 0 <= value <= 1):
                raise UserError(
                    f"{self.group}.{name} must be a number of epochs of at least {least} or a share of the run such as 0.1, "
                    f"got {value!r}."
                )
        if isinstance(self.start, int) and self.start > 0 and self.first >= self.epochs:
            raise UserError(
                f"{self.group}.start={self.start} comes too late in a run of trainer.max_epochs={self.epochs}; give an earlier "
                "one, or a share of the run such as 0.2."
            )

    @property
    def first(self) -> int:
        """The epoch that begins after the first time."""
        return whole_epochs(self.start, self.epochs) + 1

    @property
    def every(self) -> int:
        return max(1, whole_epochs(self.interval, self.epochs))

    def count(self, epoch: int) -> int:
        """How many times there have been when `epoch` begins."""
        return 0 if epoch < self.first else (epoch - self.first) // self.every + 1

    def is_due(self, epoch: int) -> bool:
        """Whether one was after the epoch before `epoch`."""
        return epoch >= self.first and (epoch - self.first) % self.every == 0
