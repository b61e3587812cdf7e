"""Perturbations of beta in the weight step."""

from nas_lightning.perturbations.ball import AdversarialBall, RandomBall
from nas_lightning.perturbations.base import Perturbation
from nas_lightning.perturbations.double_softmax import DoubleSoftmax
from nas_lightning.perturbations.uniform_paths import UniformPaths

__all__ = ["AdversarialBall", "DoubleSoftmax", "Perturbation", "RandomBall", "UniformPaths"]
