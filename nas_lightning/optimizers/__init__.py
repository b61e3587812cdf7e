"""What moves alpha: clipping of its gradient, and the optimisers that torch does not have."""

from nas_lightning.optimizers.clip import ArchClip
from nas_lightning.optimizers.exponentiated_gradient import ExponentiatedGradient

__all__ = ["ArchClip", "ExponentiatedGradient"]
