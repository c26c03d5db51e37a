"""The forms in which sequences and states come in and go out, for all stacks of layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence


def check_sequences(
    who: str,
    input: Tensor,
    mask_pad: Tensor | None,
    input_size: int,
    *,
    batch_first: bool,
    single: bool = True,
) -> None:
    """Raise unless a stack of layers can take an input and the mask of its padding.

    Args:
        who: The class, for the message.
        input: `(T, B, E)`, `(B, T, E)` with `batch_first`, or `(T, E)` with `single`.
        mask_pad: The shape of the input without its features, or None.
        input_size: E.
        batch_first: Whether the batch comes before the time.
        single: Whether a single sequence will do.

    Raises:
        ValueError: A shape does not fit.
    """
    if input.dim() not in ((2, 3) if single else (3,)) or input.shape[-1] != input_size:
        letters = ("(B, T, E)" if batch_first else "(T, B, E)") + (" or (T, E)" if single else "")
        raise ValueError(
            f"{who}: input must have shape {letters} with E = {input_size}, got {tuple(input.shape)}"
        )
    if mask_pad is not None and mask_pad.shape != input.shape[:-1]:
        raise ValueError(
            f"{who}: mask_pad must have the shape of the input without its features, "
            f"{tuple(input.shape[:-1])}, got {tuple(mask_pad.shape)}"
        )


def unpack(
    who: str, packed: PackedSequence, mask_pad: Tensor | None, input_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Lay packed sequences out as `(T, B, E)`.

    Args:
        who: The class, for the message.
        packed: The sequences; in the order of their lengths if it does not say another one.
        mask_pad: The user's mask, which has to be None.
        input_size: E.

    Returns:
        `padded`: `(T, B, E)`.
        `lengths`: `(B,)`, on the CPU.
        `mask`: `(T, B)` bool, True at the padding.

    Raises:
        ValueError: There is a mask, or the sequences do not have E features.
    """
    if mask_pad is not None:
        raise ValueError(f"{who}: a PackedSequence brings its own lengths; pass mask_pad=None")
    if packed.data.dim() != 2 or packed.data.shape[-1] != input_size:
        raise ValueError(
            f"{who}: a PackedSequence's data must have shape (sum of lengths, E = {input_size}), "
            f"got {tuple(packed.data.shape)}"
        )
    padded, lengths = pad_packed_sequence(packed)
    steps = torch.arange(padded.shape[0], device=padded.device)
    return padded, lengths, steps[:, None] >= lengths.to(padded.device)


def run_time_major(
    run: Callable[[Tensor, Tensor | None, Tensor | None], tuple[Tensor, Tensor]],
    input: Tensor,
    state: Tensor | None,
    mask_pad: Tensor | None,
    *,
    batch_first: bool,
) -> tuple[Tensor, Tensor]:
    """Run a stack of layers on an input of any form but a `PackedSequence`.

    Args:
        run: Takes and returns sequences `(T, B, ...)`, states with the batch second, and a mask `(T, B)`.
        input: `(T, B, E)`, `(B, T, E)` with `batch_first`, or `(T, E)`.
        state: The state, or None; without its batch for a single sequence.
        mask_pad: The shape of the input without its features, or None.
        batch_first: Whether the batch comes before the time.

    Returns:
        What `run` returns, in the form of `input` and of `state`.
    """
    if input.dim() == 2:
        # The batch of one goes where batch_first expects none: the rest is time-major already.
        state = None if state is None else state.unsqueeze(1)
        mask_pad = None if mask_pad is None else mask_pad.unsqueeze(1)
        h, state = run(input.unsqueeze(1), state, mask_pad)
        return h.squeeze(1), state.squeeze(1)
    if not batch_first:
        return run(input, state, mask_pad)
    mask_pad = None if mask_pad is None else mask_pad.t()
    h, state = run(input.transpose(0, 1), state, mask_pad)
    return h.transpose(0, 1), state


def run_step(
    stack: nn.Module, x: Tensor, state: Tensor | None, input_size: int, *, batch_first: bool
) -> tuple[Tensor, Tensor]:
    """Run a stack of layers on one time step.

    Args:
        stack: The stack.
        x: `(B, E)`, or `(E,)` for a single sequence.
        state: The state, or None, as the stack takes it.
        input_size: E.
        batch_first: Whether the stack has the batch before the time.

    Returns:
        `h`: the output, without the time.
        `state`: As the stack returns it.

    Raises:
        ValueError: The shape does not fit.
    """
    if x.dim() not in (1, 2) or x.shape[-1] != input_size:
        raise ValueError(
            f"{type(stack).__name__}.step: x must have shape (B, E) or (E,) with E = {input_size}, "
            f"got {tuple(x.shape)}; a whole sequence goes to forward"
        )
    time = 1 if batch_first and x.dim() == 2 else 0
    h, state = stack(x.unsqueeze(time), state)
    return h.squeeze(time), state


def side_by_side(states: Tensor, directions: int) -> Tensor:
    """Bring states from `(L·N, B, D)`, as PyTorch's modules have them, to `(L, B, N·D)`."""
    rows, batch, size = states.shape
    return states.view(rows // directions, directions, batch, size).transpose(1, 2).flatten(2)


def one_by_one(states: Tensor, directions: int) -> Tensor:
    """Bring states from `(L, B, N·D)` to `(L·N, B, D)`, as PyTorch's modules have them."""
    layers, batch, columns = states.shape
    return states.view(layers, batch, directions, columns // directions).transpose(1, 2).flatten(0, 1)
