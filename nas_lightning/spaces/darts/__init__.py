"""The DARTS space (arXiv 1806.09055) and S1-S4 (arXiv 1909.09656)."""

from nas_lightning.spaces.darts.space import DARTS

__all__ = ["DARTS"]
