"""When a search ends before its last epoch."""

from nas_lightning.stop.base import Stop
from nas_lightning.stop.eigenvalue import EigenvalueLimit
from nas_lightning.stop.epochs import AfterEpochs
from nas_lightning.stop.ranking import StableRanking
from nas_lightning.stop.skips import SkipLimit

__all__ = ["AfterEpochs", "EigenvalueLimit", "SkipLimit", "StableRanking", "Stop"]
