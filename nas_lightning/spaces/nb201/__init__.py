"""NAS-Bench-201 (arXiv 2001.00326)."""

from nas_lightning.spaces.nb201.space import NB201

__all__ = ["NB201"]
