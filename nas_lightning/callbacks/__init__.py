"""When things happen: temperature updates, the record of each epoch, the progress bar."""

from nas_lightning.callbacks.architecture import ArchitectureLog
from nas_lightning.callbacks.best_weights import BestWeights
from nas_lightning.callbacks.budget import BudgetLog
from nas_lightning.callbacks.decisions import Decisions
from nas_lightning.callbacks.eigenvalue import HessianEigenvalue
from nas_lightning.callbacks.gradients import AlphaGradients
from nas_lightning.callbacks.metrics import MetricsFile
from nas_lightning.callbacks.owned import Owned
from nas_lightning.callbacks.progress import Progress
from nas_lightning.callbacks.selection import ColumnCheck
from nas_lightning.callbacks.stop import EarlyStop
from nas_lightning.callbacks.temperature import TemperatureUpdate

__all__ = [
    "AlphaGradients",
    "ArchitectureLog",
    "BestWeights",
    "BudgetLog",
    "ColumnCheck",
    "Decisions",
    "EarlyStop",
    "HessianEigenvalue",
    "MetricsFile",
    "Owned",
    "Progress",
    "TemperatureUpdate",
]
