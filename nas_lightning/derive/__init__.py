"""From the scores of a cell to the edges and operations that are kept."""

from nas_lightning.derive.two_inputs import DeriveRule, Exact, Softmax

__all__ = ["DeriveRule", "Exact", "Softmax"]
