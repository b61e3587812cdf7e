"""Search spaces."""

from nas_lightning.spaces.base import SearchSpace
from nas_lightning.spaces.darts.space import DARTS
from nas_lightning.spaces.nb201.space import NB201

__all__ = ["DARTS", "NB201", "SearchSpace"]
