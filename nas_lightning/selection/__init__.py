"""Which epoch's architecture is the result."""

from nas_lightning.selection.base import Selection, selected
from nas_lightning.selection.epochs import Best, Last
from nas_lightning.selection.skips import BeforeSkips

__all__ = ["BeforeSkips", "Best", "Last", "Selection", "selected"]
