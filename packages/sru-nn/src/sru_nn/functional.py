"""Recurrences as functions of tensors: the lowest public level, where arguments are checked once."""

from __future__ import annotations

import warnings
from reprlib import repr as short
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from sru_nn.arguments import Checker, check_flags, check_number
from sru_nn.cells.gated_linear import operator as gated_linear
from sru_nn.cells.mingru import operator as mingru
from sru_nn.cells.sru import operator as sru
from sru_nn.cells.sru import reference
from sru_nn.experimental.length_parallel import LengthParallel
from sru_nn.operators import is_transformed
from sru_nn.pieces import check_cu_seqlens

Activation = Literal["identity", "tanh", "relu"]
_ACTIVATIONS = get_args(Activation)


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
    reset: Tensor | None = None,
    c_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
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
        length_parallel: Experimental, and warns: whether to solve for all steps at once, without the kernels;
            a `LengthParallel` says how.

    `v`, `bias`, `c0` and `mask_c` are in the storage dtype or in the accumulation dtype.

    Returns:
        `h`: `(T, B, N·D)`, the outputs in the storage dtype.
        `c`: `(B, N·D)`, the state after the last step, in the accumulation dtype: float64 for float64
        storage, float32 for every other.

    Raises:
        ValueError: A shape, a device or the combination of options is wrong.
        TypeError: A dtype is wrong.

    Warns:
        FutureWarning: `length_parallel` is given.
        RuntimeWarning: `length_parallel` did not converge; the steps were taken one by one.

    The kernels of `sru-kernels` run it where they can (`sru_nn.backend`); they have first derivatives only.
    Forward-mode differentiation and the transforms of `torch.func` run the reference instead.

    What is not finite stays in its column of its sequence, from its step on. An infinite u_f or u_r opens or
    closes its gate. After an infinite u_c or c0 the state is infinite or NaN; which of them is unspecified,
    because 0·∞ depends on the rounding of a gate.

    Source: Lei et al., "Simple Recurrent Units for Highly Parallelizable Recurrence", EMNLP 2018, section 3;
    the mask and the scale are placed as in the `sru` package, version 2.6.0.
    """
    if type(scale_x) is not float:
        check_number("sru_recurrence", "scale_x", scale_x)
    inputs = sru.Inputs(u, v, bias, c0, x, mask_c, mask_pad, bidirectional, activation, float(scale_x))
    _check_sru(*inputs, reset=reset, c_reset=c_reset, cu_seqlens=cu_seqlens)
    if length_parallel is not False:
        if reset is not None or cu_seqlens is not None:
            raise ValueError(
                "sru_recurrence: length_parallel takes no reset and no cu_seqlens; choose length_parallel=False"
            )
        if not is_transformed():
            return reference.sru_recurrence(**inputs._asdict(), states=_solver(length_parallel).states)
    return sru.sru_recurrence(inputs, reset, c_reset, cu_seqlens)


def _check_sru(
    u: Any,
    v: Any,
    bias: Any,
    c0: Any = None,
    x: Any = None,
    mask_c: Any = None,
    mask_pad: Any = None,
    bidirectional: Any = False,
    activation: Any = "identity",
    scale_x: float = 1.0,
    reset: Any = None,
    c_reset: Any = None,
    cu_seqlens: Any = None,
) -> None:
    check = Checker("sru_recurrence", "u", u, "(T, B, K, N·D)", "gates before columns", sizes=(3, 4))
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ValueError(f"sru_recurrence: activation must be one of {_ACTIVATIONS}, got {short(activation)}")
    if type(bidirectional) is not bool:
        check_flags("sru_recurrence", bidirectional=bidirectional)
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
    per_position = isinstance(v, Tensor) and v.dim() == 4
    letters, shape = ("(T, B, 2, N·D)", (length, batch)) if per_position else ("(2, N·D)", ())
    check("v", v, letters, (*shape, 2, columns))
    check("bias", bias, "(2, N·D)", (2, columns))
    check("x", x, "(T, B, N·D)", (length, batch, columns), (u.dtype,), optional=True)
    rows, count = _check_pieces(check, mask_pad, reset, cu_seqlens, ("c0", "c_reset", c_reset))
    check("c0", c0, f"({rows}, N·D)", (count, columns), optional=True)
    check("mask_c", mask_c, f"({rows}, N·D)", (count, columns), optional=True)
    check("c_reset", c_reset, "(N·D,)", (columns,), optional=True)


def _check_pieces(
    check: Checker, mask_pad: Any, reset: Any, cu_seqlens: Any, state: tuple[str, str, Any]
) -> tuple[str, int]:
    """Check where sequences begin and end; return the letter and the number of states they begin with."""
    who, like = check.who, check.like
    length, batch = like.shape[:2]
    initial, restart, given = state
    if cu_seqlens is None:
        check("mask_pad", mask_pad, "(T, B)", (length, batch), (torch.bool,), optional=True)
        check("reset", reset, "(T, B)", (length, batch), (torch.bool,), optional=True)
        if given is not None and reset is None:
            raise ValueError(f"{who}: {restart} has no effect without reset; pass reset, or {restart}=None")
        return "B", batch
    if mask_pad is not None:
        raise ValueError(f"{who}: with cu_seqlens pass mask_pad=None; there is no padding")
    if reset is not None:
        raise ValueError(f"{who}: with cu_seqlens pass reset=None; add a boundary to cu_seqlens")
    if given is not None:
        raise ValueError(f"{who}: with cu_seqlens pass {restart}=None; {initial} has a state per sequence")
    if batch != 1:
        raise ValueError(
            f"{who}: with cu_seqlens {check.first} must hold the sequences end to end, as a batch of one, "
            f"got {tuple(like.shape)}"
        )
    check_cu_seqlens(who, cu_seqlens, length, like)
    return "S", cu_seqlens.shape[0] - 1


def _solver(length_parallel: object) -> LengthParallel:
    solver = LengthParallel() if length_parallel is True else length_parallel
    if not isinstance(solver, LengthParallel):
        raise TypeError(
            "sru_recurrence: length_parallel must be a bool or a LengthParallel, "
            f"got {type(length_parallel).__name__}"
        )
    if not torch.compiler.is_compiling():
        warnings.warn(
            "length_parallel is experimental and may be removed: sru_nn.experimental.length_parallel",
            FutureWarning,
            stacklevel=3,
        )
    return solver


def gated_linear_recurrence(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_g: Tensor,
    s0: Tensor | None = None,
    *,
    mask_pad: Tensor | None = None,
    reset: Tensor | None = None,
    s_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run linear attention with a gate per key: a recurrence whose state is a matrix.

        S_t = diag(g_t) S_{t-1} + k_t v_tᵀ        o_t = S_tᵀ q_t

    At a padded position S_t = S_{t-1} and o_t = 0, and no gradient reaches the inputs of that position. Where
    a sequence begins S_{t-1} is `s_reset`, whatever came before, and no gradient reaches that. A reset at a
    padded position counts for nothing.

    T is time, B batch, H the number of heads, K the size of a head's queries and keys and V that of its
    values.

    Args:
        q: `(T, B, H, K)`, the queries. float32, float64, float16 or bfloat16; this is the storage dtype.
        k: `(T, B, H, K)`, the keys, in the storage dtype.
        v: `(T, B, H, V)`, the values, in the storage dtype.
        log_g: `(T, B, H, K)`, the logarithms of the gates, at most zero; minus infinity closes a gate. In the
            storage dtype or in the accumulation dtype.
        s0: `(B, H, K, V)`, the state before the first step, in either dtype; zeros if None.
        mask_pad: `(T, B)` bool, True where a position is padding.
        reset: `(T, B)` bool, True where a sequence begins.
        s_reset: `(H, K, V)`, the state before a step with a reset, in either dtype; zeros if None.
        cu_seqlens: `(S + 1,)` int32 or int64, for S sequences that lie end to end in a batch of one: sequence
            i has the positions from `cu_seqlens[i]` up to `cu_seqlens[i + 1]`, and `s0` and `s` have S in
            place of B. Its values are checked on the CPU alone.

    Returns:
        `o`: `(T, B, H, V)`, the outputs in the storage dtype.
        `s`: `(B, H, K, V)`, the state after the last step, in the accumulation dtype: float64 for float64
        storage, float32 for every other.

    Raises:
        ValueError: A shape or a device is wrong.
        TypeError: A dtype is wrong.

    On a CPU the kernels of `sru-kernels` run it where they can (`sru_nn.backend`), step by step. Everywhere
    else matrix products compute chunks of 32 steps; what decays within a chunk below 1e-19 of a query, a key
    or a state (1e-154 in float64) counts as zero. Both are accurate for gates of any size. Forward-mode
    differentiation, the transforms of `torch.func` and second derivatives run the reference, step by step.

    What is not finite stays in its head of its sequence; chunks may carry it to earlier steps too.

    Source: Katharopoulos et al., "Transformers are RNNs: Fast Autoregressive Transformers with Linear
    Attention", ICML 2020; Yang et al., "Gated Linear Attention Transformers with Hardware-Efficient
    Training", ICML 2024, sections 3 and 4.
    """
    _check_gated_linear(q, k, v, log_g, s0, mask_pad, reset, s_reset, cu_seqlens)
    return gated_linear.gated_linear_recurrence(
        q, k, v, log_g, s0, mask_pad=mask_pad, reset=reset, s_reset=s_reset, cu_seqlens=cu_seqlens
    )


def _check_gated_linear(
    q: Any,
    k: Any,
    v: Any,
    log_g: Any,
    s0: Any = None,
    mask_pad: Any = None,
    reset: Any = None,
    s_reset: Any = None,
    cu_seqlens: Any = None,
) -> None:
    check = Checker("gated_linear_recurrence", "q", q, "(T, B, H, K)", "heads before keys")
    length, batch, heads, key_size = q.shape
    value_size = v.shape[-1] if isinstance(v, Tensor) and v.dim() == 4 else "V"
    check("k", k, "(T, B, H, K)", (length, batch, heads, key_size), (q.dtype,))
    check("v", v, "(T, B, H, V)", (length, batch, heads, value_size), (q.dtype,))
    check("log_g", log_g, "(T, B, H, K)", (length, batch, heads, key_size))
    rows, count = _check_pieces(check, mask_pad, reset, cu_seqlens, ("s0", "s_reset", s_reset))
    check("s0", s0, f"({rows}, H, K, V)", (count, heads, key_size, value_size), optional=True)
    check("s_reset", s_reset, "(H, K, V)", (heads, key_size, value_size), optional=True)


def mingru_recurrence(
    u: Tensor,
    h0: Tensor | None = None,
    *,
    mask_pad: Tensor | None = None,
    reset: Tensor | None = None,
    h_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence of the minimal GRU over a batch of pre-activations.

        z_t = σ(u_z)        h_t = (1 − z_t) ⊙ h_{t-1} + z_t ⊙ u_h

    At a padded position the state is h_{t-1} and the output zero, and no gradient reaches the inputs of that
    position.

    Args:
        u: `(T, B, 2, D)`, the pre-activations `u_h, u_z`. float32, float64, float16 or bfloat16; this is the
            storage dtype.
        h0: `(B, D)`, the state before the first step, in the storage dtype or in the accumulation dtype;
            zeros if None.
        mask_pad: `(T, B)` bool, True where a position is padding.

    Returns:
        `h`: `(T, B, D)`, the states after each step in the storage dtype.
        `h_last`: `(B, D)`, the state after the last step, in the accumulation dtype: float64 for float64
        storage, float32 for every other.

    Raises:
        ValueError: A shape or a device is wrong.
        TypeError: A dtype is wrong.

    A loop, a scan in parallel over time or the kernels of the SRU (`sru_nn.backend`) compute it, whichever
    should be fastest; the kernels have first derivatives only. The transforms of `torch.func` run the loop.

    What is not finite stays in its column of its sequence, from its step on: the state is infinite or NaN,
    and which of them is unspecified. An infinite u_z opens or closes its gate.

    Source: Feng et al., "Were RNNs All We Needed?", 2024 (arXiv:2410.01201), section 3.1.
    """
    _check_mingru(u, h0, mask_pad, reset, h_reset, cu_seqlens)
    return mingru.mingru_recurrence(
        u, h0, mask_pad=mask_pad, reset=reset, h_reset=h_reset, cu_seqlens=cu_seqlens
    )


def _check_mingru(
    u: Any,
    h0: Any = None,
    mask_pad: Any = None,
    reset: Any = None,
    h_reset: Any = None,
    cu_seqlens: Any = None,
) -> None:
    check = Checker("mingru_recurrence", "u", u, "(T, B, 2, D)", "u_h before u_z", sizes=(2,))
    columns = u.shape[3]
    rows, count = _check_pieces(check, mask_pad, reset, cu_seqlens, ("h0", "h_reset", h_reset))
    check("h0", h0, f"({rows}, D)", (count, columns), optional=True)
    check("h_reset", h_reset, "(D,)", (columns,), optional=True)
