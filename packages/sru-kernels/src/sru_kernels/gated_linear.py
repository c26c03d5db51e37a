"""The arguments of the kernels of the gated linear recurrence.

Arrays are addresses, 0 where one is absent. The caller vouches for what lies behind them: the shape, the
dtype, C order, and that no output overlaps another array.

T length, B batch, H heads, K key size, V value size. S is the storage dtype (`dtype`); A is float64 for
S = float64 and float32 for any other. Time is cut into segments of `segment_length` steps, the last one
shorter if need be; there are ⌈T / segment_length⌉.
"""

from typing import NamedTuple

from ._native import DType

__all__ = ["GatedLinearBackward", "GatedLinearForward"]


class GatedLinearForward(NamedTuple):
    """What `gated_linear_forward` reads and writes. The kernels take the fields by position."""

    dtype: DType
    """The storage dtype S."""
    length: int
    """T, may be 0."""
    batch: int
    """B, may be 0."""
    heads: int
    """H, may be 0."""
    key_size: int
    """K, at least 1."""
    value_size: int
    """V, at least 1."""
    segment_length: int
    """The steps from one of `starts` to the next, at least 1. Backward needs memory for as many states."""
    q: int
    """In, (T, B, H, K) S, the queries."""
    k: int
    """In, (T, B, H, K) S, the keys."""
    v: int
    """In, (T, B, H, V) S, the values."""
    log_g: int
    """In, (T, B, H, K) A, the logarithms of the gates, none above zero."""
    s0: int
    """In, (B, H, K, V) A, the state before the first step; absent means zeros."""
    o: int
    """Out, (T, B, H, V) S."""
    s: int
    """Out, (B, H, K, V) A, the state after the last step; may be `s0`."""
    starts: int
    """Out, (segments, B, H, K, V) A, the state before each segment, which backward needs; absent in
    inference."""


class GatedLinearBackward(NamedTuple):
    """What `gated_linear_backward` reads and writes; down to `log_g` as in `GatedLinearForward`."""

    dtype: DType
    length: int
    batch: int
    heads: int
    key_size: int
    value_size: int
    segment_length: int
    q: int
    k: int
    v: int
    log_g: int
    starts: int
    """In, (segments, B, H, K, V) A, as `gated_linear_forward` wrote it."""
    grad_o: int
    """In, (T, B, H, V) S; absent means zeros."""
    grad_s: int
    """In, (B, H, K, V) A; absent means zeros."""
    grad_q: int
    """Out, (T, B, H, K) S."""
    grad_k: int
    """Out, (T, B, H, K) S."""
    grad_v: int
    """Out, (T, B, H, V) S."""
    grad_log_g: int
    """Out, (T, B, H, K) A."""
    grad_s0: int
    """Out, (B, H, K, V) A; may be `grad_s`."""
