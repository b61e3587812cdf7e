"""A search in parts."""

from nas_lightning.stages.base import Stage, Stages

__all__ = ["Stage", "Stages"]
