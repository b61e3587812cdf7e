"""Relaxations: from the parameters alpha to the weights of the operations on each edge."""

from nas_lightning.relaxations.base import Relaxation
from nas_lightning.relaxations.dirichlet import Dirichlet
from nas_lightning.relaxations.gumbel import GumbelHard, GumbelOrdered
from nas_lightning.relaxations.sigmoid import Sigmoid
from nas_lightning.relaxations.simplex import Simplex
from nas_lightning.relaxations.sn_softmax import SnSoftmax, sn_softmax
from nas_lightning.relaxations.softmax import Softmax
from nas_lightning.relaxations.view import CellView, View

__all__ = [
    "CellView",
    "Dirichlet",
    "GumbelHard",
    "GumbelOrdered",
    "Relaxation",
    "Sigmoid",
    "Simplex",
    "SnSoftmax",
    "Softmax",
    "View",
    "sn_softmax",
]
