"""The states that an encoder carries from one segment of its streams to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sru_nn import SRUppState

State = Tensor | tuple[Any, ...]
"""A tensor, or nested tuples of tensors and None; the functions in this file handle the batch axis."""


def map_state(state: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor of a state.

    Args:
        state: A state returned by an encoder.
        function: Called with each tensor.

    Returns:
        A state of the same form with the results.
    """
    if state is None or isinstance(state, Tensor):
        return None if state is None else function(state)
    return _like(state, [map_state(part, function) for part in state])


def detach_state(state: Any) -> Any:
    """Detach a state from its history, so that gradients end where a segment begins.

    Args:
        state: A state returned by an encoder.

    Returns:
        A state of the same form that shares its values.
    """
    return map_state(state, Tensor.detach)


def select_streams(state: Any, index: Tensor) -> Any:
    """Select streams of a state, in any order and any number of times.

    Args:
        state: A state returned by an encoder, for B streams.
        index: (K,) int64, the streams, from 0 to B - 1.

    Returns:
        The state of K streams.
    """
    if isinstance(state, SRUppState):
        caches, pad = map_state((state.caches, state.pad), lambda part: part.index_select(0, index))
        return SRUppState(state.c.index_select(1, index), caches, pad)
    if isinstance(state, tuple):
        return _like(state, [select_streams(part, index) for part in state])
    return map_state(state, lambda part: part.index_select(1, index))


def _like(state: tuple[Any, ...], parts: Sequence[Any]) -> Any:
    """Return parts as a tuple of the same type as a state."""
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def concatenate_states(states: Sequence[Any]) -> Any:
    """Join the streams of several states, as if they had been read in one batch.

    Args:
        states: At least one, all of one encoder in evaluation mode; for SRU++ the streams may have read texts
            of different lengths.

    Returns:
        The state of all streams, in the order given.
    """
    first = states[0]
    if isinstance(first, Tensor):
        return torch.cat(list(states), 1)
    if isinstance(first, SRUppState):
        return _concatenate_srupp(states)
    return tuple(concatenate_states(parts) for parts in zip(*states, strict=True))


def _concatenate_srupp(states: Sequence[SRUppState]) -> SRUppState:
    """Pad the memory of each stream at its beginning to the length of the longest one."""
    counts = [next((c.keys.shape[2] for c in state.caches if c is not None), 0) for state in states]
    missing = [max(counts) - count for count in counts]

    def join(sides: Sequence[Tensor]) -> Tensor:
        return torch.cat([F.pad(x, (0, 0, more, 0)) for x, more in zip(sides, missing, strict=True)])

    layers = zip(*(state.caches for state in states), strict=True)
    caches = (layer[0] and type(layer[0])(*map(join, zip(*layer, strict=True))) for layer in layers)
    c = torch.cat([state.c for state in states], 1)
    pads = []
    for state, count, more in zip(states, counts, missing, strict=True):
        own = c.new_zeros(state.c.shape[1], count, dtype=torch.bool) if state.pad is None else state.pad
        pads.append(F.pad(own, (more, 0), value=True))
    pad = torch.cat(pads)
    return SRUppState(c, tuple(caches), pad if pad.any() else None)
