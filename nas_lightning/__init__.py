"""Differentiable neural architecture search on PyTorch Lightning, Hydra and Weights & Biases."""

__version__ = "0.1.0"
