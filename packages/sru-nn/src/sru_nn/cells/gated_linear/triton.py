"""The operators for pieces of the gated linear recurrence in Triton, for GPUs of any vendor."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from sru_nn.cells.gated_linear import chunks, pieces
from sru_nn.cells.gated_linear.plain import PieceInputs
from sru_nn.cells.gated_linear.triton_results import gradients_of_keys, gradients_of_values, outputs
from sru_nn.cells.gated_linear.triton_walks import walk_backward, walk_forward
from sru_nn.kernels import current_device

# Keys and values per block: the fewest that any GPU can multiply, and the most that fit in the registers.
_KEYS, _VALUES = 16, 32
_VERSION = tuple(int(number) for number in triton.__version__.split(".")[:2])


def forward(inputs: PieceInputs, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return `o`, the last states, and with `save` the states before each chunk."""
    o, s, states = pieces.results(inputs, True)
    q, k, v, log_g, s0, s_reset, *where = inputs
    keys, values = _count_blocks(inputs)
    if s.numel() == 0:
        o.zero_()
    else:
        walks, parts = s.shape[:2].numel(), states.shape[:2].numel()
        _launch(walk_forward, walks * keys * values, inputs, k, v, log_g, s0, s_reset, *where, s, states)
        where.append(_sequences(inputs.cu_seqlens, states))
        _launch(outputs, parts * values, inputs, q, k, v, log_g, s_reset, *where, states, o)
    return o, s, states if save else states.new_empty(0, *states.shape[1:])


def backward(
    inputs: PieceInputs, states: Tensor, grad_o: Tensor | None, grad_s: Tensor | None
) -> tuple[Tensor, ...]:
    """Return the gradients of `q`, `k`, `v`, `log_g`, `s0` and `s_reset`."""
    found = pieces.gradients(inputs)
    grad_q, grad_k, grad_v, grad_log_g, grad_s0, grad_s_reset = found
    if grad_s0.numel() == 0:
        return tuple(grad.zero_() for grad in found)
    q, k, v, log_g, _, s_reset, *where = inputs
    grad_o = torch.zeros_like(v) if grad_o is None else grad_o
    grad_states, of_rows = torch.empty_like(states), None if s_reset is None else torch.empty_like(grad_s0)
    keys, values = _count_blocks(inputs)
    walks, parts = grad_s0.shape[:2].numel(), states.shape[:2].numel()
    given = (q, log_g, grad_o, grad_s, *where)
    _launch(walk_backward, walks * keys * values, inputs, *given, grad_s0, of_rows, grad_states)
    where.append(_sequences(inputs.cu_seqlens, states))
    _launch(gradients_of_values, parts * values, inputs, q, k, log_g, *where, grad_states, grad_o, grad_v)
    given = (q, k, v, log_g, s_reset, *where, states, grad_states, grad_o)
    _launch(gradients_of_keys, parts * keys, inputs, *given, grad_q, grad_k, grad_log_g)
    # The batch is summed here, in a fixed order.
    return *found[:5], grad_s_reset if of_rows is None else of_rows.sum(0)


def _launch(kernel: Any, programs: int, inputs: PieceInputs, *tensors: Tensor | None) -> None:
    """Launch a kernel, unless there is nothing to do."""
    if programs == 0:
        return
    q, sizes = inputs.q, (*inputs.q.shape, inputs.v.shape[-1])
    holds_most = kernel is gradients_of_keys
    with current_device(q):
        kernel[(programs,)](
            *(None if x is None else x.contiguous() for x in tensors),
            *sizes,
            _KEYS,
            _KEYS if holds_most else _VALUES,
            _precision(q),
            num_warps=8 if holds_most else 4,
            enable_fp_fusion=True,
        )


def _count_blocks(inputs: PieceInputs) -> tuple[int, int]:
    """Return the number of blocks of keys and of values."""
    return triton.cdiv(inputs.q.shape[-1], _KEYS), triton.cdiv(inputs.v.shape[-1], _VALUES)


def _precision(like: Tensor) -> str:
    """Return the `input_precision` of `tl.dot` for float32 matrices.

    Where tensor cores support bfloat16 but not float32, six bfloat16 products are as accurate as one float32
    product, and faster. Triton supports them from 3.6 on.
    """
    if like.dtype == torch.float64 or like.is_cpu or torch.version.hip is not None:
        return "ieee"
    if like.is_cuda and torch.cuda.get_device_capability(like.device) < (8, 0):
        return "ieee"
    if torch.get_float32_matmul_precision() != "highest":
        return "tf32"
    return "bf16x6" if _VERSION >= (3, 6) else "ieee"


def _sequences(offsets: Tensor | None, states: Tensor) -> Tensor | None:
    """Return the index of the sequence that each chunk belongs to, in the order of the saved states."""
    if offsets is None:
        return None
    numbers = torch.arange(1, len(offsets) - 1, device=offsets.device)
    firsts = offsets[1:-1] // chunks.CHUNK + numbers  # of all sequences but the first
    places = torch.arange(len(states), device=offsets.device)
    return torch.bucketize(places, firsts, right=True)
