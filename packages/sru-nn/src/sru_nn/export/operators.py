"""The operators of `sru_nn` in terms of PyTorch's own, for graphs that run without this package."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sru_nn import pieces, reference
from sru_nn.cells.gated_linear.operator import PieceInputs as GatedPieces
from sru_nn.cells.gated_linear.reference import gated_linear_recurrence
from sru_nn.cells.ligru import reference as ligru
from sru_nn.cells.ligru.operator import Inputs as LiGRUInputs
from sru_nn.cells.ligru.rows import Rows
from sru_nn.cells.sru.operator import Inputs
from sru_nn.cells.sru.pieces import PieceInputs
from sru_nn.cells.sru.reference import by_marks, sru_states
from sru_nn.operators import TORCH_2_13


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Return a table for `ExportedProgram.run_decompositions`.

    An operator becomes the operations of `sru_nn.reference`. Its loop over time is PyTorch's `scan`, which
    takes sequences of any length; a single step has no loop. Before torch 2.13 the loop is unrolled instead,
    and the length of the time axis must be fixed. What an operator saves for gradients is left out.

    `torch.onnx.export` with `dynamo=True` replaces the operators by itself. A graph that also computes
    gradients is rejected.

    Returns:
        A function for each operator.

    Example:
        >>> import torch, sru_nn.export
        >>> rnn, x = sru_nn.SRU(4, 4).eval(), torch.randn(5, 2, 4)
        >>> with torch.no_grad():
        ...     program = torch.export.export(rnn, (x,))
        >>> program = program.run_decompositions(sru_nn.export.decompositions())
    """
    who = "sru_nn.export.decompositions"
    backward = [f"{name.removesuffix('_forward')}_backward" for name in _FORWARD if name.endswith("_forward")]
    return {**inference_table(who), **_table(who, dict.fromkeys(backward, _refuse_gradients))}


def inference_table(who: str) -> dict[Any, Callable[..., Any]]:
    """Return the `decompositions` of a graph without gradients; errors begin with `who`, the caller."""
    return _table(who, _FORWARD)


def _table(who: str, functions: dict[str, Callable[..., Any]]) -> dict[Any, Callable[..., Any]]:
    return {
        getattr(torch.ops.sru_nn, name).default: _called_by(who, function)
        for name, function in functions.items()
    }


class _NotReplacedError(Exception):
    """An operator cannot be replaced; the message gives the reason."""


def _called_by(who: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any) -> Any:
        try:
            return function(*args)
        except _NotReplacedError as refusal:
            raise RuntimeError(f"{who}: {refusal}") from None

    return run


def _has_no_loop(length: Any) -> bool:
    """Return whether the steps are unrolled in the graph; the length may be a symbol."""
    if isinstance(length, int) and (length <= 1 or not TORCH_2_13):
        return True
    if not TORCH_2_13:
        raise _NotReplacedError(
            f"a time axis of any length needs torch 2.13, this is {torch.__version__}; upgrade it, or export "
            "with a fixed length (no Dim for the time axis) and feed longer sequences in chunks, with a state"
        )
    return False


def scan(step: Callable[..., Any], state: Tensor, over_time: Sequence[Tensor], *constant: Any) -> Any:
    """Put a loop over time into the graph.

    Args:
        step: Maps a state, the slices of `over_time` for its step, the constants and any symbolic sizes to
            the next state and the outputs, none of which share memory.
        state: The state before the first step.
        over_time: At least one tensor whose first axis is time.
        constant: Passed to every step.

    Returns:
        The state after the last step, and each output for all steps.
    """
    from torch._higher_order_ops.scan import scan_op

    # AOTInductor resolves a symbol in the shape of a loop's outputs only if it is an input of its own.
    symbols = [size for size in state.shape if not isinstance(size, int)]
    # The loop would copy non-contiguous tensors at every step.
    return scan_op(step, [state], [tensor.contiguous() for tensor in over_time], (*constant, *symbols))


def _sru_forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    inputs = Inputs(*args[:-1])
    h, c_last = reference.sru_recurrence(**inputs._asdict(), states=_scan_states)
    return h, c_last, inputs.bias.new_empty(0)


def _sru_pieces_forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    inputs = PieceInputs(*args[:-1])
    h, c_last = by_marks(*inputs, states=_scan_states)
    return h, c_last, inputs.bias.new_empty(0)


def _scan_states(
    u_c: Tensor,
    u_f: Tensor,
    v_f: Tensor,
    c0: Tensor,
    starts: Tensor | None = None,
    c_reset: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `reference.sru_states` with the loop in the graph."""
    if _has_no_loop(u_c.shape[0]):
        return sru_states(u_c, u_f, v_f, c0, starts, c_reset)
    given = {"u_c": u_c, "u_f": u_f, "v_f": v_f, "starts": starts, "c_reset": c_reset}
    over_time = {name: x for name, x in given.items() if x is not None and x.dim() == 3}
    constant = {name: x for name, x in given.items() if x is not None and x.dim() == 1}

    def step(c: Tensor, *values: Any) -> tuple[Tensor, Tensor, Tensor]:
        now = dict(zip((*over_time, *constant), values, strict=False))  # symbols follow
        if starts is not None:
            c = torch.where(now["starts"], now["c_reset"], c)
        c_next = sru_states(now["u_c"].unsqueeze(0), now["u_f"].unsqueeze(0), now["v_f"], c)[2]
        # Both states are outputs, so nothing is concatenated after the loop; outputs may not share memory.
        return c_next, c.clone(), c_next.clone()

    c_last, before, after = scan(step, c0, tuple(over_time.values()), *constant.values())
    return before, after, c_last


def _gated_linear_forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _gated_linear_pieces_forward(*args[:-1], None, None, None, args[-1])


def _gated_linear_pieces_forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    inputs = GatedPieces(*args[:-1])
    q, k, v, log_g, s0, s_reset, marks, cu_seqlens = inputs
    length, batch, heads, key_size = q.shape
    sequences = batch if cu_seqlens is None else cu_seqlens.shape[0] - 1
    s = q.new_zeros(sequences, heads, key_size, v.shape[-1], dtype=reference.accumulate_dtype(q.dtype))
    s = s if s0 is None else s0.to(s.dtype)
    nothing = s.new_empty(0, batch * heads, *s.shape[2:])
    if cu_seqlens is not None:
        marks = pieces.sequence_marks(cu_seqlens, length)
    starts = None if marks is None else pieces.starts(marks, False)
    if _has_no_loop(length):
        reset = starts if cu_seqlens is None else None
        found = gated_linear_recurrence(
            q, k, v, log_g, s, reset=reset, s_reset=s_reset, cu_seqlens=cu_seqlens
        )
        return *found, nothing
    over_time, constant = [q, k, v, log_g], []
    if starts is not None:
        over_time.append(starts[:, :, None, None, None])
    if cu_seqlens is not None:
        over_time.append(s[pieces.sequence_numbers(cu_seqlens, length)].unsqueeze(1))
    elif starts is not None:
        constant = [s.new_zeros(s.shape[1:]) if s_reset is None else s_reset.to(s.dtype)]

    def step(s: Tensor, *now: Any) -> tuple[Tensor, ...]:
        q, k, v, log_g = (x.unsqueeze(0) for x in now[:4])
        if starts is not None:
            s = torch.where(now[4], now[5], s)
        o, s = gated_linear_recurrence(q, k, v, log_g, s)
        return (s, o.squeeze(0)) if cu_seqlens is None else (s, o.squeeze(0), s.clone())

    if cu_seqlens is None:
        s, o = scan(step, s, over_time, *constant)
        return o, s, nothing
    _, o, states = scan(step, s.new_zeros(1, *s.shape[1:]), over_time)
    return o, pieces.last_states(states, s, cu_seqlens), nothing


def _ligru_forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    inputs = LiGRUInputs(*args[:-1])
    # The rows of two directions are twice the batch, which then is a separate symbol.
    batch = [inputs.u.shape[1]] if inputs.bidirectional else []
    h, last = ligru.by_marks(*inputs, states=lambda *given: _scan_ligru_states(*given, *batch))
    return h, last, last.new_empty(0)


def _scan_ligru_states(
    rows: Rows, product: ligru.Product, activation: str, *sizes: Any
) -> tuple[Tensor, Tensor]:
    """Compute `reference.ligru_states` of the cell with the loop in the graph.

    The number of rows is computed from `sizes`.
    """
    if _has_no_loop(rows.u.shape[0]):
        return ligru.ligru_states(rows, product, activation)
    given = {**rows._asdict(), **vars(product)}
    tensors = {name: x for name, x in given.items() if isinstance(x, Tensor) and name != "h"}
    over_time = {name: x for name, x in tensors.items() if x.dim() == 3}
    constant = {name: x for name, x in tensors.items() if x.dim() < 3}

    def step(h: Tensor, *values: Any) -> tuple[Tensor, Tensor]:
        now = given | {"h": h} | dict(zip((*over_time, *constant), values, strict=False))  # symbols follow
        one_step = {name: now[name].unsqueeze(0) if name in over_time else now[name] for name in now}
        _, h = ligru.ligru_states(
            Rows(*(one_step[name] for name in Rows._fields)),
            ligru.Product(**{name: one_step[name] for name in vars(product)}),
            activation,
        )
        return h, h.clone()  # outputs may not share memory

    symbols = [size for size in sizes if not isinstance(size, int)]
    last, states = scan(step, rows.h, tuple(over_time.values()), *constant.values(), *symbols)
    return states, last


def _refuse_packed(*_: Any) -> Any:
    raise _NotReplacedError(
        "the program lays out a PackedSequence, which needs sru_nn; pass the sequences end to end with "
        "cu_seqlens, or padded with mask_pad"
    )


def _refuse_gradients(*_: Any) -> Any:
    raise _NotReplacedError(
        "the graph computes gradients, which these decompositions do not support; export the model alone, "
        "without its loss and the backward pass"
    )


_FORWARD = {
    "sru_forward": _sru_forward,
    "sru_pieces_forward": _sru_pieces_forward,
    "gated_linear_forward": _gated_linear_forward,
    "gated_linear_pieces_forward": _gated_linear_pieces_forward,
    "ligru_forward": _ligru_forward,
    "packed_layout": _refuse_packed,
}

# torch.onnx.export looks here for operators that it cannot translate. DTensor looks here too, to propagate
# shards through operators without a sharding strategy. It can handle a single step; for a loop it reports
# that there is no strategy. The backward operators are left out so that it reports the same for them.
getattr(torch._decomp, "decomposition_table", {}).update(inference_table("torch.onnx.export"))
