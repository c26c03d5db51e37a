"""Which positions of an input are real, and where sequences begin in it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_nn.arguments import check_shape, check_tensor
from sru_nn.dtypes import accumulate_dtype


class Positions(NamedTuple):
    """Which positions are real, and where sequences begin; a batch of T positions by default."""

    mask_pad: Tensor | None = None
    """`(T, B)` bool, True at padding."""
    reset: Tensor | None = None
    """`(T, B)` bool, True where a sequence begins; it counts for nothing at padding."""
    cu_seqlens: Tensor | None = None
    """`(S + 1,)` int64: S sequences lie end to end. Then T is their total, B is 1, and states have S."""

    def options(self) -> dict[str, Tensor]:
        """Return `reset` and `cu_seqlens`, without those that are None, to pass on by name."""
        options: dict[str, Any] = {"reset": self.reset, "cu_seqlens": self.cu_seqlens}
        return {name: tensor for name, tensor in options.items() if tensor is not None}

    def sequences(self, x: Tensor) -> int:
        """Return how many states belong to an input `(T, B, ...)`: B or S."""
        return x.shape[1] if self.cu_seqlens is None else self.cu_seqlens.shape[0] - 1


def check_reset(who: str, reset: Any, letters: str, shape: tuple[int, ...], like: Tensor) -> None:
    """Raise unless `reset` says of each position whether a sequence begins there.

    Raises:
        TypeError: It is not a tensor of booleans.
        ValueError: Its shape is another one, or its device not that of `like`.
    """
    check_tensor(who, "reset", reset)
    if reset.dtype != torch.bool:
        raise TypeError(
            f"{who}: reset must be bool, True where a sequence begins, got {reset.dtype}; "
            "convert it with .bool()"
        )
    hint = "; squeeze the last axis" if reset.shape == (*shape, 1) else ""
    check_shape(who, "reset", reset, letters, shape, like=like, hint=hint)


def check_packed(who: str, **others: Any) -> None:
    """Raise if anything that says where sequences are is given beside a `PackedSequence`."""
    for name, given in others.items():
        if given is not None and name == "reset":
            raise ValueError(
                f"{who}: with a PackedSequence pass reset=None; pack the pieces as sequences of their own"
            )
        if given is not None:
            raise ValueError(f"{who}: a PackedSequence brings its own lengths; pass {name}=None")


def restart(state: Any, reset: Tensor, initial: Any = None, axis: int = 1) -> Any:
    """Return the state with that of a new sequence where `reset` is True.

    Args:
        state: Nested tuples of tensors, each with the batch as the axis `axis`; None stays None.
        reset: `(B,)` bool.
        initial: The state in which a sequence begins, without the batch axis, nested in the same way; None
            for zeros.
        axis: Which axis is the batch.
    """
    if isinstance(state, (tuple, list)):
        starts = [None] * len(state) if initial is None else initial
        parts = zip(state, starts, strict=True)
        return type(state)([restart(part, reset, start, axis) for part, start in parts])
    if state is None:
        return None
    shape = [1] * state.dim()
    shape[axis] = -1
    reset = reset.view(shape)
    if initial is None:
        return state.masked_fill(reset, 0.0)
    return torch.where(reset, initial.to(state.dtype).unsqueeze(axis), state)


def learned(initial: Tensor | None, like: Tensor) -> Tensor | None:
    """Return a learned state in the dtype that belongs to pre-activations `like`; None stays None."""
    return None if initial is None else initial.to(accumulate_dtype(like.dtype))


def expand_initial(initial: Tensor | None, sequences: int) -> Tensor | None:
    """Return the learned state of one layer for each of a number of sequences, as a view; None stays None."""
    return None if initial is None else initial.expand(sequences, *initial.shape)
