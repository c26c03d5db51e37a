"""The SRU over rows of several sequences in Triton, for GPUs of any vendor.

A program processes a block of columns of one row, in one direction, and walks over its steps in chunks. It
reads the next chunk before it computes the current one, to keep the loads of many steps in flight. A step
beyond the end of a row is treated as padding, which changes nothing, and is not written.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sru_nn.cells.sru import pieces
from sru_nn.cells.sru.plain import PieceInputs
from sru_nn.kernels import current_device
from sru_nn.pieces import FIRST, PAD
from sru_nn.triton_pieces import sequence

_PAD, _FIRST = tl.constexpr(PAD), tl.constexpr(FIRST)
# Steps per chunk: fewer in the backward pass, whose data for more steps would not fit in the registers.
_FORWARD_CHUNK, _BACKWARD_CHUNK = 8, 4
# Columns per program, which is one warp: fewer if a GPU would otherwise have too few programs.
_NARROW, _WIDE, _MANY = 32, 64, 16384


@triton.jit
def _activate(c, activation: tl.constexpr):
    """Return g(c) and g'(c)."""
    if activation == "tanh":
        e, square = tl.exp(-2 * tl.abs(c)), c * c
        g = (1 - e) / (1 + e)
        # For small c this is the difference of two numbers near one.
        series = square * (-1 / 3 + square * (2 / 15 + square * (-17 / 315 + square * (62 / 2835))))
        g = tl.where(square < 0.01, c + c * series, tl.where(c < 0, -g, g))
        slope = 1 - g * g
    elif activation == "relu":
        g, slope = tl.where(c < 0, 0.0, c), tl.where(c > 0, 1.0, 0.0)
    else:
        g, slope = c, 1.0
    return g, slope


@triton.jit
def _place(cu_seqlens, length, rows, hidden, columns, back: tl.constexpr, block: tl.constexpr):
    """Return the part of the input that a program processes.

    That is its row, its direction, the number of columns, its own and which of them exist; the position of
    its first step, the distance to the next, the number of steps, and the number of steps of each column.
    """
    row, second = tl.program_id(0).to(tl.int64), tl.program_id(2)
    column = tl.program_id(1) * block + tl.arange(0, block)
    exists = column < hidden
    first, apart = row, rows.to(tl.int64)
    if cu_seqlens is not None:
        first, end = sequence(cu_seqlens, row, length)
        apart, length = tl.full((), 1, tl.int64), (end - first).to(tl.int32)
    if (second == 1) != back:
        first, apart = first + (length - 1) * apart, -apart
    limit = tl.where(exists, length, 0)
    return row, second, columns, second * hidden + column, exists, first, apart, length, limit


@triton.jit
def _read(step, u, v, x, marks, c, grad_h, place, gates: tl.constexpr, v_varies: tl.constexpr):
    """Return the inputs of a step, zeros for absent ones.

    They are the mark, u_c, u_f, u_r, the highway, v_f and v_r; in the backward pass also the state of the
    next step of the walk, unless this is the last one, and the gradient of h.
    """
    # The tensors are separate arguments because Triton 3.3 does not support None in tuples.
    _, _, columns, column, _, first, apart, steps, limit = place
    at, there, wanted = first + step * apart, step < steps, step < limit
    if marks is None:
        mark = tl.where(there, 0, _PAD)
    else:
        mark = tl.load(marks + at, mask=there, other=_PAD).to(tl.int32)
    gate, single = u + at * gates * columns + column, at * columns + column
    u_c = tl.load(gate, mask=wanted, other=0.0)
    u_f = tl.load(gate + columns, mask=wanted, other=0.0)
    u_r = tl.load(gate + 2 * columns, mask=wanted, other=0.0)
    zero = tl.zeros_like(u_c)
    highway, v_f, v_r, before, grad_out = zero, zero, zero, zero, zero
    if gates == 4:
        highway = tl.load(gate + 3 * columns, mask=wanted, other=0.0)
    elif x is not None:
        highway = tl.load(x + single, mask=wanted, other=0.0)
    if v_varies:
        vector = v + at * 2 * columns + column
        v_f = tl.load(vector, mask=wanted, other=0.0)
        v_r = tl.load(vector + columns, mask=wanted, other=0.0)
    if c is not None:
        before = tl.load(c + single + apart * columns, mask=step + 1 < limit, other=0.0)
    if grad_h is not None:
        grad_out = tl.load(grad_h + single, mask=wanted, other=0.0)
    return mark, u_c, u_f, u_r, highway, v_f, v_r, before, grad_out


@triton.jit
def _read_chunk(
    begin, u, v, x, marks, c, grad_h, place,
    gates: tl.constexpr, v_varies: tl.constexpr, chunk_size: tl.constexpr,
):  # fmt: skip
    chunk = ()
    for i in tl.static_range(chunk_size):
        chunk += (_read(begin + i, u, v, x, marks, c, grad_h, place, gates, v_varies),)  # type: ignore[assignment]
    return chunk


@triton.jit
def _row(tensor, row, place, like):
    """Return the columns of a program from a row of a tensor; zeros if the tensor is None."""
    _, _, columns, column, exists, _, _, _, _ = place
    if tensor is None:
        found = tl.zeros_like(like)
    else:
        found = tl.load(tensor + row * columns + column, mask=exists, other=0.0)
    return found


@triton.jit
def _parameters(v, bias, place, v_varies: tl.constexpr):
    """Return b_f, b_r, v_f and v_r; the last two are meaningless if v varies."""
    _, _, _, column, exists, _, _, _, _ = place
    b_f = tl.load(bias + column, mask=exists, other=0.0)
    b_r = _row(bias, 1, place, b_f)
    v_f, v_r = b_f, b_f
    if not v_varies:
        v_f, v_r = _row(v, 0, place, b_f), _row(v, 1, place, b_f)
    return b_f, b_r, v_f, v_r


@triton.jit(do_not_specialize=["length", "rows"])
def _forward_kernel(
    u, v, bias, c0, c_reset, x, mask_c, marks, cu_seqlens,
    h, c, c_last, length, rows, hidden, columns,
    gates: tl.constexpr, v_varies: tl.constexpr, activation: tl.constexpr, scale_x: tl.constexpr,
    block: tl.constexpr, chunk_size: tl.constexpr,
):  # fmt: skip
    place = _place(cu_seqlens, length, rows, hidden, columns, False, block)
    row, second, columns, column, exists, first, apart, steps, limit = place
    b_f, b_r, v_f, v_r = _parameters(v, bias, place, v_varies)
    m = None
    if mask_c is not None:
        m = _row(mask_c, row, place, b_f)
    anew = _row(c_reset, 0, place, b_f)
    state = _row(c0, row, place, b_f)
    ahead = _read_chunk(0, u, v, x, marks, None, None, place, gates, v_varies, chunk_size)
    for begin in range(0, steps, chunk_size):
        now = ahead
        after = begin + chunk_size
        ahead = _read_chunk(after, u, v, x, marks, None, None, place, gates, v_varies, chunk_size)
        for i in tl.static_range(chunk_size):
            mark, u_c, u_f, u_r, highway, v_f_t, v_r_t, _, _ = now[i]
            if v_varies:
                v_f, v_r = v_f_t, v_r_t
            pad = (mark & _PAD) != 0
            if marks is not None:
                state = tl.where((mark & (_FIRST << second)) != 0, anew, state)
            f = tl.sigmoid(u_f.to(b_f.dtype) + b_f + v_f * state)
            weight = tl.sigmoid(u_r.to(b_f.dtype) + b_r + v_r * state)
            if m is not None:
                weight *= m
            state = tl.where(pad, state, f * state + (1 - f) * u_c.to(b_f.dtype))
            out = weight * _activate(state, activation)[0]
            if gates == 4 or x is not None:
                out += (1 - weight) * (highway.to(b_f.dtype) * scale_x)
            at = (first + (begin + i) * apart) * columns + column
            written = begin + i < limit
            tl.store(h + at, tl.where(pad, 0.0, out).to(h.dtype.element_ty), mask=written)
            if c is not None:
                tl.store(c + at, state, mask=written)
    tl.store(c_last + row * columns + column, state, mask=exists)


@triton.jit
def _step_back(pad, u_c, f, r, m, before, contrast, slope, grad_out, grad):
    """Return the gradients of u_c, u_f, u_r and the highway, zero at padding, and of c_{t-1} in f ⊙ c_{t-1}.

    `contrast` is g(c_t) minus the highway, `grad` the gradient of c_t from later steps. `m` may be None.
    """
    weight, to_weight = r, grad_out
    if m is not None:
        weight, to_weight = r * m, grad_out * m
    total = grad + grad_out * weight * slope
    to_c = tl.where(pad, 0.0, total * (1 - f))
    to_f = tl.where(pad, 0.0, total * (before - u_c) * (f * (1 - f)))
    to_r = tl.where(pad, 0.0, to_weight * contrast * (r * (1 - r)))
    return to_c, to_f, to_r, tl.where(pad, 0.0, grad_out * (1 - weight)), total * f


@triton.jit(do_not_specialize=["length", "rows"])
def _backward_kernel(
    u, v, bias, c0, c_reset, x, mask_c, marks, cu_seqlens, c, grad_h, grad_c_last,
    grad_u, grad_x, grad_v, grad_bias, grad_c0, grad_starts, length, rows, hidden, columns,
    gates: tl.constexpr, v_varies: tl.constexpr, activation: tl.constexpr, scale_x: tl.constexpr,
    block: tl.constexpr, chunk_size: tl.constexpr,
):  # fmt: skip
    place = _place(cu_seqlens, length, rows, hidden, columns, True, block)
    row, second, columns, column, exists, first, apart, steps, limit = place
    b_f, b_r, v_f, v_r = _parameters(v, bias, place, v_varies)
    m = None
    if mask_c is not None:
        m = _row(mask_c, row, place, b_f)
    anew = _row(c_reset, 0, place, b_f)
    initial, grad = _row(c0, row, place, b_f), _row(grad_c_last, row, place, b_f)
    state = tl.load(c + first * columns + column, mask=limit > 0, other=0.0)
    zero = tl.zeros_like(b_f)
    of_b_f, of_b_r, of_v_f, of_v_r, of_starts = zero, zero, zero, zero, zero
    ahead = _read_chunk(0, u, v, x, marks, c, grad_h, place, gates, v_varies, chunk_size)
    for begin in range(0, steps, chunk_size):
        now = ahead
        after = begin + chunk_size
        ahead = _read_chunk(after, u, v, x, marks, c, grad_h, place, gates, v_varies, chunk_size)
        for i in tl.static_range(chunk_size):
            mark, u_c, u_f, u_r, highway, v_f_t, v_r_t, earlier, grad_out = now[i]
            if v_varies:
                v_f, v_r = v_f_t, v_r_t
            u_c, grad_out = u_c.to(b_f.dtype), grad_out.to(b_f.dtype)
            pad, starts = (mark & _PAD) != 0, (mark & (_FIRST << second)) != 0
            earlier = tl.where(begin + i + 1 < steps, earlier, initial)
            before = earlier
            if marks is not None:
                before = tl.where(starts, anew, earlier)
            f = tl.sigmoid(u_f.to(b_f.dtype) + b_f + v_f * before)
            r = tl.sigmoid(u_r.to(b_f.dtype) + b_r + v_r * before)
            contrast, slope = _activate(state, activation)
            if gates == 4 or x is not None:
                contrast -= highway.to(b_f.dtype) * scale_x
            to_c, to_f, to_r, to_highway, passed = _step_back(
                pad, u_c, f, r, m, before, contrast, slope, grad_out, grad
            )
            grad = tl.where(pad, grad, passed + v_f * to_f + v_r * to_r)
            if marks is not None:
                of_starts += tl.where(starts, grad, 0.0)
                grad = tl.where(starts, 0.0, grad)
            at, written = first + (begin + i) * apart, begin + i < limit
            gate = grad_u + at * gates * columns + column
            tl.store(gate, to_c.to(u.dtype.element_ty), mask=written)
            tl.store(gate + columns, to_f.to(u.dtype.element_ty), mask=written)
            tl.store(gate + 2 * columns, to_r.to(u.dtype.element_ty), mask=written)
            if gates == 4:
                tl.store(gate + 3 * columns, to_highway.to(u.dtype.element_ty), mask=written)
            elif x is not None:
                tl.store(
                    grad_x + at * columns + column,
                    (to_highway * scale_x).to(u.dtype.element_ty),
                    mask=written,
                )
            # Not a product with zero: the state may be infinite at padding.
            to_v_f, to_v_r = tl.where(pad, 0.0, to_f * before), tl.where(pad, 0.0, to_r * before)
            if v_varies:
                vector = grad_v + at * 2 * columns + column
                tl.store(vector, to_v_f, mask=written)
                tl.store(vector + columns, to_v_r, mask=written)
            else:
                of_v_f += to_v_f
                of_v_r += to_v_r
            of_b_f += to_f
            of_b_r += to_r
            state = earlier
    at, other = row * columns + column, rows.to(tl.int64) * columns
    tl.store(grad_c0 + at, grad, mask=exists)
    tl.store(grad_bias + at, of_b_f, mask=exists)
    tl.store(grad_bias + other + at, of_b_r, mask=exists)
    if not v_varies:
        tl.store(grad_v + at, of_v_f, mask=exists)
        tl.store(grad_v + other + at, of_v_r, mask=exists)
    if c_reset is not None:
        tl.store(grad_starts + at, of_starts, mask=exists)


def forward(inputs: PieceInputs, save: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return `h`, `c_last` and, with `save`, the states after each position `(T, B, N·D)`."""
    h, c_last, states = pieces.results(inputs, save)
    c = states if save else None
    _launch(_forward_kernel, _FORWARD_CHUNK, inputs, c_last, h, c, c_last)
    return h, c_last, c


def backward(
    inputs: PieceInputs, c: Tensor, grad_h: Tensor | None, grad_c_last: Tensor | None
) -> tuple[Tensor, ...]:
    """Return the gradients of `u`, `v`, `bias`, `c0`, `c_reset` and `x`."""
    grad_u, grad_v, _, grad_c0, grad_c_reset, grad_x = pieces.gradients(inputs)
    # The kernel sums over time for each sequence. The batch is then summed in a fixed order.
    rows = grad_c0.new_empty(5, *grad_c0.shape)
    varies, anew = inputs.v.dim() == 4, None if inputs.c_reset is None else rows[4]
    of_v, of_bias = grad_v if varies else rows[:2], rows[2:4]
    saved, of_x = (c, grad_h, grad_c_last), None if inputs.x is None else grad_x
    outputs = (grad_u, of_x, of_v, of_bias, grad_c0, anew)
    _launch(_backward_kernel, _BACKWARD_CHUNK, inputs, grad_c0, *saved, *outputs)
    grad_v = grad_v if varies else of_v.sum(1)
    return grad_u, grad_v, of_bias.sum(1), grad_c0, grad_c_reset if anew is None else anew.sum(0), grad_x


def _launch(kernel: Any, chunk: int, inputs: PieceInputs, states: Tensor, *others: Tensor | None) -> None:
    """Launch a kernel, unless there is nothing to do. `states` are those of all rows, `(rows, N·D)`."""
    if states.numel() == 0:
        return
    u, v, bias, c0, c_reset, x, mask_c, marks, cu_seqlens, bidirectional, activation, scale_x = inputs
    marks = None if marks is None else marks.view(torch.uint8)  # bool if there is only padding
    tensors = (u, v, bias, c0, c_reset, x, mask_c, marks, cu_seqlens, *others)
    rows, columns = states.shape
    directions = 2 if bidirectional else 1
    hidden, block = columns // directions, _WIDE if rows * columns > _MANY else _NARROW
    sizes = (u.shape[0], rows, hidden, columns)
    options = (u.shape[2], v.dim() == 4, activation, scale_x, block, chunk)
    given = (None if tensor is None else tensor.contiguous() for tensor in tensors)
    start = kernel[rows, triton.cdiv(hidden, block), directions]
    with current_device(u):
        start(*given, *sizes, *options, num_warps=1, enable_fp_fusion=True)
