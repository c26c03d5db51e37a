"""The arguments of the SRU kernels, on every device.

Arrays are passed as addresses, 0 where one is absent. The caller guarantees what lies behind them: shape,
dtype, C order, and that no output overlaps another array unless its description says so.

T length, B batch, K gates, D hidden size per direction, N directions, E input size. S is the storage dtype
(`dtype`); A is float64 for S = float64 and float32 otherwise. The second half of the N·D columns of a
bidirectional run walks time from T−1 to 0.
"""

from typing import NamedTuple

from ._native import Activation, DType

__all__ = ["SruBackward", "SruForward", "SruStep"]

class SruForward(NamedTuple):
    """What `sru_forward` reads and writes. The kernel takes the fields by position."""

    dtype: DType
    """The storage dtype S."""
    activation: Activation
    """g, applied to the state before the output gate."""
    length: int
    """T, at least 0."""
    batch: int
    """B, at least 0."""
    hidden_size: int
    """D, at least 1."""
    num_directions: int
    """N, 1 or 2."""
    num_gates: int
    """K, the gates in u, of which a fourth is the highway, 3 or 4."""
    u: int
    """In, (T, B, K, N·D) S: u_c, u_f, u_r and, for K = 4, u_x."""
    v: int
    """In, (2, N·D) A: v_f and v_r; (T, B, 2, N·D) A if `v_per_position`."""
    bias: int
    """In, (2, N·D) A: b_f and b_r."""
    c0: int
    """In, (B, N·D) A, the state before the first step; zeros if absent."""
    x: int
    """In, (T, B, N·D) S; no highway if absent. Must be absent for K = 4."""
    mask_c: int
    """In, (B, N·D) A; ones if absent."""
    mask_pad: int
    """In, (T, B) bytes, nonzero at padding; no padding if absent."""
    scale_x: float
    """Multiplies x."""
    v_per_position: bool
    """Whether v differs between positions."""
    h: int
    """Out, (T, B, N·D) S."""
    c: int
    """Out, (T, B, N·D) A, the state after each step at that step's own time index. Backward needs it; may
    be absent in inference."""
    c_last: int
    """Out, (B, N·D) A, the state after the last step: time T−1, or 0 in the second direction."""

class SruBackward(NamedTuple):
    """What `sru_backward` reads and writes. The kernel takes the fields by position."""

    dtype: DType
    """The storage dtype S."""
    activation: Activation
    """g, applied to the state before the output gate."""
    length: int
    """T, at least 0."""
    batch: int
    """B, at least 0."""
    hidden_size: int
    """D, at least 1."""
    num_directions: int
    """N, 1 or 2."""
    num_gates: int
    """K, the gates in u, of which a fourth is the highway, 3 or 4."""
    u: int
    """In, (T, B, K, N·D) S: u_c, u_f, u_r and, for K = 4, u_x."""
    v: int
    """In, (2, N·D) A: v_f and v_r; (T, B, 2, N·D) A if `v_per_position`."""
    bias: int
    """In, (2, N·D) A: b_f and b_r."""
    c0: int
    """In, (B, N·D) A, the state before the first step; zeros if absent."""
    x: int
    """In, (T, B, N·D) S; no highway if absent. Must be absent for K = 4."""
    mask_c: int
    """In, (B, N·D) A; ones if absent."""
    mask_pad: int
    """In, (T, B) bytes, nonzero at padding; no padding if absent."""
    scale_x: float
    """Multiplies x."""
    v_per_position: bool
    """Whether v differs between positions."""
    c: int
    """In, (T, B, N·D) A, as `sru_forward` wrote it."""
    grad_h: int
    """In, (T, B, N·D) S; zeros if absent."""
    grad_c_last: int
    """In, (B, N·D) A; zeros if absent."""
    grad_u: int
    """Out, (T, B, K, N·D) S."""
    grad_x: int
    """Out, (T, B, N·D) S; not computed if absent."""
    grad_v: int
    """Out, (2, B, N·D) A, summed over time; the caller sums over B. (T, B, 2, N·D) A if `v_per_position`."""
    grad_bias: int
    """Out, (2, B, N·D) A, summed over time; the caller sums over B."""
    grad_c0: int
    """Out, (B, N·D) A."""

class SruStep(NamedTuple):
    """What `sru_step` reads and writes. The kernel takes the fields by position."""

    dtype: DType
    """The storage dtype S."""
    activation: Activation
    """g, applied to the state before the output gate."""
    batch: int
    """B, at least 0."""
    input_size: int
    """E, at least 1."""
    columns: int
    """N·D: in a single step directions are only more columns, at least 1."""
    num_gates: int
    """K, the gates in u, of which a fourth is the highway, 3 or 4."""
    weight: int
    """In, (K, N·D, E) S, or int8 with `weight_scale`: the rows of u_c, u_f, u_r and, for K = 4, u_x."""
    input: int
    """In, (B, E) S."""
    v: int
    """In, (2, N·D) A: v_f and v_r."""
    bias: int
    """In, (2, N·D) A: b_f and b_r."""
    c0: int
    """In, (B, N·D) A, the state before the step; zeros if absent."""
    x: int
    """In, (B, N·D) S; no highway if absent. May be `input`. Must be absent for K = 4."""
    scale_x: float
    """Multiplies x."""
    h: int
    """Out, (B, N·D) S."""
    c_last: int
    """Out, (B, N·D) A, the state after the step. May be `c0`."""
    weight_scale: int = 0
    """In, (K, N·D) A, the factor of each row of an int8 weight; the weight is S if absent."""
