"""The states of an SRU without a loop over time: Newton's method forward, one linear scan backward.

Time is cut into chunks, which all run at once, each from a guess of its initial state. The end of chunk j is
a function Φ_j of its start s_j. Its slope is one number per state, because no state depends on another, and
the same run computes it. Newton's method moves the starts until each equals the end of the previous chunk:

    e_j = Φ_j(s_j)                            the ends
    A_j = Φ_j'(s_j)                           the slopes
    δ_{j+1} = A_j ⊙ δ_j + (e_j − s_{j+1})     a linear recurrence over the chunks, solved by a scan
    s_j ← s_j + δ_j

With chunks of one step this is the iteration of DEER, which linearises every step; with one chunk it is the
loop. The gradient λ of the states satisfies λ_t = g_t + (∂c_{t+1}/∂c_t) ⊙ λ_{t+1}, with g_t the gradient from
outside. That is linear, so one scan solves it, and the iteration is not differentiated.

    h, c = sru_nn.reference.sru_recurrence(u, v, bias, states=LengthParallel().states)

Source: Lim et al., "Parallelizing non-linear sequential models over the sequence length", ICLR 2024 (DEER);
Danieli et al., "ParaRNN: Unlocking Parallel Training of Nonlinear RNNs for Large Language Models", ICLR 2026.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_nn.arguments import check_number, check_sizes
from sru_nn.linear_scan import by_chunks, linear_scan, scan, shifted
from sru_nn.operators import define


@dataclass(frozen=True)
class LengthParallel:
    """The chunk size and the stopping criteria of the length-parallel solver.

    Raises:
        ValueError: A number is outside its range.
        TypeError: An argument is not a number.
    """

    chunk: int = 128
    """Steps per chunk, taken one after the other; longer chunks need fewer iterations. The loop computes
    sequences shorter than two chunks."""
    tolerance: float | None = None
    """Largest jump from the end of a chunk to the start of the next, relative to the largest magnitude the
    state may have, at which the iteration stops after one more correction. None for 8·ε·√chunk, the rounding
    of a chunk's own steps; ε is that of the accumulation dtype."""
    max_iterations: float = 16
    """Iterations after which the solver gives up, warns and computes the steps one by one."""

    def __post_init__(self) -> None:
        check_sizes("LengthParallel", chunk=self.chunk)
        check_number("LengthParallel", "max_iterations", self.max_iterations, at_least=1)
        if self.tolerance is not None:
            check_number("LengthParallel", "tolerance", self.tolerance, at_least=0)

    def states(self, u_c: Tensor, u_f: Tensor, v_f: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute `sru_nn.reference.sru_states`, differentiable any number of times.

        Args:
            u_c: `(T, B, N·D)`, float32 or float64.
            u_f: `(T, B, N·D)`, with the bias; infinite where the state passes unchanged.
            v_f: `(N·D,)`, or `(T, B, N·D)` for one vector per position.
            c: `(B, N·D)`, the state before the first step.

        Returns:
            `c_before`: `(T, B, N·D)`, the states before each step.
            `c`: `(T, B, N·D)`, the states after each step.
            `c_last`: `(B, N·D)`, the state after the last step.

        Warns:
            RuntimeWarning: Some states did not converge; the loop computed them.
        """
        after = torch.ops.sru_nn.sru_states(u_c, u_f, v_f, c, self.chunk, self.tolerance, self.max_iterations)
        states = torch.cat([c.unsqueeze(0), after])
        return states[:-1], after, states[-1]


class Solution(NamedTuple):
    """The states and how they were found."""

    c: Tensor
    """`(T, B, N·D)`."""
    iterations: int
    """How often the starts of chunks were corrected."""
    failed: int
    """How many of the B·N·D states did not converge; if any, the loop computed all of them."""


@torch.no_grad()
def solve(
    u_c: Tensor, u_f: Tensor, v_f: Tensor, c0: Tensor, options: LengthParallel | None = None
) -> Solution:
    """Compute the states without gradients or a warning; the tensors are as for `LengthParallel.states`."""
    options = options or LengthParallel()
    inputs, chunk, count = [u_c, u_f, v_f.expand_as(u_c)], options.chunk, len(u_c) // options.chunk
    c = torch.empty_like(u_c, memory_format=torch.contiguous_format)
    if count < 2:
        _run(inputs, c0, c)
        return Solution(c, 0, 0)
    chunks = [by_chunks(x, chunk) for x in inputs]
    before = [x[:, :-1] for x in chunks]  # the last chunk has no successor
    eps, tiny = torch.finfo(c0.dtype).eps, torch.finfo(c0.dtype).tiny
    tolerance = 8 * eps * math.sqrt(chunk) if options.tolerance is None else options.tolerance
    # No state is larger than the largest of c0 and the u_c before it.
    scale = torch.maximum(chunks[0].abs().amax((0, 1)), c0.abs()).clamp_min(tiny)
    starts = torch.cat([c0.unsqueeze(0), before[0][-1]])
    excess, iterations = torch.ones_like(c0), 0
    while (excess > 0).any() and iterations < min(count - 1, options.max_iterations):
        ends, slopes = _run_with_slopes(before, starts[:-1])
        jumps = ends - starts[1:]
        moved = starts[1:] + scan(slopes, jumps)
        # Products of many slopes above one overflow. A NaN is replaced by the value for a slope of zero.
        starts[1:] = torch.where(moved.isfinite(), moved, ends)
        excess, iterations = (jumps.abs() / scale).amax(0) - tolerance, iterations + 1
    # Each correction makes one more start exactly equal to that of the loop.
    failed = 0 if iterations == count - 1 else int((excess > 0).sum())
    if failed or excess.isnan().any():  # input that is not finite has no solution
        _run(inputs, c0, c)
    else:
        ends = _run(chunks, starts, by_chunks(c, chunk))
        _run([x[count * chunk :] for x in inputs], ends[-1], c[count * chunk :])
    return Solution(c, iterations, failed)


def _in_order(inputs: list[Tensor]) -> Any:
    return zip(*(x.unbind(0) for x in inputs), strict=True)


def _run(inputs: list[Tensor], c: Tensor, out: Tensor) -> Tensor:
    """Write the states after each step to `out`, and return the last."""
    for (u_c, u_f, v_f), out_t in zip(_in_order(inputs), out.unbind(0), strict=True):
        c = torch.lerp(u_c, c, torch.sigmoid(torch.addcmul(u_f, v_f, c)), out=out_t)
    return c


def _run_with_slopes(inputs: list[Tensor], c: Tensor) -> tuple[Tensor, Tensor]:
    """Return the states after the last step and their derivatives with respect to those before the first."""
    slopes = torch.ones_like(c)
    for u_c, u_f, v_f in _in_order(inputs):
        f = torch.sigmoid(torch.addcmul(u_f, v_f, c))
        slopes = slopes * torch.addcmul(f, v_f, torch.ops.aten.sigmoid_backward(c - u_c, f))
        c = torch.lerp(u_c, c, f)
    return c, slopes


def _sru_states(u_c: Tensor, u_f: Tensor, v_f: Tensor, c0: Tensor, *options: Any) -> Tensor:
    solution = solve(u_c, u_f, v_f, c0, LengthParallel(*options))
    if solution.failed:
        warnings.warn(
            f"sru_recurrence: {solution.failed} of {c0.numel()} states did not converge in "
            f"{solution.iterations} length-parallel iterations, so all {len(u_c)} steps were computed "
            "sequentially; raise chunk or max_iterations of LengthParallel, or choose length_parallel=False",
            RuntimeWarning,
            stacklevel=2,
        )
    return solution.c


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    u_c, u_f, v_f, c0, c = ctx.saved_tensors
    before = torch.cat([c0.unsqueeze(0), c])[:-1]
    f = torch.sigmoid(torch.addcmul(u_f, v_f, before))
    by_u_f = (before - u_c) * f * (1 - f)
    by_before = torch.addcmul(f, v_f, by_u_f)
    total = linear_scan(shifted(by_before, True), grad, reverse=True)
    grad_u_f = total * by_u_f
    grad_c0 = (total * by_before)[:1].sum(0)  # zero without a step
    return total * (1 - f), grad_u_f, (grad_u_f * before).sum_to_size(v_f.shape), grad_c0, None, None, None


define(
    "sru_states",
    "(Tensor u_c, Tensor u_f, Tensor v_f, Tensor c0, int chunk, float? tolerance, float max_iterations) "
    "-> Tensor",
    _sru_states,
    lambda u_c, *_: torch.empty_like(u_c, memory_format=torch.contiguous_format),
    _differentiate,
    lambda ctx, inputs, output: ctx.save_for_backward(*inputs[:4], output),
)
