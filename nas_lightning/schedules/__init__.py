"""Temperature schedules: (epoch, what was observed, previous state) to the next state."""

from nas_lightning.schedules.base import Observation, ScheduleState, TemperatureSchedule
from nas_lightning.schedules.cyclic import Cyclic, CyclicLinear
from nas_lightning.schedules.edd import EntropyDynamicDecay
from nas_lightning.schedules.monotone import Constant, Exponential, Linear

__all__ = [
    "Constant",
    "Cyclic",
    "CyclicLinear",
    "EntropyDynamicDecay",
    "Exponential",
    "Linear",
    "Observation",
    "ScheduleState",
    "TemperatureSchedule",
]
