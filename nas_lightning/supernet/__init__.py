"""The search: alpha and the supernet, the two half steps, what they compute and how they run."""

from nas_lightning.supernet.halves import HalfSteps
from nas_lightning.supernet.module import SupernetModule

__all__ = ["HalfSteps", "SupernetModule"]
