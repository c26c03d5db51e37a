"""Where sequences lie that lie end to end, for the Triton kernels of all cells."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def sequence(cu_seqlens, row, length):
    """Return where a sequence begins and where it ends, among `length` positions.

    Wrong offsets are kept within those, so that no other memory is touched.
    """
    begin = tl.minimum(tl.maximum(tl.load(cu_seqlens + row), 0), length)
    return begin, tl.minimum(tl.maximum(tl.load(cu_seqlens + row + 1), begin), length)
