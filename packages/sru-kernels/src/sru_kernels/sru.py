"""The arguments of the SRU kernels, for every device.

Arrays are addresses, 0 where one is absent. The caller vouches for what lies behind them: the shape, the
dtype, C order, and that no output overlaps another array.

T length, B batch, K gates, D hidden size per direction, N directions. S is the storage dtype (`dtype`); A is
float64 for S = float64 and float32 for any other. The second half of the N·D columns of a bidirectional run
walks time from T−1 to 0.
"""

from typing import NamedTuple

from ._native import Activation, DType

__all__ = ["SruBackward", "SruForward", "SruStep"]


class SruForward(NamedTuple):
    """What `sru_forward` reads and writes. The kernels take the fields by position."""

    dtype: DType
    """The storage dtype S."""
    activation: Activation
    """g, applied to the state before the output gate."""
    length: int
    """T, may be 0."""
    batch: int
    """B, may be 0."""
    hidden_size: int
    """D, at least 1."""
    num_directions: int
    """N, 1 or 2."""
    num_gates: int
    """K, 3 or 4."""
    u: int
    """In, (T, B, K, N·D) S: u_c, u_f, u_r and, for K = 4, u_x."""
    v: int
    """In, (2, N·D) A: v_f and v_r; (T, B, 2, N·D) A when `v_per_position`."""
    bias: int
    """In, (2, N·D) A: b_f and b_r."""
    c0: int
    """In, (B, N·D) A, the state before the first step; absent means zeros."""
    x: int
    """In, (T, B, N·D) S; absent means no highway. Always absent for K = 4."""
    mask_c: int
    """In, (B, N·D) A; absent means ones."""
    mask_pad: int
    """In, (T, B) bytes, nonzero is padding; absent means no padding."""
    scale_x: float
    """Multiplies x."""
    v_per_position: bool
    """Whether v differs from position to position."""
    h: int
    """Out, (T, B, N·D) S."""
    c: int
    """Out, (T, B, N·D) A, the state after each step at that step's own time index, which backward needs;
    absent in inference."""
    c_last: int
    """Out, (B, N·D) A, the state after the last step: time T−1, or 0 in the second direction."""


class SruBackward(NamedTuple):
    """What `sru_backward` reads and writes; down to `v_per_position` as in `SruForward`."""

    dtype: DType
    activation: Activation
    length: int
    batch: int
    hidden_size: int
    num_directions: int
    num_gates: int
    u: int
    v: int
    bias: int
    c0: int
    x: int
    mask_c: int
    mask_pad: int
    scale_x: float
    v_per_position: bool
    c: int
    """In, (T, B, N·D) A, as `sru_forward` wrote it."""
    grad_h: int
    """In, (T, B, N·D) S; absent means zeros."""
    grad_c_last: int
    """In, (B, N·D) A; absent means zeros."""
    grad_u: int
    """Out, (T, B, K, N·D) S."""
    grad_x: int
    """Out, (T, B, N·D) S; absent when not wanted."""
    grad_v: int
    """Out, (2, B, N·D) A, summed over time: the caller sums over B.
    (T, B, 2, N·D) A when `v_per_position`."""
    grad_bias: int
    """Out, (2, B, N·D) A, summed over time: the caller sums over B."""
    grad_c0: int
    """Out, (B, N·D) A."""


class SruStep(NamedTuple):
    """What `sru_step` reads and writes; `c_last` may be `c0`, and `x` may be `input`."""

    dtype: DType
    """The storage dtype S."""
    activation: Activation
    """g, applied to the state before the output gate."""
    batch: int
    """B, may be 0."""
    input_size: int
    """E, at least 1."""
    columns: int
    """N·D, at least 1: at a single step directions are nothing but columns."""
    num_gates: int
    """K, 3 or 4."""
    weight: int
    """In, (K, N·D, E), the rows of u_c, u_f, u_r and, for K = 4, u_x: S, or int8 with `weight_scale`."""
    input: int
    """In, (B, E) S."""
    v: int
    """In, (2, N·D) A: v_f and v_r."""
    bias: int
    """In, (2, N·D) A: b_f and b_r."""
    c0: int
    """In, (B, N·D) A, the state before the step; absent means zeros."""
    x: int
    """In, (B, N·D) S, the highway's input; absent means no highway. Always absent for K = 4."""
    scale_x: float
    """Multiplies x."""
    h: int
    """Out, (B, N·D) S."""
    c_last: int
    """Out, (B, N·D) A, the state after the step."""
    weight_scale: int = 0
    """In, (K, N·D) A, the factor of each row of an int8 weight; absent means that the weight is S."""
