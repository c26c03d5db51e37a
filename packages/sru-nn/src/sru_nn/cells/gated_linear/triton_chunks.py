"""What the Triton kernels of the gated linear recurrence have in common.

With g_r the gate of step r and M a matrix of zeros and ones, exp(M log g) are products of gates that take no
division and no difference: a closed gate makes them zero and costs the others nothing. The gates between a
query and an earlier key of its chunk come in two such products. Neighbouring blocks of 1, 2, 4, 8 and 16
steps are joined: the later brings its queries to its start and the earlier its keys to its end, where they
meet in a product of matrices.
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
    """For each row of the matrix `which` add up the rows of `x` that are True in it, never rounding `x`."""
    ones = which.to(x.dtype)
    if precision == "ieee":
        found = tl.dot(ones, x, input_precision="ieee")
    else:
        # Zeros and ones are bfloat16 numbers, and a float32 number is the sum of three.
        ones, high = ones.to(tl.bfloat16), x.to(tl.bfloat16)
        rest = x - high.to(tl.float32)
        middle = rest.to(tl.bfloat16)
        low = (rest - middle.to(tl.float32)).to(tl.bfloat16)
        found = tl.dot(ones, high, tl.dot(ones, middle, tl.dot(ones, low)))
    return found


@triton.jit
def level(t, r, i):
    """Return which steps r lie between step t and where its block of 2ⁱ joins another, and which it meets.

    Step t itself is among the former in the later of the two blocks, and not in the earlier.
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
    """Return the number of the piece that each step belongs to, and the last; 0 began before the chunk."""
    numbers, last = tl.zeros_like(steps).to(tl.int32), 0
    if marks is not None:
        found = tl.load(marks + steps * batch + row, steps < end, 0).to(tl.int32)
        numbers = tl.cumsum((found & _FIRST) // _FIRST, 0)
        last = tl.max(numbers, 0)
    return numbers, last


@triton.jit
def places(where, columns, size: tl.constexpr):
    """Return where some columns of some steps of a line are in `(T, lines, size)`, and which exist."""
    steps, end, line, lines = where
    inside = (steps < end)[:, None] & (columns < size)[None, :]
    return (steps * lines + line)[:, None] * size + columns[None, :], inside


@triton.jit
def load(x, where, columns, size: tl.constexpr, dtype: tl.constexpr):
    """Load what stands at `places`, zero where nothing does."""
    at, inside = places(where, columns, size)
    return tl.load(x + at, inside, 0.0).to(dtype)


@triton.jit
def load_log_gates(log_g, where, columns, size: tl.constexpr, dtype: tl.constexpr):
    """Do the same with a number in place of minus infinity, of which zero times is zero."""
    gates = load(log_g, where, columns, size, dtype)
    return tl.where(gates < -1e30, -1e30, gates)


@triton.jit
def store(x, where, columns, value, size: tl.constexpr):
    """Store what `load` would load."""
    at, inside = places(where, columns, size)
    tl.store(x + at, value.to(x.dtype.element_ty), inside)


@triton.jit
def state_places(place, keys, values, key_size: tl.constexpr, value_size: tl.constexpr):
    """Return where a block of a matrix of `(places, K, V)` is, and what of it exists."""
    inside = (keys < key_size)[:, None] & (values < value_size)[None, :]
    return (place * key_size + keys)[:, None] * value_size + values[None, :], inside


@triton.jit
def load_state(states, place, keys, values, key_size: tl.constexpr, value_size: tl.constexpr):
    """Load what stands at `state_places`, zero where nothing does."""
    at, inside = state_places(place, keys, values, key_size, value_size)
    return tl.load(states + at, inside, 0.0)


@triton.jit
def store_state(states, place, keys, values, state, key_size: tl.constexpr, value_size: tl.constexpr):
    """Store what `load_state` would load."""
    at, inside = state_places(place, keys, values, key_size, value_size)
    tl.store(states + at, state, inside)
