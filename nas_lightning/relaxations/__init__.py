"""Relaxations: architecture logits to the weights of the operations on each edge."""

from nas_lightning.relaxations.sn_softmax import Relaxation, SnSoftmax, Softmax, sn_softmax

__all__ = ["Relaxation", "SnSoftmax", "Softmax", "sn_softmax"]
