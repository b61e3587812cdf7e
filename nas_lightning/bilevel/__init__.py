"""How alpha's gradient is formed, and the order of the two half steps."""

from nas_lightning.bilevel.base import Bilevel
from nas_lightning.bilevel.first_order import FirstOrder
from nas_lightning.bilevel.fixed import Fixed
from nas_lightning.bilevel.second_order import SecondOrder

__all__ = ["Bilevel", "FirstOrder", "Fixed", "SecondOrder"]
