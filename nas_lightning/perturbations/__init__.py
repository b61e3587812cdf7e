"""Perturbations of beta in the weight step."""

from nas_lightning.perturbations.ball import AdversarialBall, RandomBall
from nas_lightning.perturbations.base import Perturbation

__all__ = ["AdversarialBall", "Perturbation", "RandomBall"]
