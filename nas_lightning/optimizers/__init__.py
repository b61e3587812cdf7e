"""What moves alpha: clipping of its gradient, and the optimisers that torch does not have."""

from nas_lightning.optimizers.clip import ArchClip

__all__ = ["ArchClip"]
