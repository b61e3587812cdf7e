"""Search spaces."""

from nas_lightning.spaces.base import CellScores, CellSpec, SearchSpace
from nas_lightning.spaces.darts import DARTS
from nas_lightning.spaces.nb201 import NB201

__all__ = ["DARTS", "NB201", "CellScores", "CellSpec", "SearchSpace"]
