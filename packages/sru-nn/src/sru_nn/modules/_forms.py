"""The forms in which sequences and states come in and go out, for all stacks of layers."""

from __future__ import annotations

import torch
from torch import Tensor
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


def side_by_side(states: Tensor, directions: int) -> Tensor:
    """Bring states from `(L·N, B, D)`, as PyTorch's modules have them, to `(L, B, N·D)`."""
    rows, batch, size = states.shape
    return states.view(rows // directions, directions, batch, size).transpose(1, 2).flatten(2)


def one_by_one(states: Tensor, directions: int) -> Tensor:
    """Bring states from `(L, B, N·D)` to `(L·N, B, D)`, as PyTorch's modules have them."""
    layers, batch, columns = states.shape
    return states.view(layers, batch, directions, columns // directions).transpose(1, 2).flatten(0, 1)
