"""The arguments of the SRU kernels, on every device.

Arrays are passed as addresses, 0 where one is absent. The caller guarantees what lies behind them: shape,
dtype, C order, and that no output overlaps another array unless its description says so.

T length, B batch, K gates, D hidden size per direction, N directions, E input size. S is the storage dtype
(`dtype`); A is float64 for S = float64 and float32 otherwise. The second half of the N·D columns of a
bidirectional run walks time from T−1 to 0.
"""

from ._arguments import arguments_type

__all__ = ["SruBackward", "SruForward", "SruStep"]

SruForward = arguments_type("SruForward", __name__)
SruBackward = arguments_type("SruBackward", __name__)
SruStep = arguments_type("SruStep", __name__)
