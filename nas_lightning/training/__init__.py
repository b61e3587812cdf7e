"""The network of a found architecture: its cost, its training from scratch, and its use elsewhere."""

from nas_lightning.training.module import NetworkModule

__all__ = ["NetworkModule"]
