"""What moves alpha: clipping of its gradient, and the optimisers that torch does not have; how the weights' rate falls."""

from nas_lightning.optimizers.clip import ArchClip
from nas_lightning.optimizers.exponentiated_gradient import ExponentiatedGradient
from nas_lightning.optimizers.rates import lowered

__all__ = ["ArchClip", "ExponentiatedGradient", "lowered"]
