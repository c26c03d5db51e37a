"""Which positions of an input are real, and where sequences begin in it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


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


def expand_initial(initial: Any, batch: int, axis: int = 1) -> Any:
    """Return the state in which a sequence begins for each sequence of a batch, as a view.

    Args:
        initial: Nested tuples of tensors without the batch axis; None stays None.
        batch: B.
        axis: Where the batch axis goes.
    """
    if isinstance(initial, (tuple, list)):
        return type(initial)([expand_initial(part, batch, axis) for part in initial])
    if initial is None:
        return None
    shape = list(initial.shape)
    shape.insert(axis, batch)
    return initial.unsqueeze(axis).expand(shape)
