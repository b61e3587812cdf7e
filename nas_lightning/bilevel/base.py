"""How alpha's gradient is formed, of which of a search's two losses and on which batch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from nas_lightning.errors import UserError

Batch = tuple[Tensor, Tensor]
"""x [B, 3, H, W] and class indices y [B]."""

Outputs = tuple[Tensor | None, ...]

Order = Literal["weights_first", "arch_first"]
"""Of the half steps: NAS-Bench-201's programs train the weights first, those of the DARTS space alpha."""


class Lookahead(Protocol):
    """What the weights' optimiser would do.

    rate: scalar tensor, its learning rate in this epoch.
    """

    @property
    def rate(self) -> Tensor: ...

    def __call__(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """The steps that it would take with these gradients of the weights; nothing is moved."""
        ...


class Losses(Protocol):
    """What a bilevel strategy may ask of a search (`supernet.HalfSteps`)."""

    supernet: nn.Module

    def alphas(self) -> list[nn.Parameter]:
        """All architecture parameters."""
        ...

    def passes(self, drawn: Mapping[str, Tensor]) -> Sequence[Mapping[str, Tensor]]:
        """`drawn` for each forward pass of a half step: for a strategy that holds one of them in memory at a time."""
        ...

    def loss(self, batch: Batch, drawn: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(cross entropy, logits), attached to alpha and, unless frozen, to the weights; of all passes, see `over_passes`."""
        ...

    def penalty_term(self) -> Tensor | None:
        """What is added to alpha's loss, attached to alpha; None without a penalty."""
        ...


class Bilevel(Protocol):
    """Settings are frozen.

    order: of the half steps. batches: which parts of a training batch alpha's gradient is made of, "train" and "valid";
    the last one is what `valid_loss` and `valid_accuracy` are logged of; () for no architecture step at all. looks_ahead:
    whether it asks for the optimiser's step.
    """

    looks_ahead: ClassVar[bool]

    @property
    def order(self) -> Order: ...

    @property
    def batches(self) -> tuple[str, ...]: ...

    def alpha_gradients(
        self, losses: Losses, batches: Mapping[str, Batch], drawn: Mapping[str, Tensor], ahead: Lookahead
    ) -> Outputs:
        """(loss, logits, one gradient for each of alpha's parameters); loss without the penalty, both detached.

        Where a half step has several passes (`over_passes`), gradients are the means over them.

        May be captured in a CUDA graph: tensors in, tensors out. Weights and alpha have the same bits afterwards.
        """
        ...


def over_passes(outputs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """(loss, logits) of each pass of a half step -> their mean loss, and the logits [B, K] of one or [M, B, K] of M passes."""
    if len(outputs) == 1:
        return outputs[0]
    losses, logits = zip(*outputs, strict=True)
    return torch.stack(losses).mean(), torch.stack(logits)


def check_order(order: object) -> None:
    if order not in ("weights_first", "arch_first"):
        raise UserError(f"bilevel.order must be weights_first or arch_first, got {order!r}.")


def filled(gradients: Sequence[Tensor | None], of: Sequence[Tensor]) -> list[Tensor]:
    """Zeros where nothing led to a parameter."""
    return [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, of, strict=True)]


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """What is computed within keeps nothing for gradients of the parameters."""
    parameters = list(module.parameters())
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


@contextmanager
def restored(tensors: Iterable[Tensor]) -> Iterator[None]:
    """They have the same bits afterwards as before: weights that are moved, running statistics of what only measures."""
    tensors = list(tensors)
    kept = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        for tensor, bits in zip(tensors, kept, strict=True):
            tensor.data.copy_(bits)  # a graph that is kept has saved them as they are again: no new version
