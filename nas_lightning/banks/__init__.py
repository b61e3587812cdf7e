"""Operation banks: all candidate operations that leave one source node of a cell, executed together.

A cell with E edges relaxes edge e to sum_o beta_eo * op_o(h_source). Run edge by edge this repeats work: every edge of
a source applies the same ReLU, the same identity and the same pooling to the same features. A bank computes each
parameter-free operation once, and all convolutions of one kind as one wider convolution with stacked weights. The batch
norm behind a convolution has no affine parameters in a supernet, so beta takes the place of its weight: one native call
normalises, scales by beta and yields beta's gradient.
"""

from nas_lightning.banks.edges import EdgeWeights
from nas_lightning.banks.nb201 import SourceBank

__all__ = ["EdgeWeights", "SourceBank"]
