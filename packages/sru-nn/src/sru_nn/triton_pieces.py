"""The bounds of concatenated sequences, for the Triton kernels of all cells."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def sequence(cu_seqlens, row, length):
    """Return where a sequence begins and where it ends, among `length` positions.

    Invalid offsets are clamped to these positions, so that no other memory is accessed.
    """
    begin = tl.minimum(tl.maximum(tl.load(cu_seqlens + row), 0), length)
    return begin, tl.minimum(tl.maximum(tl.load(cu_seqlens + row + 1), begin), length)
