"""The operators of `sru_nn` in terms of PyTorch's own, for graphs that run without this package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sru_nn import reference
from sru_nn.cells.sru.plain import Inputs
from sru_nn.operators import TORCH_2_13


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Return a table for `ExportedProgram.run_decompositions`.

    An operator becomes the operations of `sru_nn.reference`. Its loop over time is PyTorch's `scan`, which
    takes sequences of any length; a single step has no loop. Before torch 2.13 the loop is unrolled instead,
    and the length of the time axis must be fixed.

    Returns:
        A function for each operator.

    Example:
        >>> import torch, sru_nn.export
        >>> rnn, x = sru_nn.SRU(4, 4).eval(), torch.randn(5, 2, 4)
        >>> with torch.no_grad():
        ...     program = torch.export.export(rnn, (x,))
        >>> program = program.run_decompositions(sru_nn.export.decompositions())
    """
    operators = torch.ops.sru_nn
    return {
        operators.sru_forward.default: _sru_forward,
        operators.gated_linear_forward.default: _gated_linear_forward,
    }


def _refuse_gradients(save: bool) -> None:
    if save:
        raise RuntimeError(
            "sru_nn.export.decompositions: the program computes gradients, which these operations do not "
            "have; export it under torch.no_grad()"
        )


def _has_no_loop(length: Any) -> bool:
    """Return whether the steps are written out in the graph; the length may be a symbol."""
    if isinstance(length, int) and (length <= 1 or not TORCH_2_13):
        return True
    if not TORCH_2_13:
        raise RuntimeError(
            "sru_nn.export.decompositions: a time axis of any length needs torch 2.13, this is "
            f"{torch.__version__}; upgrade it, or export with a fixed length (no Dim for the time axis) "
            "and feed longer sequences in chunks, with the state"
        )
    return False


def _scan(step: Callable[..., Any], state: Tensor, over_time: Sequence[Tensor], *constant: Tensor) -> Any:
    """Put a loop into the graph; `step` maps a state and what belongs to its step to a state and results."""
    from torch._higher_order_ops.scan import scan_op

    # AOTInductor finds a symbol in the shape of a loop's results only if it is an input of its own.
    symbols = [size for size in state.shape if not isinstance(size, int)]
    # It would copy what is not contiguous at every step.
    return scan_op(step, [state], [tensor.contiguous() for tensor in over_time], (*constant, *symbols))


def _sru_forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    inputs, save = Inputs(*args[:-1]), args[-1]
    _refuse_gradients(save)
    h, c_last = reference.sru_recurrence(**inputs._asdict(), states=_scan_states)
    return h, c_last, inputs.bias.new_empty(0)


def _scan_states(u_c: Tensor, u_f: Tensor, v_f: Tensor, c0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `reference.sru_states` with the loop in the graph."""
    if _has_no_loop(u_c.shape[0]):
        return reference.sru_states(u_c, u_f, v_f, c0)

    def step(c: Tensor, u_c: Tensor, u_f: Tensor, v_f: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
        c_next = reference.sru_states(u_c.unsqueeze(0), u_f.unsqueeze(0), v_f, c)[2]
        # Both states are results, so that nothing is joined after the loop; results may not share memory.
        return c_next, c.clone(), c_next.clone()

    per_position = v_f.dim() == 3
    over_time, constant = ((u_c, u_f, v_f), ()) if per_position else ((u_c, u_f), (v_f,))
    c_last, before, after = _scan(step, c0, over_time, *constant)
    return before, after, c_last


def _gated_linear_forward(
    q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, s0: Tensor | None, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    _refuse_gradients(save)
    length, batch, heads, key_size = q.shape
    s = q.new_zeros(batch, heads, key_size, v.shape[-1], dtype=reference.accumulate_dtype(q.dtype))
    s = s if s0 is None else s0.to(s.dtype)
    nothing = s.new_empty(0, batch * heads, *s.shape[2:])
    if _has_no_loop(length):
        return *reference.gated_linear_recurrence(q, k, v, log_g, s), nothing

    def step(s: Tensor, *now: Any) -> tuple[Tensor, Tensor]:
        q, k, v, log_g = (x.unsqueeze(0) for x in now[:4])
        o, s = reference.gated_linear_recurrence(q, k, v, log_g, s)
        return s, o.squeeze(0)

    s, o = _scan(step, s, (q, k, v, log_g))
    return o, s, nothing
