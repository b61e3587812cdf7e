"""Penalties: terms of alpha's loss."""

from nas_lightning.penalties.base import Penalty
from nas_lightning.penalties.beta_decay import BetaDecay
from nas_lightning.penalties.dirichlet_kl import DirichletKL
from nas_lightning.penalties.expected_cost import ExpectedCost, Penalties
from nas_lightning.penalties.zero_one import ZeroOne

__all__ = ["BetaDecay", "DirichletKL", "ExpectedCost", "Penalties", "Penalty", "ZeroOne"]
