"""The SRU recurrence in plain PyTorch, the oracle its kernels are tested against.

Written from the paper, with autograd for the gradients. Nothing here calls a kernel or checks an argument.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sru_nn import pieces
from sru_nn.dtypes import accumulate_dtype

States = Callable[..., tuple[Tensor, Tensor, Tensor]]


def activate(c: Tensor, activation: str) -> Tensor:
    """Apply the function g to the state."""
    if activation == "tanh":
        return torch.tanh(c)
    if activation == "relu":
        return torch.relu(c)
    return c


def reverse_second_direction(tensor: Tensor) -> Tensor:
    """Flip time in the second half of the columns, so that one forward loop runs both directions."""
    forward, backward = tensor.chunk(2, dim=-1)
    return torch.cat([forward, backward.flip(0)], dim=-1)


def sru_states(
    u_c: Tensor,
    u_f: Tensor,
    v_f: Tensor,
    c: Tensor,
    starts: Tensor | None = None,
    c_reset: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk over time: c_t = f_t ⊙ c_{t-1} + (1 − f_t) ⊙ u_c with f_t = σ(u_f + v_f ⊙ c_{t-1}).

    Args:
        u_c: `(T, B, N·D)`.
        u_f: `(T, B, N·D)`, with the bias; infinite where the state passes unchanged.
        v_f: `(N·D,)`, or `(T, B, N·D)` for one vector per position.
        c: `(B, N·D)`, the state before the first step.
        starts: `(T, B, N·D)` bool, True where `c_reset` replaces c_{t-1}; or None.
        c_reset: `(N·D,)`, or `(T, B, N·D)` for one state per position; with `starts` only.

    Returns:
        `c_before`: `(T, B, N·D)`, the states before each step.
        `c`: `(T, B, N·D)`, the states after each step.
        `c_last`: `(B, N·D)`, the state after the last step.
    """
    if u_c.shape[0] == 0:
        return u_c, u_c, c
    over_time = [u_c, u_f, v_f.expand_as(u_f)]
    if starts is not None and c_reset is not None:
        over_time += [starts, c_reset.expand_as(u_f)]
    before, after = [], []
    # unbind, not indexing: the gradient of an index is as large as the whole tensor.
    for u_c_t, u_f_t, v_f_t, *start in zip(*(tensor.unbind(0) for tensor in over_time), strict=True):
        if start:
            c = torch.where(start[0], start[1], c)  # not a product: the previous state may be NaN
        before.append(c)
        f = torch.sigmoid(torch.addcmul(u_f_t, v_f_t, c))
        c = torch.lerp(u_c_t, c, f)  # f ⊙ c + (1 − f) ⊙ u_c
        after.append(c)
    return torch.stack(before), torch.stack(after), c


def read_inputs(
    u: Tensor,
    v: Tensor,
    bias: Tensor,
    x: Tensor | None,
    mask_pad: Tensor | None,
    bidirectional: bool,
    scale_x: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Convert the inputs to the accumulation dtype and both directions to one order; neutralise the padding.

    Returns:
        u_c; u_f and u_r with their biases; v_f and v_r; the highway term, or None; and the padding
        `(T, B, N·D)`, or None. At padding u_f is infinite and everything else zero.
    """
    dtype = accumulate_dtype(u.dtype)
    pad = None if mask_pad is None else mask_pad[:, :, None].expand(-1, -1, u.shape[3])
    if pad is not None and bidirectional:
        pad = reverse_second_direction(pad)

    def read(tensor: Tensor) -> Tensor:
        tensor = reverse_second_direction(tensor.to(dtype)) if bidirectional else tensor.to(dtype)
        if pad is None:
            return tensor
        # Nothing at a padded position, not even NaN, may reach a result or a gradient.
        return tensor.masked_fill(pad if tensor.dim() == 3 else pad.unsqueeze(2), 0.0)

    u_c, u_f, u_r, *u_x = read(u).unbind(2)  # not indexing: the gradient of an index is as large as u
    v_f, v_r = (read(v) if v.dim() == 4 else v.to(dtype)).unbind(-2)
    b_f, b_r = bias.to(dtype).unbind(0)
    u_f, u_r = u_f + b_f, u_r + b_r
    if pad is not None:
        # A forget gate of exactly 1 carries the state over a padded step unchanged and passes it no gradient.
        u_f = u_f.masked_fill(pad, torch.inf)
    highway = None if x is None else read(x) * scale_x
    return u_c, u_f, u_r, v_f, v_r, u_x[0] if u_x else highway, pad


def read_starts(marks: Tensor, columns: int, bidirectional: bool) -> Tensor:
    """Return where each column restarts, `(T, B, N·D)` bool, both directions in one order."""
    if not bidirectional:
        return pieces.starts(marks, False).unsqueeze(2).expand(-1, -1, columns)
    half = (-1, -1, columns // 2)
    first, second = pieces.starts(marks, False), pieces.starts(marks, True).flip(0)
    return torch.cat([first.unsqueeze(2).expand(half), second.unsqueeze(2).expand(half)], 2)


def sru_recurrence(
    u: Tensor,
    v: Tensor,
    bias: Tensor,
    c0: Tensor | None = None,
    *,
    x: Tensor | None = None,
    bidirectional: bool = False,
    activation: str = "identity",
    scale_x: float = 1.0,
    mask_c: Tensor | None = None,
    mask_pad: Tensor | None = None,
    reset: Tensor | None = None,
    c_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    states: States = sru_states,
) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.sru_recurrence` step by step; equations, shapes and dtypes are there."""
    marks = mask_pad if reset is None else pieces.marks(mask_pad, reset, bidirectional)
    return by_marks(
        u, v, bias, c0, c_reset, x, mask_c, marks, cu_seqlens, bidirectional, activation, scale_x, states
    )


def by_marks(
    u: Tensor,
    v: Tensor,
    bias: Tensor,
    c0: Tensor | None,
    c_reset: Tensor | None,
    x: Tensor | None,
    mask_c: Tensor | None,
    marks: Tensor | None,
    cu_seqlens: Tensor | None,
    bidirectional: bool,
    activation: str,
    scale_x: float,
    states: States = sru_states,
) -> tuple[Tensor, Tensor]:
    """Compute the recurrence from `marks` (as in `sru_nn.pieces`, or a bool padding mask), not masks.

    Only `c` depends on the previous step, so the loop `states` contains only the forget gate and the state;
    the output gate and the highway are computed for all steps at once. Concatenated sequences are treated as
    one sequence whose state is replaced where the next one begins.
    """
    mask_pad = None if marks is None else pieces.padding(marks)
    inputs = read_inputs(u, v, bias, x, mask_pad, bidirectional, scale_x)
    u_c, u_f, u_r, v_f, v_r, highway, pad = inputs
    total, batch, columns = u_c.shape
    rows = batch if cu_seqlens is None else cu_seqlens.shape[0] - 1
    c0 = u_c.new_zeros(rows, columns) if c0 is None else c0.to(u_c.dtype)
    begin: tuple[Tensor, ...] = (c0,)
    if cu_seqlens is not None:
        numbers = pieces.sequence_numbers(cu_seqlens, total)

        def per_position(rows: Tensor) -> Tensor:
            found = rows[numbers].unsqueeze(1)
            return reverse_second_direction(found) if bidirectional else found

        marks = pieces.sequence_marks(cu_seqlens, total)
        begin = u_c.new_zeros(1, columns), read_starts(marks, columns, bidirectional), per_position(c0)
        mask_c = None if mask_c is None else per_position(mask_c)
    elif marks is not None and marks.dtype != torch.bool:
        c_reset = u_c.new_zeros(columns) if c_reset is None else c_reset.to(u_c.dtype)
        begin = c0, read_starts(marks, columns, bidirectional), c_reset
    c_before, c, c_last = states(u_c, u_f, v_f, *begin)
    r = torch.sigmoid(torch.addcmul(u_r, v_r, c_before))
    if mask_c is not None:
        r = r * mask_c.to(r.dtype)
    g = activate(c, activation)
    h = r * g if highway is None else torch.lerp(highway, g, r)
    if pad is not None:
        h = h.masked_fill(pad, 0.0)
    if bidirectional:
        h = reverse_second_direction(h)
    if cu_seqlens is not None:
        c_last = _last_states(c, c0, cu_seqlens, bidirectional)
    return h.to(u.dtype), c_last


def _last_states(c: Tensor, c0: Tensor, cu_seqlens: Tensor, bidirectional: bool) -> Tensor:
    if not bidirectional:
        return pieces.last_states(c, c0, cu_seqlens)
    halves = zip(reverse_second_direction(c).chunk(2, -1), c0.chunk(2, -1), (False, True), strict=True)
    return torch.cat([pieces.last_states(*half[:2], cu_seqlens, half[2]) for half in halves], -1)
