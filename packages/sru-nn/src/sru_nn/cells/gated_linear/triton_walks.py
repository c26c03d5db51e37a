"""The Triton kernels that carry a state of the gated linear recurrence, or its gradient, from chunk to chunk.

A program carries a block of the state of one head of one sequence, and writes it to memory for each chunk.
Everything else is computed from these states for all chunks at once.
"""

from __future__ import annotations

import triton
import triton.language as tl

from sru_nn.cells.gated_linear.triton_chunks import (
    CHUNK,
    load,
    load_log_gates,
    load_state,
    number_pieces,
    store_state,
    total,
)
from sru_nn.triton_pieces import sequence


@triton.jit
def walk(
    offsets,
    length,
    heads,
    key_size: tl.constexpr,
    value_size: tl.constexpr,
    key_block: tl.constexpr,
    value_block: tl.constexpr,
):
    """Return the row, head, keys and values of a program, and where its sequence lies."""
    pid = tl.program_id(0).to(tl.int64)
    columns = pid % tl.cdiv(value_size, value_block) * value_block + tl.arange(0, value_block)
    pid = pid // tl.cdiv(value_size, value_block)
    rows = pid % tl.cdiv(key_size, key_block) * key_block + tl.arange(0, key_block)
    pid = pid // tl.cdiv(key_size, key_block)
    row, head = pid // heads, pid % heads
    begin, end, place, line = row * 0, row * 0 + length, row * 0, pid
    if offsets is not None:
        begin, end = sequence(offsets, row, length)
        place, line = begin // CHUNK + row, head
    return row, head, rows, columns, begin, end, place, line


@triton.jit(do_not_specialize=["length", "batch"])
def walk_forward(
    k,
    v,
    log_g,
    s0,
    s_reset,
    marks,
    offsets,
    s,
    states,
    length,
    batch,
    heads,
    key_size: tl.constexpr,
    value_size: tl.constexpr,
    key_block: tl.constexpr,
    value_block: tl.constexpr,
    precision: tl.constexpr,
):
    """Compute a block of the states before each chunk, and of the last one."""
    row, head, rows, columns, begin, end, place, line = walk(
        offsets, length, heads, key_size, value_size, key_block, value_block
    )
    lines = batch * heads
    t, r = tl.arange(0, CHUNK)[:, None], tl.arange(0, CHUNK)[None, :]
    state = tl.zeros([key_block, value_block], s.dtype.element_ty)
    anew = state
    if s0 is not None:
        state += load_state(s0, row * heads + head, rows, columns, key_size, value_size)
    if s_reset is not None:
        anew += load_state(s_reset, head, rows, columns, key_size, value_size)
    count = tl.cdiv(end - begin, CHUNK)
    if offsets is not None:
        last_place = end // CHUNK + row
        if place + count <= last_place:  # one place more than there are chunks
            nothing = tl.zeros([key_block, value_block], state.dtype)
            store_state(states, last_place * lines + line, rows, columns, nothing, key_size, value_size)
    for i in range(count):
        store_state(states, (place + i) * lines + line, rows, columns, state, key_size, value_size)
        steps = begin + i * CHUNK + tl.arange(0, CHUNK)
        where = (steps, end, line, lines)
        keys = load(k, where, rows, key_size, state.dtype)
        values = load(v, where, columns, value_size, state.dtype)
        gates = load_log_gates(log_g, where, rows, key_size, state.dtype)
        numbers, last = number_pieces(marks, steps, end, row, batch)
        here = (numbers == last)[:, None]
        keys = tl.where(here, keys * tl.exp(total(r > t, gates, precision)), 0.0)
        decay = tl.exp(tl.sum(tl.where(here, gates, 0.0), 0))[:, None]
        if marks is not None:
            state = tl.where(last > 0, anew, state)
        state = state * decay + tl.dot(tl.trans(keys), values, input_precision=precision)
    store_state(s, row * heads + head, rows, columns, state, key_size, value_size)


@triton.jit(do_not_specialize=["length", "batch"])
def walk_backward(
    q,
    log_g,
    grad_o,
    grad_s,
    marks,
    offsets,
    grad_s0,
    grad_anew,
    grad_states,
    length,
    batch,
    heads,
    key_size: tl.constexpr,
    value_size: tl.constexpr,
    key_block: tl.constexpr,
    value_block: tl.constexpr,
    precision: tl.constexpr,
):
    """Compute a block of the gradients of the states after each chunk, and of the first ones."""
    row, head, rows, columns, begin, end, place, line = walk(
        offsets, length, heads, key_size, value_size, key_block, value_block
    )
    lines = batch * heads
    t, r = tl.arange(0, CHUNK)[:, None], tl.arange(0, CHUNK)[None, :]
    grad = tl.zeros([key_block, value_block], grad_s0.dtype.element_ty)
    anew = grad
    if grad_s is not None:
        grad += load_state(grad_s, row * heads + head, rows, columns, key_size, value_size)
    count = tl.cdiv(end - begin, CHUNK)
    for j in range(count):
        i = count - 1 - j
        store_state(grad_states, (place + i) * lines + line, rows, columns, grad, key_size, value_size)
        steps = begin + i * CHUNK + tl.arange(0, CHUNK)
        where = (steps, end, line, lines)
        queries = load(q, where, rows, key_size, grad.dtype)
        grads = load(grad_o, where, columns, value_size, grad.dtype)
        gates = load_log_gates(log_g, where, rows, key_size, grad.dtype)
        numbers, last = number_pieces(marks, steps, end, row, batch)
        same = numbers[:, None] == numbers[None, :]
        queries *= tl.exp(total((r <= t) & same, gates, precision))
        here = (numbers == last)[:, None]
        grad *= tl.exp(tl.sum(tl.where(here, gates, 0.0), 0))[:, None]
        if marks is not None:
            first = (numbers == 0)[:, None]
            anew += tl.where(last > 0, grad, 0.0)
            after = tl.where(first, 0.0, queries)
            anew += tl.dot(tl.trans(after), grads, input_precision=precision)
            grad = tl.where(last > 0, 0.0, grad)
            queries = tl.where(first, queries, 0.0)
        grad += tl.dot(tl.trans(queries), grads, input_precision=precision)
    store_state(grad_s0, row * heads + head, rows, columns, grad, key_size, value_size)
    if grad_anew is not None:
        store_state(grad_anew, row * heads + head, rows, columns, anew, key_size, value_size)
