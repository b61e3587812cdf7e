"""When a search ends before its last epoch."""

from nas_lightning.stop.base import Stop
from nas_lightning.stop.skips import SkipLimit

__all__ = ["SkipLimit", "Stop"]
