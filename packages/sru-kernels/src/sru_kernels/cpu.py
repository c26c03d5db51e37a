"""Kernels that run on the CPU: plain addresses in, results written through them, the GIL released.

Only what needs no look at memory is checked; `sru_kernels.sru` and `sru_kernels.gated_linear` say what the
addresses must hold.
"""

from ._native import cpu as _cpu
from .gated_linear import GatedLinearBackward, GatedLinearForward
from .sru import SruBackward, SruForward, SruStep

__all__ = [
    "gated_linear_backward",
    "gated_linear_forward",
    "instruction_set",
    "sru_backward",
    "sru_forward",
    "sru_step",
]


def instruction_set() -> str:
    """Return the instruction set that the kernels use: "baseline", "avx2" or "avx512".

    It is the widest that this processor runs, or a narrower one named by the environment variable
    SRU_KERNELS_INSTRUCTION_SET, read once at first use.

    Raises:
        ValueError: The variable holds an unknown word, or a set that this processor lacks.
    """
    name: str = _cpu.instruction_set()
    return name


def sru_forward(args: SruForward, *, num_threads: int) -> None:
    """Run the SRU recurrence.

    With c' the state before a step, m = mask_c or 1, and the highway x' = u_x for K = 4, scale_x · x for
    K = 3 with x, else 0:

        f = σ(u_f + v_f ⊙ c' + b_f)        r = σ(u_r + v_r ⊙ c' + b_r)
        c = f ⊙ c' + (1 − f) ⊙ u_c         h = r ⊙ m ⊙ g(c) + (1 − r ⊙ m) ⊙ x'

    At a padded position c = c' and h = 0, whatever u, v and x hold there.

    Args:
        args: Sizes and addresses in the memory of the host.
        num_threads: At most this many threads; the result does not depend on it.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A size is out of range, a required array is absent, or x is given with K = 4.
    """
    _cpu.sru_forward(args, num_threads)


def sru_backward(args: SruBackward, *, num_threads: int) -> None:
    """Write the gradients of `sru_forward`, whose inputs it takes again.

    At a padded position the gradients of u, x and a v per position are 0, and nothing there is read.

    Args:
        args: Sizes and addresses in the memory of the host.
        num_threads: As in `sru_forward`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A size is out of range, a required array is absent, x is given with K = 4, or grad_x
            without x.
    """
    _cpu.sru_backward(args, num_threads)


def sru_step(args: SruStep, *, num_threads: int) -> None:
    """Take one time step of a layer from its input on: u = W · input, then the step of `sru_forward`.

    For small batches, where the product takes as long as the weight takes to be read. u is never stored: it
    is in the accumulation dtype. The order of its sums depends on E and the instruction set alone.

    Args:
        args: Sizes and addresses in the memory of the host.
        num_threads: At most this many threads; the result does not depend on it.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A size is out of range, a required array is absent, or x is given with K = 4.
    """
    _cpu.sru_step(args, num_threads)


def gated_linear_forward(args: GatedLinearForward, *, num_threads: int) -> None:
    """Run linear attention with a gate for each key, step by step.

        S_t = diag(g_t) S_{t-1} + k_t v_tᵀ        o_t = S_tᵀ q_t

    The state stays in the accumulation dtype, and in the nearest caches; a gate may be as small as it likes.

    Args:
        args: Sizes and addresses in the memory of the host.
        num_threads: At most this many threads; the result does not depend on it.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A size is out of range, or a required array is absent.
        MemoryError: There is no memory to work in: for each thread that of a state and of what a segment
            reads and writes.
    """
    _cpu.gated_linear_forward(args, num_threads)


def gated_linear_backward(args: GatedLinearBackward, *, num_threads: int) -> None:
    """Write the gradients of `gated_linear_forward`, whose inputs it takes again.

        dS_t = q_t do_tᵀ + diag(g_{t+1}) dS_{t+1}        dq_t = S_t do_t        dk_t = dS_t v_t
        dv_t = dS_tᵀ k_t        d(log g)_t = g_t ⊙ (dS_t ⊙ S_{t-1}) 1

    The states are computed again, from `starts`.

    Args:
        args: Sizes and addresses in the memory of the host.
        num_threads: As in `gated_linear_forward`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A size is out of range, or a required array is absent.
        MemoryError: There is no memory to work in: for each thread that of the states of a segment in some
            rows and columns; where there are few sequences and heads, that of `v` for some of the rows too.
    """
    _cpu.gated_linear_backward(args, num_threads)
