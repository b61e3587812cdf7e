"""What is added to alpha's loss."""

from typing import Protocol

from torch import Tensor

from nas_lightning.relaxations.view import View


class Penalty(Protocol):
    """A term of alpha's loss, never of the weights'. Settings are frozen.

    A class that reads alpha as the parameters of one relaxation names it in its attribute `relaxation`; beside others it is
    refused.
    """

    def __call__(self, view: View, progress: Tensor) -> Tensor:
        """The term, a scalar attached to alpha, already weighted.

        A pure function of tensors: no host value, no random number, no side effect; it may be captured in a CUDA graph.
        view: on the device, attached to alpha. progress: scalar in [0, 1], the share of the run's epochs that is done.
        """
        ...
