"""The Triton kernels for the outputs and gradients of the gated linear recurrence.

A program computes a block of the results of one chunk of one head, given the state before the chunk and the
gradient of the state after it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from sru_nn.cells.gated_linear.triton_chunks import (
    CHUNK,
    LEVELS,
    level,
    load,
    load_log_gates,
    load_state,
    meet,
    number_pieces,
    store,
    total,
)
from sru_nn.triton_pieces import sequence


@triton.jit
def chunk(lines, size: tl.constexpr, block: tl.constexpr):
    """Return the place of the state before a program's chunk, and the program's line and columns."""
    pid = tl.program_id(0).to(tl.int64)
    columns = pid % tl.cdiv(size, block) * block + tl.arange(0, block)
    pid = pid // tl.cdiv(size, block)
    return pid // lines, pid % lines, columns


@triton.jit
def part(offsets, sequences, length, place):
    """Return the steps of the chunk that starts from the state at `place`, and where its sequence ends."""
    begin, end = place * CHUNK, length
    if offsets is not None:
        row = tl.load(sequences + place)
        begin, end = sequence(offsets, row, length)
        begin += tl.maximum(place - begin // CHUNK - row, 0) * CHUNK  # negative only for wrong offsets
    return begin + tl.arange(0, CHUNK), end


@triton.jit(do_not_specialize=["length", "batch"])
def outputs(
    q,
    k,
    v,
    log_g,
    s_reset,
    marks,
    offsets,
    sequences,
    states,
    o,
    length,
    batch,
    heads,
    key_size: tl.constexpr,
    value_size: tl.constexpr,
    key_block: tl.constexpr,
    value_block: tl.constexpr,
    precision: tl.constexpr,
):
    """Compute a block of the outputs of a chunk."""
    dtype: tl.constexpr = states.dtype.element_ty
    lines = batch * heads
    place, line, columns = chunk(lines, value_size, value_block)
    row, head = line // heads, line % heads
    steps, end = part(offsets, sequences, length, place)
    where = (steps, end, line, lines)
    t, r = tl.arange(0, CHUNK)[:, None], tl.arange(0, CHUNK)[None, :]
    numbers, _ = number_pieces(marks, steps, end, row, batch)
    same = numbers[:, None] == numbers[None, :]
    a = tl.zeros([CHUNK, CHUNK], dtype)
    y = tl.zeros([CHUNK, value_block], dtype)
    for first in range(0, key_size, key_block):
        rows = first + tl.arange(0, key_block)
        queries = load(q, where, rows, key_size, dtype)
        keys = load(k, where, rows, key_size, dtype)
        gates = load_log_gates(log_g, where, rows, key_size, dtype)
        a += meet(queries, keys, gates, t, r, precision)
        queries *= tl.exp(total((r <= t) & same, gates, precision))
        state = load_state(states, place * lines + line, rows, columns, key_size, value_size)
        found = tl.dot(queries, state, input_precision=precision)
        if marks is not None:
            found = tl.where((numbers == 0)[:, None], found, 0.0)
            if s_reset is not None:
                anew = load_state(s_reset, head, rows, columns, key_size, value_size)
                added = tl.dot(queries, anew, input_precision=precision)
                found += tl.where((numbers > 0)[:, None], added, 0.0)
        y += found
    values = load(v, where, columns, value_size, dtype)
    y += tl.dot(tl.where(same, a, 0.0), values, input_precision=precision)
    store(o, where, columns, y, value_size)


@triton.jit(do_not_specialize=["length", "batch"])
def gradients_of_values(
    q,
    k,
    log_g,
    marks,
    offsets,
    sequences,
    grad_states,
    grad_o,
    grad_v,
    length,
    batch,
    heads,
    key_size: tl.constexpr,
    value_size: tl.constexpr,
    key_block: tl.constexpr,
    value_block: tl.constexpr,
    precision: tl.constexpr,
):
    """Compute a block of the gradients of the values of a chunk."""
    dtype: tl.constexpr = grad_states.dtype.element_ty
    lines = batch * heads
    place, line, columns = chunk(lines, value_size, value_block)
    steps, end = part(offsets, sequences, length, place)
    where = (steps, end, line, lines)
    t, r = tl.arange(0, CHUNK)[:, None], tl.arange(0, CHUNK)[None, :]
    numbers, last = number_pieces(marks, steps, end, line // heads, batch)
    a = tl.zeros([CHUNK, CHUNK], dtype)
    y = tl.zeros([CHUNK, value_block], dtype)
    for first in range(0, key_size, key_block):
        rows = first + tl.arange(0, key_block)
        queries = load(q, where, rows, key_size, dtype)
        keys = load(k, where, rows, key_size, dtype)
        gates = load_log_gates(log_g, where, rows, key_size, dtype)
        a += meet(queries, keys, gates, t, r, precision)
        keys *= tl.exp(total(r > t, gates, precision))
        grad = load_state(grad_states, place * lines + line, rows, columns, key_size, value_size)
        y += tl.dot(keys, grad, input_precision=precision)
    y = tl.where((numbers == last)[:, None], y, 0.0)
    grads = load(grad_o, where, columns, value_size, dtype)
    a = tl.where(numbers[:, None] == numbers[None, :], a, 0.0)
    y += tl.dot(tl.trans(a), grads, input_precision=precision)
    store(grad_v, where, columns, y, value_size)


@triton.jit(do_not_specialize=["length", "batch"])
def gradients_of_keys(
    q,
    k,
    v,
    log_g,
    s_reset,
    marks,
    offsets,
    sequences,
    states,
    grad_states,
    grad_o,
    grad_q,
    grad_k,
    grad_log_g,
    length,
    batch,
    heads,
    key_size: tl.constexpr,
    value_size: tl.constexpr,
    key_block: tl.constexpr,
    value_block: tl.constexpr,
    precision: tl.constexpr,
):
    """Compute a block of the gradients of the queries, keys and logarithms of gates of a chunk."""
    dtype: tl.constexpr = states.dtype.element_ty
    lines = batch * heads
    place, line, rows = chunk(lines, key_size, key_block)
    steps, end = part(offsets, sequences, length, place)
    where = (steps, end, line, lines)
    t, r = tl.arange(0, CHUNK)[:, None], tl.arange(0, CHUNK)[None, :]
    numbers, last = number_pieces(marks, steps, end, line // heads, batch)
    same, here = numbers[:, None] == numbers[None, :], (numbers == last)[:, None]
    grad_a = tl.zeros([CHUNK, CHUNK], dtype)
    by_q = tl.zeros([CHUNK, key_block], dtype)
    by_k = by_q
    by_gates = tl.zeros([key_block], dtype)
    for first in range(0, value_size, value_block):
        columns = first + tl.arange(0, value_block)
        values = load(v, where, columns, value_size, dtype)
        grads = load(grad_o, where, columns, value_size, dtype)
        state = load_state(states, place * lines + line, rows, columns, key_size, value_size)
        grad = load_state(grad_states, place * lines + line, rows, columns, key_size, value_size)
        grad_a += tl.dot(grads, tl.trans(values), input_precision=precision)
        found = tl.dot(grads, tl.trans(state), input_precision=precision)
        by_k += tl.dot(values, tl.trans(grad), input_precision=precision)
        if marks is not None:
            found = tl.where((numbers == 0)[:, None], found, 0.0)
            anew = tl.zeros([key_block, value_block], dtype)
            if s_reset is not None:
                anew += load_state(s_reset, line % heads, rows, columns, key_size, value_size)
                added = tl.dot(grads, tl.trans(anew), input_precision=precision)
                found += tl.where((numbers > 0)[:, None], added, 0.0)
            state = tl.where(last > 0, anew, state)
        by_q += found
        by_gates += tl.sum(state * grad, 1)

    queries = load(q, where, rows, key_size, dtype)
    keys = load(k, where, rows, key_size, dtype)
    gates = load_log_gates(log_g, where, rows, key_size, dtype)
    by_q *= tl.exp(total((r <= t) & same, gates, precision))
    by_k = tl.where(here, by_k * tl.exp(total(r > t, gates, precision)), 0.0)
    by_gates *= tl.exp(tl.sum(tl.where(here, gates, 0.0), 0))
    by_log_g = tl.where(here, by_gates[None, :], 0.0)
    by_log_g += total((t <= r) & same, queries * by_q, precision) + total(r < t, keys * by_k, precision)
    grad_a = tl.where(same, grad_a, 0.0)
    for i in range(LEVELS):
        between, pairs = level(t, r, i)
        decay = tl.exp(total(between, gates, precision))
        met = tl.where(pairs, grad_a, 0.0)
        to_q = decay * tl.dot(met, keys * decay, input_precision=precision)
        to_k = decay * tl.dot(tl.trans(met), queries * decay, input_precision=precision)
        by_q += to_q
        by_k += to_k
        by_log_g += total(level(r, t, i)[0], queries * to_q + keys * to_k, precision)
    itself = tl.sum(tl.where(t == r, grad_a, 0.0), 1)[:, None]
    store(grad_q, where, rows, by_q + itself * keys, key_size)
    store(grad_k, where, rows, by_k + itself * queries, key_size)
    store(grad_log_g, where, rows, by_log_g, key_size)
