"""The arguments of the kernels of Li-GRU and SLi-GRU, on every device.

Arrays are passed as addresses, 0 for an absent array. The caller guarantees shape, dtype and C order, and
that no output overlaps another array unless its description allows it.

T length, B batch, D hidden size per direction, N directions. S is the storage dtype (`dtype`); A is float64
for S = float64 and float32 otherwise. Both directions read the same u and the same weights; the second runs
from T−1 to 0.
"""

from ._arguments import arguments_type

__all__ = ["LigruBackward", "LigruForward"]

LigruForward = arguments_type("LigruForward", __name__)
LigruBackward = arguments_type("LigruBackward", __name__)
