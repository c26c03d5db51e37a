"""The states of an SRU without a loop over time: Newton's iteration forward, one linear scan backward.

Time is cut into chunks, and all of them run at once, each from a guess of the state it starts with. Where
chunk j ends is a function Φ_j of where it starts, s_j. Its slope is one number for each state, because no
state depends on another, and comes out of the same run. Newton's iteration moves the starts until each is
the end before it:

    e_j = Φ_j(s_j)                            the ends
    A_j = Φ_j'(s_j)                           the slopes
    δ_{j+1} = A_j ⊙ δ_j + (e_j − s_{j+1})     a linear recurrence over the chunks, solved by a scan
    s_j ← s_j + δ_j

Chunks of one step make it the iteration of DEER, which linearises every step; one chunk is the loop. The
gradient λ of the states obeys λ_t = g_t + (∂c_{t+1}/∂c_t) ⊙ λ_{t+1}, with g_t what comes from outside. That
is linear, so that one scan gives it, and no iteration need be differentiated.

Source: Lim et al., "Parallelizing non-linear sequential models over the sequence length", ICLR 2024 (DEER);
Danieli et al., "ParaRNN: Unlocking Parallel Training of Nonlinear RNNs for Large Language Models", ICLR 2026.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_nn.linear_scan import by_chunks, linear_scan, scan, shifted


@dataclass(frozen=True)
class LengthParallel:
    """How the length-parallel states are found, and when that stops.

    Raises:
        ValueError: A number is outside its range.
    """

    chunk: int = 128
    """Steps of a chunk, which are taken in a row; the longer, the fewer iterations are needed. Sequences of
    less than two chunks are left to the loop."""
    tolerance: float | None = None
    """Largest jump from the end of a chunk to the start of the next, relative to the largest magnitude that
    the state may have, at which one more correction is the last. None for 8·ε·√chunk, which is what the
    rounding of a chunk's own steps amounts to; ε is that of the accumulation dtype."""
    max_iterations: float = 16
    """Iterations after which it gives up, warns, and takes all steps of what has not converged in a row. One
    that concerns a part of the states only, as the others have converged, counts for that part."""

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise ValueError(f"LengthParallel: chunk must be at least 1, got {self.chunk}")
        if self.tolerance is not None and not self.tolerance >= 0:
            raise ValueError(f"LengthParallel: tolerance must be at least 0, or None, got {self.tolerance}")
        if not self.max_iterations >= 1:
            raise ValueError(f"LengthParallel: max_iterations must be at least 1, got {self.max_iterations}")

    def states(self, u_c: Tensor, u_f: Tensor, v_f: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute `sru_nn.reference.sru_states`, differentiable any number of times.

        Args:
            u_c: `(T, B, N·D)`, float32 or float64.
            u_f: `(T, B, N·D)`, the bias in it; infinite where the state passes unchanged.
            v_f: `(N·D,)`, or `(T, B, N·D)` for one vector per position.
            c: `(B, N·D)`, the state before the first step.

        Returns:
            `c_before`: `(T, B, N·D)`, the states before each step.
            `c`: `(T, B, N·D)`, the states after each step.
            `c_last`: `(B, N·D)`, the state after the last step.

        Warns:
            RuntimeWarning: Some states did not converge. They are those of the loop then.
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
    work: float
    """The same, each counted for the part of the states that it concerned."""
    looped: int
    """How many of the B·N·D states a loop took all steps of."""
    not_finite: int
    """How many of those have NaN or infinity in their input; the others did not converge."""


@torch.no_grad()
def solve(
    u_c: Tensor, u_f: Tensor, v_f: Tensor, c0: Tensor, options: LengthParallel | None = None
) -> Solution:
    """Find the states, without gradients and without a warning.

    Args:
        u_c: As for `LengthParallel.states`, and so are the next three.
        u_f: The forget gate's input.
        v_f: Its recurrent vector.
        c0: The state before the first step.
        options: The defaults if None.
    """
    options = options or LengthParallel()
    v_f = v_f.expand_as(u_c if v_f.dim() > 1 else c0).flatten(-2)
    inputs = _Inputs(u_c.flatten(1), u_f.flatten(1), v_f)
    length, chunk, first = len(u_c), options.chunk, c0.flatten()
    count = length // chunk
    c = torch.empty_like(inputs.u_c, memory_format=torch.contiguous_format)
    if count < 2:
        _run(inputs, first, c)
        return Solution(c.view(u_c.shape), 0, 0.0, 0, 0)
    chunks = inputs.in_chunks(chunk)
    found = _find_starts(chunks, first, options)
    ends = _run(chunks, found.starts, by_chunks(c, chunk))
    _run(inputs.steps(count * chunk, length), ends[-1], c[count * chunk :])
    # An input that is not finite has no solution to find, and the loop says what becomes of it.
    again = torch.cat([found.left, found.not_finite])
    if len(again):
        loop = torch.empty_like(c[:, again])
        _run(inputs.states(again), first[again], loop)
        c[:, again] = loop
    return Solution(c.view(u_c.shape), found.iterations, found.work, len(again), len(found.not_finite))


class _Starts(NamedTuple):
    starts: Tensor  # (C, M), the states before each chunk
    left: Tensor  # indices of the states that did not converge
    not_finite: Tensor  # and of those that cannot
    iterations: int
    work: float


def _find_starts(chunks: _Inputs, c0: Tensor, options: LengthParallel) -> _Starts:
    """Iterate on the starts of the chunks until they are what the loop would make of them."""
    chunk, count, states = chunks.u_c.shape
    tolerance = options.tolerance
    if tolerance is None:
        tolerance = 8 * torch.finfo(c0.dtype).eps * math.sqrt(chunk)
    # No state is larger than the largest of c0 and the u_c before it.
    scale = torch.maximum(chunks.u_c.abs().amax((0, 1)), c0.abs()).clamp_min(torch.finfo(c0.dtype).tiny)
    starts = torch.cat([c0.unsqueeze(0), chunks.u_c[-1, :-1]])
    chunks = chunks.each_step(lambda tensor: tensor[:, :-1])  # no start follows the last
    left = torch.arange(states, device=c0.device)
    not_finite = torch.zeros_like(left, dtype=torch.bool)
    iterations, work = 0, 0.0
    # Each correction makes one more start the very one of the loop, so that count − 1 are always enough.
    while len(left) and iterations < count - 1 and work < options.max_iterations:
        before = starts[:, left]
        ends, slopes = _run_with_slopes(chunks, before[:-1])
        jumps = ends - before[1:]
        moved = before[1:] + scan(slopes, jumps)
        # Many slopes beyond one overflow. What is no number becomes what it would with a slope of zero.
        starts[1:, left] = torch.where(moved.isfinite(), moved, ends)
        iterations += 1
        work += len(left) / states
        jump = (jumps.abs() / scale).amax(0)
        not_finite[left] = jump.isnan()
        keep = (jump > tolerance).nonzero().squeeze(1)
        if len(keep) < len(left):
            left, chunks, scale = left[keep], chunks.states(keep), scale[keep]
    if iterations == count - 1:
        left = left[:0]
    return _Starts(starts, left, not_finite.nonzero().squeeze(1), iterations, work)


class _Inputs(NamedTuple):
    """u_c and u_f `(T, M)`, and v_f `(M,)` or `(T, M)`; in chunks, T is `chunk, C`."""

    u_c: Tensor
    u_f: Tensor
    v_f: Tensor

    def steps(self, start: int, stop: int) -> _Inputs:
        return self.each_step(lambda tensor: tensor[start:stop])

    def in_chunks(self, chunk: int) -> _Inputs:
        return self.each_step(lambda tensor: by_chunks(tensor, chunk))

    def states(self, index: Tensor) -> _Inputs:
        return _Inputs._make(tensor.index_select(-1, index) for tensor in self)

    def in_order(self) -> Iterator[tuple[Tensor, ...]]:
        return zip(*(tensor.expand_as(self.u_c).unbind(0) for tensor in self), strict=True)

    def each_step(self, change: Callable[[Tensor], Tensor]) -> _Inputs:
        return _Inputs._make(change(tensor) if tensor.dim() > 1 else tensor for tensor in self)


def _run(inputs: _Inputs, c: Tensor, out: Tensor) -> Tensor:
    """Write the states after each step to `out`, and return the last."""
    for (u_c, u_f, v_f), out_t in zip(inputs.in_order(), out.unbind(0), strict=True):
        c = torch.lerp(u_c, c, torch.sigmoid(torch.addcmul(u_f, v_f, c)), out=out_t)
    return c


def _run_with_slopes(inputs: _Inputs, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return the states after the last step and their derivatives by those before the first."""
    slopes = torch.ones_like(c)
    for u_c, u_f, v_f in inputs.in_order():
        f = torch.sigmoid(torch.addcmul(u_f, v_f, c))
        slopes = slopes * torch.addcmul(f, v_f, torch.ops.aten.sigmoid_backward(c - u_c, f))
        c = torch.lerp(u_c, c, f)
    return c, slopes


torch.library.define(
    "sru_nn::sru_states",
    "(Tensor u_c, Tensor u_f, Tensor v_f, Tensor c0, int chunk, float? tolerance, float max_iterations) "
    "-> Tensor",
)


def _sru_states(u_c: Tensor, u_f: Tensor, v_f: Tensor, c0: Tensor, *options: Any) -> Tensor:
    solution = solve(u_c, u_f, v_f, c0, LengthParallel(*options))
    if failed := solution.looped - solution.not_finite:
        warnings.warn(
            f"sru_recurrence: {failed} of {c0.numel()} states did not converge in "
            f"{solution.iterations} length-parallel iterations, and all their {len(u_c)} steps were taken in "
            "a row; raise chunk or max_iterations of LengthParallel, or choose length_parallel=False",
            RuntimeWarning,
            stacklevel=2,
        )
    return solution.c


torch.library.impl("sru_nn::sru_states", "CompositeExplicitAutograd", _sru_states)


@torch.library.register_fake("sru_nn::sru_states")  # type: ignore[untyped-decorator]
def _sru_states_result(u_c: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(u_c, memory_format=torch.contiguous_format)


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4], output)


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


torch.library.register_autograd("sru_nn::sru_states", _differentiate, setup_context=_save_for_backward)
