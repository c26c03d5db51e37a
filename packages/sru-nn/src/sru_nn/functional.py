"""Recurrences as functions of tensors: the lowest public level, where arguments are checked once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from sru_nn import backend, reference
from sru_nn.eager import is_transformed
from sru_nn.length_parallel import LengthParallel
from sru_nn.ops import sru as ops

Activation = Literal["identity", "tanh", "relu"]


def sru_recurrence(
    u: Tensor,
    v: Tensor,
    bias: Tensor,
    c0: Tensor | None = None,
    *,
    x: Tensor | None = None,
    bidirectional: bool = False,
    activation: Activation = "identity",
    scale_x: float = 1.0,
    mask_c: Tensor | None = None,
    mask_pad: Tensor | None = None,
    length_parallel: bool | LengthParallel = False,
) -> tuple[Tensor, Tensor]:
    """Run the SRU recurrence over a batch of pre-activations.

        f_t = σ(u_f + v_f ⊙ c_{t-1} + b_f)        r_t = σ(u_r + v_r ⊙ c_{t-1} + b_r)
        c_t = f_t ⊙ c_{t-1} + (1 − f_t) ⊙ u_c     h_t = r_t ⊙ m ⊙ g(c_t) + (1 − r_t ⊙ m) ⊙ x'_t

    The highway term x'_t is u_x when `u` has four gates, s·x_t when `x` is given, and zero otherwise. At a
    padded position c_t = c_{t-1} and h_t = 0, and no gradient reaches the inputs of that position.

    T is time, B batch, K the number of gates, D the hidden size per direction and N the number of directions
    (2 if `bidirectional`, whose second half of the columns runs from the last step to the first).

    Args:
        u: `(T, B, K, N·D)`, the pre-activations `u_c, u_f, u_r` (K = 3) and `u_x` (K = 4). float32,
            float64, float16 or bfloat16; this is the storage dtype.
        v: `(2, N·D)`, the recurrent vectors `v_f, v_r`, or `(T, B, 2, N·D)` for one pair per position.
        bias: `(2, N·D)`, the biases `b_f, b_r`.
        c0: `(B, N·D)`, the state before the first step; zeros if None.
        x: `(T, B, N·D)`, the highway input, in the storage dtype; only with K = 3.
        bidirectional: Whether the columns hold two directions.
        activation: The function g: `"identity"`, `"tanh"` or `"relu"`.
        scale_x: The factor s of `x`.
        mask_c: `(B, N·D)`, the variational dropout mask m, already divided by the keep probability.
        mask_pad: `(T, B)` bool, True where a position is padding.
        length_parallel: Whether plain PyTorch solves for all steps at once, which may pay on a GPU with very
            long sequences and a small batch; a `LengthParallel` says how. The kernels are not used then.

    `v`, `bias`, `c0` and `mask_c` are in the storage dtype or in the accumulation dtype.

    Returns:
        `h`: `(T, B, N·D)`, the outputs in the storage dtype.
        `c`: `(B, N·D)`, the state after the last step, in the accumulation dtype: float64 for float64
        storage, float32 for every other.

    Raises:
        ValueError: A shape, a device or the combination of options is wrong.
        TypeError: A dtype is wrong.

    Warns:
        RuntimeWarning: The solution of `length_parallel` did not converge; all steps were taken in a row.

    The kernels of `sru-kernels` run it where they can (`sru_nn.backend`); they have first derivatives only.
    In forward-mode differentiation and the transforms of `torch.func` the reference runs in their place, and
    in that of `length_parallel`.

    Source: Lei et al., "Simple Recurrent Units for Highly Parallelizable Recurrence", EMNLP 2018, section 3;
    the mask and the scale are placed as in the `sru` package, version 2.6.0.
    """
    _check_sru_recurrence(u, v, bias, c0, x, bidirectional, activation, scale_x, mask_c, mask_pad)
    # The kernels take the dropout mask for a constant, as the modules draw it.
    constant_mask = mask_c is None or not mask_c.requires_grad
    # A graph gets the operator on any device: the loop of the reference would be unrolled in it.
    compiling = torch.compiler.is_compiling()
    run: Callable[..., tuple[Tensor, Tensor]] = reference.sru_recurrence
    if is_transformed():
        pass
    elif length_parallel:
        run = functools.partial(run, states=_solver(length_parallel).states)
    elif constant_mask and (compiling or backend.active(u.device) == "kernels"):
        run = ops.sru_recurrence
    return run(
        u,
        v,
        bias,
        c0,
        x=x,
        bidirectional=bidirectional,
        activation=activation,
        scale_x=scale_x,
        mask_c=mask_c,
        mask_pad=mask_pad,
    )


_DEFAULT_SOLVER = LengthParallel()


def _solver(length_parallel: bool | LengthParallel) -> LengthParallel:
    if isinstance(length_parallel, LengthParallel):
        return length_parallel
    if length_parallel is True:
        return _DEFAULT_SOLVER
    raise TypeError(
        "sru_recurrence: length_parallel must be a bool or a LengthParallel, "
        f"got {type(length_parallel).__name__}"
    )


_ACTIVATIONS = get_args(Activation)
_STORAGE_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def _check_sru_recurrence(
    u: Tensor,
    v: Tensor,
    bias: Tensor,
    c0: Tensor | None,
    x: Tensor | None,
    bidirectional: bool,
    activation: str,
    scale_x: float,
    mask_c: Tensor | None,
    mask_pad: Tensor | None,
) -> None:
    """Raise on the first argument that `sru_recurrence` cannot take."""
    if u.dim() != 4 or u.shape[2] not in (3, 4):
        raise ValueError(
            f"sru_recurrence: u must have shape (T, B, K, N·D) with K = 3 or 4, got {tuple(u.shape)}; "
            "reshape the projection's output with .view(T, B, K, N·D), gates before columns"
        )
    if u.dtype not in _STORAGE_DTYPES:
        raise TypeError(f"sru_recurrence: u must be float32, float64, float16 or bfloat16, got {u.dtype}")
    if activation not in _ACTIVATIONS:
        raise ValueError(f"sru_recurrence: activation must be one of {_ACTIVATIONS}, got {activation!r}")
    length, batch, gates, columns = u.shape
    if bidirectional and columns % 2:
        raise ValueError(
            f"sru_recurrence: bidirectional needs an even number of columns N·D, "
            f"got {columns} in u {tuple(u.shape)}"
        )
    if x is not None and gates == 4:
        raise ValueError("sru_recurrence: u with K = 4 gates brings its own highway term u_x; pass x=None")
    if x is None and scale_x != 1.0:
        raise ValueError(
            f"sru_recurrence: scale_x = {scale_x} has no effect without x; pass x or leave scale_x at 1"
        )

    accumulate = reference.accumulate_dtype(u.dtype)
    if v.dim() == 4:
        _check_tensor("v", v, "(T, B, 2, N·D)", (length, batch, 2, columns), u, (u.dtype, accumulate))
    else:
        _check_tensor("v", v, "(2, N·D)", (2, columns), u, (u.dtype, accumulate))
    _check_tensor("bias", bias, "(2, N·D)", (2, columns), u, (u.dtype, accumulate))
    if c0 is not None:
        _check_tensor("c0", c0, "(B, N·D)", (batch, columns), u, (u.dtype, accumulate))
    if x is not None:
        _check_tensor("x", x, "(T, B, N·D)", (length, batch, columns), u, (u.dtype,))
    if mask_c is not None:
        _check_tensor("mask_c", mask_c, "(B, N·D)", (batch, columns), u, (u.dtype, accumulate))
    if mask_pad is not None:
        _check_tensor("mask_pad", mask_pad, "(T, B)", (length, batch), u, (torch.bool,))


def _check_tensor(
    name: str,
    tensor: Tensor,
    letters: str,
    shape: tuple[int, ...],
    like: Tensor,
    dtypes: tuple[torch.dtype, ...],
) -> None:
    if tensor.shape != shape:
        raise ValueError(
            f"sru_recurrence: {name} must have shape {letters} = {shape}, got {tuple(tensor.shape)}"
        )
    if tensor.dtype not in dtypes:
        expected = " or ".join(dict.fromkeys(str(dtype) for dtype in dtypes))
        raise TypeError(
            f"sru_recurrence: {name} must be {expected} with u of {like.dtype}, got {tensor.dtype}"
        )
    if tensor.device != like.device:
        raise ValueError(
            f"sru_recurrence: {name} must be on the device of u, {like.device}, got {tensor.device}"
        )
