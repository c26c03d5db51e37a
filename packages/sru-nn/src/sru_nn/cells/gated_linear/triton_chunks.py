"""Functions shared by the Triton kernels of the gated linear recurrence.

With g_r the gate of step r and M a matrix of zeros and ones, exp(M log g) are products of gates that need
neither division nor subtraction: a closed gate zeroes the products it is part of and does not affect the
others. The gates between a query and an earlier key of its chunk are split into two such products.
Neighbouring blocks of 1, 2, 4, 8 and 16 steps are joined: the queries of the later one are moved to its start
and the keys of the earlier one to its end, where a matrix product combines them.
"""

from __future__ import annotations

import triton
import triton.language as tl

from sru_nn.cells.gated_linear import chunks
from sru_nn.pieces import FIRST

CHUNK, LEVELS = tl.constexpr(chunks.CHUNK), tl.constexpr(chunks.CHUNK.bit_length() - 1)
_FIRST = tl.constexpr(FIRST)


@triton.jit
def total(which, x, precision: tl.constexpr):
    """For each row of the mask `which`, sum the rows of `x` that it selects, without rounding `x`."""
    ones = which.to(x.dtype)
    if precision == "ieee":
        found = tl.dot(ones, x, input_precision="ieee")
    else:
        # Zeros and ones are exact in bfloat16, and a float32 number is the sum of three bfloat16 numbers.
        ones, high = ones.to(tl.bfloat16), x.to(tl.bfloat16)
        rest = x - high.to(tl.float32)
        middle = rest.to(tl.bfloat16)
        low = (rest - middle.to(tl.float32)).to(tl.bfloat16)
        found = tl.dot(ones, high, tl.dot(ones, middle, tl.dot(ones, low)))
    return found


@triton.jit
def level(t, r, i):
    """Return two masks of the steps r for step t, whose block of 2ⁱ steps is joined to a neighbouring block.

    The first selects the steps between t and the boundary of the two blocks, including t only in the later
    block. The second selects the steps of the earlier block, if t is in the later one.
    """
    block, other = t >> i, r >> i
    later = block % 2 == 1
    return (block == other) & ((r <= t) == later), later & (block == other + 1)


@triton.jit
def meet(q, k, log_g, t, r, precision: tl.constexpr):
    """Return `(CHUNK, CHUNK)`, q_tᵀ diag(Π g) k_s with the gates after s up to t; zero for s > t."""
    a = tl.where(t == r, tl.sum(q * k, 1)[:, None], 0.0)
    for i in range(LEVELS):  # not unrolled: the matrices of all levels would not fit in the registers
        between, pairs = level(t, r, i)
        decay = tl.exp(total(between, log_g, precision))
        met = tl.dot(q * decay, tl.trans(k * decay), input_precision=precision)
        a += tl.where(pairs, met, 0.0)
    return a


@triton.jit
def number_pieces(marks, steps, end, row, batch):
    """Return the index of the piece of each step, and the last index; piece 0 began before the chunk."""
    numbers, last = tl.zeros_like(steps).to(tl.int32), 0
    if marks is not None:
        found = tl.load(marks + steps * batch + row, steps < end, 0).to(tl.int32)
        numbers = tl.cumsum((found & _FIRST) // _FIRST, 0)
        last = tl.max(numbers, 0)
    return numbers, last


@triton.jit
def places(where, columns, size: tl.constexpr):
    """Return the offsets of some steps and columns of a line in `(T, lines, size)`, and which exist."""
    steps, end, line, lines = where
    inside = (steps < end)[:, None] & (columns < size)[None, :]
    return (steps * lines + line)[:, None] * size + columns[None, :], inside


@triton.jit
def load(x, where, columns, size: tl.constexpr, dtype: tl.constexpr):
    """Load the values at `places`, zero where there are none."""
    at, inside = places(where, columns, size)
    return tl.load(x + at, inside, 0.0).to(dtype)


@triton.jit
def load_log_gates(log_g, where, columns, size: tl.constexpr, dtype: tl.constexpr):
    """Load values like `load`, but replace minus infinity with a number whose product with zero is zero."""
    gates = load(log_g, where, columns, size, dtype)
    return tl.where(gates < -1e30, -1e30, gates)


@triton.jit
def store(x, where, columns, value, size: tl.constexpr):
    """Store values where `load` reads them."""
    at, inside = places(where, columns, size)
    tl.store(x + at, value.to(x.dtype.element_ty), inside)


@triton.jit
def state_places(place, keys, values, key_size: tl.constexpr, value_size: tl.constexpr):
    """Return the offsets of a block of one matrix in `(places, K, V)`, and which elements exist."""
    inside = (keys < key_size)[:, None] & (values < value_size)[None, :]
    return (place * key_size + keys)[:, None] * value_size + values[None, :], inside


@triton.jit
def load_state(states, place, keys, values, key_size: tl.constexpr, value_size: tl.constexpr):
    """Load the values at `state_places`, zero where there are none."""
    at, inside = state_places(place, keys, values, key_size, value_size)
    return tl.load(states + at, inside, 0.0)


@triton.jit
def store_state(states, place, keys, values, state, key_size: tl.constexpr, value_size: tl.constexpr):
    """Store values where `load_state` reads them."""
    at, inside = state_places(place, keys, values, key_size, value_size)
    tl.store(states + at, state, inside)
