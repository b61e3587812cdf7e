"""Penalties: terms of alpha's loss."""

from nas_lightning.penalties.base import Penalty
from nas_lightning.penalties.beta_decay import BetaDecay

__all__ = ["BetaDecay", "Penalty"]
