"""How alpha's gradient is formed, and the order of the two half steps."""

from nas_lightning.bilevel.first_order import FirstOrder

__all__ = ["FirstOrder"]
