"""Derive rules: from a relaxed cell to the edges and operations that are kept."""

from nas_lightning.derive.base import DeriveRule
from nas_lightning.derive.every_edge import EveryEdge
from nas_lightning.derive.threshold import Threshold
from nas_lightning.derive.two_inputs import Exact, Probabilities

__all__ = ["DeriveRule", "EveryEdge", "Exact", "Probabilities", "Threshold"]
