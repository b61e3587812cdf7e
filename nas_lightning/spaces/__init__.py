"""Search spaces."""

from nas_lightning.spaces.base import CellSpec, SearchSpace
from nas_lightning.spaces.nb201 import NB201

__all__ = ["NB201", "CellSpec", "SearchSpace"]
