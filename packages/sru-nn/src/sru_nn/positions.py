"""Which positions of an input are real, and where sequences begin in it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_nn.arguments import Checker, check_shape, check_tensor
from sru_nn.dtypes import accumulate_dtype
from sru_nn.operators import is_plain


class Positions(NamedTuple):
    """Which positions are real, and where sequences begin; a batch of T positions by default."""

    mask_pad: Tensor | None = None
    """`(T, B)` bool, True at padding."""
    reset: Tensor | None = None
    """`(T, B)` bool, True where a sequence begins; ignored at padding."""
    cu_seqlens: Tensor | None = None
    """`(S + 1,)` int64: S sequences are concatenated. T is their total length, B is 1, states have S rows."""

    def options(self) -> dict[str, Tensor]:
        """Return `reset` and `cu_seqlens`, unless None, as keyword arguments."""
        options: dict[str, Any] = {"reset": self.reset, "cu_seqlens": self.cu_seqlens}
        return {name: tensor for name, tensor in options.items() if tensor is not None}

    def sequences(self, x: Tensor) -> int:
        """Return the number of states for an input `(T, B, ...)`: B or S."""
        return x.shape[1] if self.cu_seqlens is None else self.cu_seqlens.shape[0] - 1


def check_reset(who: str, reset: Any, letters: str, shape: tuple[int, ...], like: Tensor) -> None:
    """Raise unless `reset` has one bool per position.

    Raises:
        TypeError: It is not a tensor of booleans.
        ValueError: Its shape is wrong, or its device is not that of `like`.
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
    """Raise if an argument that locates sequences is passed with a `PackedSequence`."""
    for name, given in others.items():
        if given is not None and name == "reset":
            raise ValueError(
                f"{who}: with a PackedSequence pass reset=None; pack the pieces as sequences of their own"
            )
        if given is not None:
            raise ValueError(f"{who}: a PackedSequence brings its own lengths; pass {name}=None")


def check_cu_seqlens(who: str, cu_seqlens: Any, like: Tensor) -> None:
    """Raise unless `cu_seqlens` has the right form; `check_ends` checks its values.

    Raises:
        TypeError: It is not a tensor of integers.
        ValueError: Its shape is wrong, or its device is not that of `like`.
    """
    check_tensor(who, "cu_seqlens", cu_seqlens)
    if cu_seqlens.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{who}: cu_seqlens must be int32 or int64, got {cu_seqlens.dtype}")
    if cu_seqlens.dim() != 1 or cu_seqlens.shape[0] == 0:
        raise ValueError(f"{who}: cu_seqlens must have shape (S + 1,), got {tuple(cu_seqlens.shape)}")
    if cu_seqlens.device != like.device:
        raise ValueError(
            f"{who}: cu_seqlens must be on the device of the input, {like.device}, got {cu_seqlens.device}; "
            "move one of them with .to()"
        )


def check_ends(who: str, cu_seqlens: Tensor | None, total: int) -> None:
    """Raise unless the values of `cu_seqlens` divide `total` positions into sequences; None is accepted.

    They are checked only on the CPU, because reading them would synchronise a GPU, and only once, in the
    user's call: layers run by a stack, and recurrences run by a layer, do not check them again.
    """
    if cu_seqlens is None or not (cu_seqlens.is_cpu and is_plain(cu_seqlens)):
        return
    if cu_seqlens[0] != 0:
        raise ValueError(f"{who}: cu_seqlens must begin at 0, got {cu_seqlens[0]}")
    falls = cu_seqlens[1:] < cu_seqlens[:-1]
    if falls.any():
        before, after = cu_seqlens[int(falls.byte().argmax()) :][:2].tolist()
        raise ValueError(f"{who}: cu_seqlens must not decrease, got {after} after {before}")
    if cu_seqlens[-1] != total:
        raise ValueError(
            f"{who}: cu_seqlens must end at the number of positions, {total}, got {cu_seqlens[-1]}"
        )


def check_alone(who: str, mask_pad: Any, reset: Any) -> None:
    """Raise if an argument that belongs to a batch is passed with `cu_seqlens`."""
    if mask_pad is not None:
        raise ValueError(f"{who}: with cu_seqlens pass mask_pad=None; there is no padding")
    if reset is not None:
        raise ValueError(f"{who}: with cu_seqlens pass reset=None; add a boundary to cu_seqlens")


def check_pieces(
    check: Checker, mask_pad: Any, reset: Any, cu_seqlens: Any, state: tuple[str, str, Any]
) -> tuple[str, int]:
    """Check the arguments that locate sequences, except the values of `cu_seqlens`.

    Returns:
        The letter and the size of the first axis of the states.
    """
    who, like = check.who, check.like
    length, batch = like.shape[:2]
    initial, restart, given = state
    if mask_pad is reset is cu_seqlens is given is None:  # the common case, which must stay cheap
        return "B", batch
    if cu_seqlens is None:
        check("mask_pad", mask_pad, "(T, B)", (length, batch), (torch.bool,), optional=True)
        if reset is not None:
            check("reset", reset, "(T, B)", (length, batch), (torch.bool,))
        elif given is not None:
            raise ValueError(f"{who}: {restart} has no effect without reset; pass reset, or {restart}=None")
        return "B", batch
    check_alone(who, mask_pad, reset)
    if given is not None:
        raise ValueError(f"{who}: with cu_seqlens pass {restart}=None; {initial} has a state per sequence")
    if batch != 1:
        raise ValueError(
            f"{who}: with cu_seqlens {check.first} must hold the sequences end to end, as a batch of one, "
            f"got {tuple(like.shape)}"
        )
    check_cu_seqlens(who, cu_seqlens, like)
    return "S", cu_seqlens.shape[0] - 1


def restart(state: Any, reset: Tensor, initial: Any = None, axis: int = 1) -> Any:
    """Return the state, reset to that of a new sequence where `reset` is True.

    Args:
        state: Nested tuples of tensors, each with the batch along `axis`; None stays None.
        reset: `(B,)` bool.
        initial: The initial state of a sequence, without the batch axis, nested in the same way; None for
            zeros.
        axis: The batch axis.
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
    """Return a learned state in the dtype of the state for pre-activations `like`; None stays None."""
    return None if initial is None else initial.to(accumulate_dtype(like.dtype))


def expand_initial(initial: Tensor | None, sequences: int) -> Tensor | None:
    """Expand the learned state of one layer to a number of sequences, as a view; None stays None."""
    return None if initial is None else initial.expand(sequences, *initial.shape)
