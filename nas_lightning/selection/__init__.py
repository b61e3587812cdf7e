"""Which epoch's architecture is the result."""

from nas_lightning.selection.base import Selection, selected
from nas_lightning.selection.eigenvalue import BeforeEigenvalueJump
from nas_lightning.selection.epochs import Best, Last
from nas_lightning.selection.ranking import AtStableRanking
from nas_lightning.selection.skips import AtSkips

__all__ = ["AtSkips", "AtStableRanking", "BeforeEigenvalueJump", "Best", "Last", "Selection", "selected"]
