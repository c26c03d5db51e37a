"""The arguments of the gated linear recurrence.

Arrays are passed as addresses, 0 for an absent array. The caller guarantees shape, dtype and C order, and
that no output overlaps another array unless its description allows it.

T length, B batch, H heads, K key size, V value size. S is the storage dtype (`dtype`); A is float64 for
S = float64 and float32 otherwise. Time is cut into ⌈T / segment_length⌉ segments of `segment_length` steps;
the last one may be shorter. With `cu_seqlens`, the segments of each sequence begin at its first step. The
backward kernel holds the states of one segment at a time.
"""

from ._arguments import arguments_type

__all__ = ["GatedLinearBackward", "GatedLinearForward"]

GatedLinearForward = arguments_type("GatedLinearForward", __name__)
GatedLinearBackward = arguments_type("GatedLinearBackward", __name__)
