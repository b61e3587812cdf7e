"""Which operations the weight steps compute, decided on the host without waiting for the device.

Letters: E edges, O operations.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Alphas = Mapping[str, Tensor]
# (cell type, alpha_EO on the CPU, how far each entry may have moved since) -> bool [E, O]
Support = Callable[[str, Tensor, float], Tensor]


class ActiveOperations:
    """The operations of each cell type whose weight beta is not negligible; the others are left out of a weight step.

    Starts anew each epoch and only grows within one, so that what is captured or compiled for a set stays of use. The
    host sees alpha as it was `lag` architecture steps ago: 0 on a CPU; 1 elsewhere, where the copy of the step before
    has arrived while the device still works on the last one. `support` is asked with the distance that alpha can have
    gone since, so no operation is missed.

    share: of the candidate operations, how many were computed in the weight steps of this epoch so far.
    """

    def __init__(self, candidates: Mapping[str, Sequence[Sequence[bool]]], support: Support, lag: int) -> None:
        self._candidates = {name: torch.tensor(rows, dtype=torch.bool) for name, rows in candidates.items()}
        self._support = support
        self._lag = lag
        self._copies: deque[tuple[dict[str, Tensor], torch.cuda.Event | None]] = deque()
        self._sets = {name: torch.zeros_like(mask) for name, mask in self._candidates.items()}
        self._computed = self._possible = 0
        self.lists: dict[str, list[list[bool]]] = {}

    def restart(self, alphas: Alphas, bound: float) -> None:
        """At an epoch's start. bound: of the distance an entry of alpha moves in one architecture step, may be inf."""
        self._copies.clear()
        self._computed = self._possible = 0
        self._sets = {name: torch.zeros_like(mask) for name, mask in self._candidates.items()}
        self._grow({name: alpha.detach().cpu() for name, alpha in alphas.items()}, bound)

    def follow(self, alphas: Alphas, bound: float) -> None:
        """After an architecture step, so that the next weight step computes what it must."""
        self._copies.append(_copy(alphas))
        while len(self._copies) > self._lag:
            copies, arrived = self._copies.popleft()
            if arrived is not None:
                arrived.synchronize()
            self._grow(copies, bound)

    def count(self) -> None:
        """Take note of one weight step."""
        self._computed += sum(int(active.sum()) for active in self._sets.values())
        self._possible += sum(int(mask.sum()) for mask in self._candidates.values())

    @property
    def share(self) -> float:
        return self._computed / self._possible if self._possible else 1.0

    def _grow(self, alphas: Alphas, bound: float) -> None:
        drift = self._lag * bound if self._lag else 0.0  # 0 * inf is not 0
        for name, alpha in alphas.items():
            self._sets[name] |= self._support(name, alpha, drift) & self._candidates[name]
        self.lists = {name: active.tolist() for name, active in self._sets.items()}


def _copy(alphas: Alphas) -> tuple[dict[str, Tensor], torch.cuda.Event | None]:
    """alpha on the CPU, and when it will be there."""
    if any(not alpha.is_cuda for alpha in alphas.values()):
        return {name: alpha.detach().to("cpu", copy=True) for name, alpha in alphas.items()}, None
    copies = {name: torch.empty(alpha.shape, dtype=alpha.dtype, pin_memory=True) for name, alpha in alphas.items()}
    for name, alpha in alphas.items():
        copies[name].copy_(alpha.detach(), non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()
    return copies, arrived


def step_bound(optimizer: torch.optim.Optimizer) -> float:
    """How far one step of `optimizer` can move an entry of a parameter; inf where no bound is known.

    Adam moves by lr * m^ / sqrt(v^). By Cauchy-Schwarz |m| <= (1-b1) / sqrt((1-b2)(1-b1^2/b2)) * sqrt(v), and the bias
    corrections change that by at most max(1, sqrt(1-b2) / (1-b1)): 18 lr for betas (0.5, 0.999).
    """
    if type(optimizer) is not torch.optim.Adam:
        return math.inf
    return max(_adam_bound(group) for group in optimizer.param_groups)


def _adam_bound(group: Mapping[str, Any]) -> float:
    first, second = group["betas"]
    if first**2 >= second or group.get("decoupled_weight_decay"):
        return math.inf
    ratio = (1 - first) / math.sqrt((1 - second) * (1 - first**2 / second))
    return float(group["lr"] * ratio * max(1.0, math.sqrt(1 - second) / (1 - first)))
