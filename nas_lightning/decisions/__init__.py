"""Decisions: what takes candidates away during a search."""

from nas_lightning.decisions.base import Decision
from nas_lightning.decisions.edge_confidence import EdgeConfidence
from nas_lightning.decisions.operation_drop import OperationDrop

__all__ = ["Decision", "EdgeConfidence", "OperationDrop"]
