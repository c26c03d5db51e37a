"""The arguments of the SRU kernels, on every device.

Arrays are passed as addresses, 0 for an absent array. The caller guarantees shape, dtype and C order, and
that no output overlaps another array unless its description allows it.

T length, B batch, K gates, D hidden size per direction, N directions, E input size. S is the storage dtype
(`dtype`); A is float64 for S = float64 and float32 otherwise. In a bidirectional run, the second half
of the N·D columns runs from T−1 to 0.
"""

from ._arguments import arguments_type

__all__ = ["SruBackward", "SruForward", "SruStep"]

SruForward = arguments_type("SruForward", __name__)
SruBackward = arguments_type("SruBackward", __name__)
SruStep = arguments_type("SruStep", __name__)
