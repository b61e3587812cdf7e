"""Learning-rate schedules that torch does not have; all change once an epoch."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from nas_lightning.errors import UserError


def linear_decay(optimizer: Optimizer, epochs: int, warmup: int = 5, tail: int = 5) -> LambdaLR:
    """PC-DARTS' and DrNAS' rate for ImageNet, times the initial one, in epoch e of E.

    (e + 1) / warmup for the first `warmup` epochs (of the published programs only with batches above 256), then
    (E - tail - e) / (E - tail), and in the last `tail` epochs (E - e) / (tail * (E - tail)).
    """
    if warmup < 0 or tail < 1 or epochs <= tail:
        raise UserError(
            f"recipe.scheduler needs warmup >= 0, tail >= 1 and trainer.max_epochs > tail, got warmup={warmup}, tail={tail}, "
            f"trainer.max_epochs={epochs}; change one of them."
        )

    def factor(epoch: int) -> float:
        if epoch < warmup:
            return (epoch + 1) / warmup
        if epochs - epoch > tail:
            return (epochs - tail - epoch) / (epochs - tail)
        return max(epochs - epoch, 0) / (tail * (epochs - tail))

    return LambdaLR(optimizer, factor)
