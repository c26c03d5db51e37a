"""Kernels that run on the CPU: addresses in, results written through them, the GIL released.

Nothing behind an address is checked: the description of each field says what must be there.
"""

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
    SRU_KERNELS_INSTRUCTION_SET, which is read once, at first use.

    Raises:
        ValueError: The variable holds an unknown word, or a set that this processor lacks.
    """

def sru_forward(args: SruForward, *, num_threads: int) -> None:
    """Run the SRU recurrence.

    With c' the state before a step, m = mask_c or 1, and the highway x' = u_x for K = 4, scale_x · x for
    K = 3 with x, else 0:

        f = σ(u_f + v_f ⊙ c' + b_f)        r = σ(u_r + v_r ⊙ c' + b_r)
        c = f ⊙ c' + (1 − f) ⊙ u_c         h = r ⊙ m ⊙ g(c) + (1 − r ⊙ m) ⊙ x'

    At a padded position c = c' and h = 0, whatever u, v and x hold there.

    Args:
        args: Sizes and addresses in host memory.
        num_threads: The most threads to use. The result does not depend on it.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A size is out of range, a required array is absent, or one is given that must be absent.
        MemoryError: There is too little memory to work in.
    """

def sru_backward(args: SruBackward, *, num_threads: int) -> None:
    """Write the gradients of `sru_forward`, whose inputs it takes again.

    At a padded position the gradients of u, x and a v per position are 0, and nothing there is read.

    Args:
        args: Sizes and addresses in host memory.
        num_threads: The most threads to use. The result does not depend on it.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A size is out of range, a required array is absent, or one is given that must be absent.
        MemoryError: There is too little memory to work in.
    """

def sru_step(args: SruStep, *, num_threads: int) -> None:
    """Take one time step of a layer: u = W · input, then the step of `sru_forward`.

    For small batches, where the product takes as long as reading the weight. u is never stored and stays in
    the accumulation dtype. The order of its sums depends only on E and the instruction set.

    Args:
        args: Sizes and addresses in host memory.
        num_threads: The most threads to use. The result does not depend on it.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A size is out of range, a required array is absent, or one is given that must be absent.
        MemoryError: There is too little memory to work in.
    """

def gated_linear_forward(args: GatedLinearForward, *, num_threads: int) -> None:
    """Run linear attention with a gate for each key, step by step.

        S_t = diag(g_t) S_{t-1} + k_t v_tᵀ        o_t = S_tᵀ q_t

    The state stays in the accumulation dtype and in the nearest caches. Gates may be arbitrarily small.

    Args:
        args: Sizes and addresses in host memory.
        num_threads: The most threads to use. The result does not depend on it.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A size is out of range, a required array is absent, or one is given that must be absent.
        MemoryError: There is too little memory to work in.
    """

def gated_linear_backward(args: GatedLinearBackward, *, num_threads: int) -> None:
    """Write the gradients of `gated_linear_forward`, whose inputs it takes again.

        dS_t = q_t do_tᵀ + diag(g_{t+1}) dS_{t+1}        dq_t = S_t do_t        dk_t = dS_t v_t
        dv_t = dS_tᵀ k_t        d(log g)_t = g_t ⊙ (dS_t ⊙ S_{t-1}) 1

    The states are computed again, from `starts`.

    Args:
        args: Sizes and addresses in host memory.
        num_threads: The most threads to use. The result does not depend on it.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A size is out of range, a required array is absent, or one is given that must be absent.
        MemoryError: There is too little memory to work in.
    """
