"""Moves the temperature: each epoch starts by asking the schedule, which may look at the entropy of the edges."""

import math
from dataclasses import asdict
from typing import Any

import pytorch_lightning as pl
import torch

from nas_lightning.errors import UserError, brief, is_number
from nas_lightning.schedules import ScheduleState, TemperatureSchedule
from nas_lightning.supernet.module import SupernetModule


class TemperatureUpdate(pl.Callback):
    """At epoch start: observe the architecture, ask `schedule`, set the temperature. The state is checkpointed.

    Logs at epoch end `temperature` t, `decay` d, `updates` k, `entropy` (nats, mean over all edges of softmax(alpha / t))
    and `entropy/<cell>/<edge>`.
    """

    def __init__(self, schedule: TemperatureSchedule) -> None:
        self.schedule = schedule
        self.state = _checked(schedule, schedule.initial())

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.state)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.state = ScheduleState(**state_dict)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # A schedule that looks at the tempered entropy must see it at the temperature of the epoch before.
        assert isinstance(pl_module, SupernetModule)
        pl_module.architecture.set_temperature(self.state.temperature)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SupernetModule)
        architecture = pl_module.architecture
        updated = self.schedule.update(trainer.current_epoch, architecture.observe(), self.state)
        self.state = _checked(self.schedule, updated)
        architecture.set_temperature(self.state.temperature)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SupernetModule)
        by_cell = pl_module.architecture.observe().entropy
        edges = {f"entropy/{cell}/{e}": h for cell, row in by_cell.items() for e, h in enumerate(row)}
        state = {"temperature": self.state.temperature, "decay": self.state.decay, "updates": float(self.state.updates)}
        pl_module.log_dict({"entropy": sum(edges.values()) / len(edges), **state, **edges}, logger=False)


def _checked(schedule: TemperatureSchedule, state: object) -> ScheduleState:
    """`state` as it is; UserError where it is none, or its temperature no positive number in the supernet's precision."""
    name = type(schedule).__name__
    if not isinstance(state, ScheduleState):
        raise UserError(f"sched: {name} gives {brief(state)}, no ScheduleState; see docs/extending.md.")
    t = state.temperature
    if not (is_number(t) and torch.finfo(torch.float32).tiny <= t < math.inf):
        raise UserError(
            f"sched: {name} gives the temperature {brief(t)}; it must be a positive number, above 1e-5 or so."
        )
    return state
