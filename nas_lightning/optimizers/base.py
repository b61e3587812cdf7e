"""What a config hands to a module: how to make an optimiser, and the schedule of its rate."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
ArchOptimizerFactory = Callable[[Sequence[dict[str, Any]]], torch.optim.Optimizer]
"""Of alpha's parameters in named groups, see `Architecture.parameter_groups`. An optimiser may have `step_bound()`, how far
an entry moves in one step at most, and `keeps_simplex`, true where it keeps rows that are distributions such."""

SchedulerFactory = Callable[[torch.optim.Optimizer], LRScheduler]
