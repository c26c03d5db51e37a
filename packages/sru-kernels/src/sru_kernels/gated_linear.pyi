"""The arguments of the gated linear recurrence.

Arrays are passed as addresses, 0 where one is absent. The caller guarantees what lies behind them: shape,
dtype, C order, and that no output overlaps another array unless its description says so.

T length, B batch, H heads, K key size, V value size. S is the storage dtype (`dtype`); A is float64 for
S = float64 and float32 otherwise. Time is cut into ⌈T / segment_length⌉ segments of `segment_length` steps;
the last one may be shorter. Backward holds the states of one segment.
"""

from typing import NamedTuple

from ._native import DType

__all__ = ["GatedLinearBackward", "GatedLinearForward"]

class GatedLinearForward(NamedTuple):
    """What `gated_linear_forward` reads and writes. The kernel takes the fields by position."""

    dtype: DType
    """The storage dtype S."""
    length: int
    """T, at least 0."""
    batch: int
    """B, at least 0."""
    heads: int
    """H, at least 0."""
    key_size: int
    """K, at least 1."""
    value_size: int
    """V, at least 1."""
    segment_length: int
    """The steps from one of `starts` to the next, at least 1."""
    q: int
    """In, (T, B, H, K) S, the queries."""
    k: int
    """In, (T, B, H, K) S, the keys."""
    v: int
    """In, (T, B, H, V) S, the values."""
    log_g: int
    """In, (T, B, H, K) A, the logarithms of the gates, at most 0."""
    s0: int
    """In, (B, H, K, V) A, the state before the first step; zeros if absent."""
    o: int
    """Out, (T, B, H, V) S."""
    s: int
    """Out, (B, H, K, V) A, the state after the last step. May be `s0`."""
    starts: int
    """Out, (segments, B, H, K, V) A, the state before each segment. Backward needs it; may be absent in
    inference."""

class GatedLinearBackward(NamedTuple):
    """What `gated_linear_backward` reads and writes. The kernel takes the fields by position."""

    dtype: DType
    """The storage dtype S."""
    length: int
    """T, at least 0."""
    batch: int
    """B, at least 0."""
    heads: int
    """H, at least 0."""
    key_size: int
    """K, at least 1."""
    value_size: int
    """V, at least 1."""
    segment_length: int
    """The steps from one of `starts` to the next, at least 1."""
    q: int
    """In, (T, B, H, K) S, the queries."""
    k: int
    """In, (T, B, H, K) S, the keys."""
    v: int
    """In, (T, B, H, V) S, the values."""
    log_g: int
    """In, (T, B, H, K) A, the logarithms of the gates, at most 0."""
    starts: int
    """In, (segments, B, H, K, V) A, as `gated_linear_forward` wrote it."""
    grad_o: int
    """In, (T, B, H, V) S; zeros if absent."""
    grad_s: int
    """In, (B, H, K, V) A; zeros if absent."""
    grad_q: int
    """Out, (T, B, H, K) S."""
    grad_k: int
    """Out, (T, B, H, K) S."""
    grad_v: int
    """Out, (T, B, H, V) S."""
    grad_log_g: int
    """Out, (T, B, H, K) A."""
    grad_s0: int
    """Out, (B, H, K, V) A. May be `grad_s`."""
