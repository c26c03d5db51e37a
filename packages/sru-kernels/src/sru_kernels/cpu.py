"""Kernels that run on the CPU: plain addresses in, results written through them, the GIL released.

The caller vouches for what lies behind an address: the shape, the dtype, C order, and that no output overlaps
another array. Only what needs no look at memory is checked. Pass 0 for an array that is absent.

T length, B batch, K gates, D hidden size per direction, N directions. S is the storage dtype (`dtype`); A is
float64 for S = float64 and float32 for any other. The second half of the N·D columns of a bidirectional run
walks time from T−1 to 0.
"""

from ._native import Activation, DType
from ._native import cpu as _cpu

__all__ = ["instruction_set", "sru_backward", "sru_forward"]


def instruction_set() -> str:
    """Return the instruction set that the kernels use: "baseline", "avx2" or "avx512".

    It is the widest that this processor runs, or a narrower one named by the environment variable
    SRU_KERNELS_INSTRUCTION_SET, read once at first use.

    Raises:
        ValueError: The variable holds an unknown word, or a set that this processor lacks.
    """
    name: str = _cpu.instruction_set()
    return name


def sru_forward(
    *,
    dtype: DType,
    activation: Activation,
    length: int,
    batch: int,
    hidden_size: int,
    num_directions: int,
    num_gates: int,
    u: int,
    v: int,
    v_per_position: bool,
    bias: int,
    c0: int,
    x: int,
    scale_x: float,
    mask_c: int,
    mask_pad: int,
    h: int,
    c: int,
    c_last: int,
    num_threads: int,
) -> None:
    """Run the SRU recurrence.

    With c' the state before a step, m = mask_c or 1, and the highway x' = u_x for K = 4, scale_x · x for
    K = 3 with x, else 0:

        f = σ(u_f + v_f ⊙ c' + b_f)        r = σ(u_r + v_r ⊙ c' + b_r)
        c = f ⊙ c' + (1 − f) ⊙ u_c         h = r ⊙ m ⊙ g(c) + (1 − r ⊙ m) ⊙ x'

    At a padded position c = c' and h = 0, whatever u, v and x hold there.

    Args:
        dtype: The storage dtype S.
        activation: g.
        length: T, may be 0.
        batch: B, may be 0.
        hidden_size: D, at least 1.
        num_directions: N, 1 or 2.
        num_gates: K, 3 or 4.
        u: In, (T, B, K, N·D) S: u_c, u_f, u_r and, for K = 4, u_x.
        v: In, (2, N·D) A: v_f and v_r; (T, B, 2, N·D) A when `v_per_position`.
        v_per_position: Whether v differs from position to position.
        bias: In, (2, N·D) A: b_f and b_r.
        c0: In, (B, N·D) A, the state before the first step; absent means zeros.
        x: In, (T, B, N·D) S; absent means no highway. Always absent for K = 4.
        scale_x: Multiplies x.
        mask_c: In, (B, N·D) A; absent means ones.
        mask_pad: In, (T, B) bytes, nonzero is padding; absent means no padding.
        h: Out, (T, B, N·D) S.
        c: Out, (T, B, N·D) A, the state after each step at that step's own time index, which backward needs;
            absent in inference.
        c_last: Out, (B, N·D) A, the state after the last step: time T−1, or 0 in the second direction.
        num_threads: At most this many threads; the result does not depend on it.

    Raises:
        ValueError: A size is out of range, a required array is absent, or x is given with K = 4.
    """
    _cpu.sru_forward(
        dtype,
        activation,
        length,
        batch,
        hidden_size,
        num_directions,
        num_gates,
        u,
        v,
        v_per_position,
        bias,
        c0,
        x,
        scale_x,
        mask_c,
        mask_pad,
        h,
        c,
        c_last,
        num_threads,
    )


def sru_backward(
    *,
    dtype: DType,
    activation: Activation,
    length: int,
    batch: int,
    hidden_size: int,
    num_directions: int,
    num_gates: int,
    u: int,
    v: int,
    v_per_position: bool,
    bias: int,
    c0: int,
    x: int,
    scale_x: float,
    mask_c: int,
    mask_pad: int,
    c: int,
    grad_h: int,
    grad_c_last: int,
    grad_u: int,
    grad_x: int,
    grad_v: int,
    grad_bias: int,
    grad_c0: int,
    num_threads: int,
) -> None:
    """Write the gradients of `sru_forward`, whose inputs it takes again.

    At a padded position the gradients of u, x and a v per position are 0, and nothing there is read.

    Args:
        dtype: As in `sru_forward`, like all arguments down to `mask_pad`.
        activation: As above.
        length: As above.
        batch: As above.
        hidden_size: As above.
        num_directions: As above.
        num_gates: As above.
        u: As above.
        v: As above.
        v_per_position: As above.
        bias: As above.
        c0: As above.
        x: As above.
        scale_x: As above.
        mask_c: As above.
        mask_pad: As above.
        c: In, (T, B, N·D) A, as `sru_forward` wrote it.
        grad_h: In, (T, B, N·D) S; absent means zeros.
        grad_c_last: In, (B, N·D) A; absent means zeros.
        grad_u: Out, (T, B, K, N·D) S.
        grad_x: Out, (T, B, N·D) S; absent when not wanted.
        grad_v: Out, (2, B, N·D) A, summed over time: the caller sums over B. (T, B, 2, N·D) A when
            `v_per_position`.
        grad_bias: Out, (2, B, N·D) A, summed over time: the caller sums over B.
        grad_c0: Out, (B, N·D) A.
        num_threads: As above.

    Raises:
        ValueError: A size is out of range, a required array is absent, x is given with K = 4, or grad_x
            without x.
    """
    _cpu.sru_backward(
        dtype,
        activation,
        length,
        batch,
        hidden_size,
        num_directions,
        num_gates,
        u,
        v,
        v_per_position,
        bias,
        c0,
        x,
        scale_x,
        mask_c,
        mask_pad,
        c,
        grad_h,
        grad_c_last,
        grad_u,
        grad_x,
        grad_v,
        grad_bias,
        grad_c0,
        num_threads,
    )
