"""Which operations a half step computes, decided on the host without waiting for the device where that can be.

Letters: E edges, O operations.
"""

import math
from collections import deque
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch import Tensor

from nas_lightning.supernet.architecture import Architecture, Lists

Alphas = Mapping[str, Tensor]


class Skipping:
    """The operations of each cell type that a half step computes; the others are left out as if their weight were 0.

    | relaxation's `skips` | `dense` | weight step | architecture step |
    | --- | --- | --- | --- |
    | by_epoch | no | a set that starts anew each epoch and only grows within one | all candidates |
    | by_draw | no | those of this draw | those of this draw |
    | never, or any | yes | all candidates | all candidates |
    | by_epoch with `statistics` | no | all candidates | all candidates |

    dense: whether something in the step wants every candidate: a perturbation of beta, or cells that were compiled. What
    is captured or compiled for a growing set stays of use. The host sees alpha as it was `lag` architecture steps ago: 0 on
    a CPU; 1 elsewhere, where the copy of the step before has arrived while the device still works on the last one. `support`
    is asked with the distance that alpha can have gone since, so no operation is missed. The operations of a draw follow
    from alpha as it is now: that waits for the device, once a half step.

    statistics: whether the supernet keeps running statistics: those of an operation of negligible weight move all the same.

    share: of the candidate operations, how many a pass of the weight steps of this epoch has computed so far.
    """

    def __init__(
        self, architecture: Architecture, dense: bool = False, lag: int | None = None, statistics: bool = False
    ) -> None:
        self._architecture = architecture
        self.dense = dense
        self._statistics = statistics
        self._given_lag = lag
        self._lag = lag or 0
        self._copies: deque[tuple[dict[str, Tensor], torch.cuda.Event | None]] = deque()
        self._grown: Lists = {}
        self._grown_version = 0
        self._sets: dict[str, Tensor] = {}
        self._computed = self._possible = 0

    def restart(self, bound: float) -> None:
        """At an epoch's start. bound: of the distance an entry of alpha moves in one architecture step, may be inf."""
        self._copies.clear()
        if self._given_lag is None:  # here, since a module is built on the CPU and moved to its device afterwards
            self._lag = int(any(alpha.is_cuda for alpha in self._architecture.alpha.values()))
        self._computed = self._possible = 0
        self._sets, self._grown = {}, self._grown if self._skips == "by_epoch" else {}
        if self._skips == "by_epoch":
            self._grow({name: alpha.detach().cpu() for name, alpha in self._architecture.alpha.items()}, bound)

    def follow(self, bound: float) -> None:
        """After an architecture step, so that the next weight step computes what it must."""
        if self._skips != "by_epoch":
            return
        self._copies.append(_copy(dict(self._architecture.alpha.items())))
        while len(self._copies) > self._lag:
            copies, arrived = self._copies.popleft()
            if arrived is not None:
                arrived.synchronize()
            self._grow(copies, bound)

    def weight_step(self, drawn: Mapping[str, Tensor]) -> Lists:
        """What a weight step computes, with what the relaxations drew for it; before the first epoch all candidates."""
        return self._grown or self.alpha_step(drawn)

    def alpha_step(self, drawn: Mapping[str, Tensor]) -> Lists:
        """What an architecture step computes: dL/dbeta is wanted even where beta is 0, unless beta is a draw."""
        if self._skips != "by_draw":
            return self._architecture.candidates
        alphas = {name: alpha.detach().cpu() for name, alpha in self._architecture.alpha.items()}
        return {name: self._support(name, alpha, 0.0, drawn.get(name)).tolist() for name, alpha in alphas.items()}

    @property
    def key(self) -> Hashable:
        """Another one whenever a step computes another set: captured graphs are known by it."""
        return self._architecture.version, self._grown_version

    def count(self, drawn: Mapping[str, Tensor]) -> None:
        """Take note of the passes of one weight step, with what was drawn for it."""
        for part in self._architecture.passes(drawn):
            self._computed += sum(sum(map(sum, rows)) for rows in self.weight_step(part).values())
            self._possible += sum(sum(map(sum, rows)) for rows in self._architecture.candidates.values())

    @property
    def share(self) -> float:
        return self._computed / self._possible if self._possible else 1.0

    @property
    def _skips(self) -> str:
        """The most cautious of what the cell types' relaxations say."""
        said = {relaxation.skips for relaxation in self._architecture.relaxations.values()}
        skips = said.pop() if len(said) == 1 and not self.dense else "never"
        return "never" if skips == "by_epoch" and self._statistics else skips

    def _support(self, name: str, alpha_EO: Tensor, drift: float, drawn: Tensor | None = None) -> Tensor:
        """Never empty where a candidate is left, nor true where none is."""
        mask_EO = torch.tensor(self._architecture.candidates[name])
        left_E1 = mask_EO.any(-1, keepdim=True)
        relaxation, temperature = self._architecture.relaxations[name], self._architecture.host_temperature
        noise = None if drawn is None else drawn.cpu()
        return relaxation.support(alpha_EO, mask_EO | ~left_E1, temperature, drift, noise) & mask_EO

    def _grow(self, alphas: Alphas, bound: float) -> None:
        drift = self._lag * bound if self._lag else 0.0  # 0 * inf is not 0
        for name, alpha in alphas.items():
            support = self._support(name, alpha, drift)
            self._sets[name] = self._sets[name] | support if name in self._sets else support
        grown = {name: active.tolist() for name, active in self._sets.items()}
        if grown != self._grown:
            self._grown = grown
            self._grown_version += 1


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
    own = getattr(optimizer, "step_bound", None)  # an optimiser of ours or of a user's may know
    if own is not None:
        return float(own())
    if type(optimizer) is not torch.optim.Adam:
        return math.inf
    return max(_adam_bound(group) for group in optimizer.param_groups)


def _adam_bound(group: Mapping[str, Any]) -> float:
    first, second = group["betas"]
    if first**2 >= second or group.get("decoupled_weight_decay"):
        return math.inf
    ratio = (1 - first) / math.sqrt((1 - second) * (1 - first**2 / second))
    return float(group["lr"] * ratio * max(1.0, math.sqrt(1 - second) / (1 - first)))
