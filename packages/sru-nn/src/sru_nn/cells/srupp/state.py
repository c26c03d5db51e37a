"""What SRU++ carries from one step, or one chunk of a sequence, to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sru_nn.cells.srupp.attention import KeyValues


class SRUppState(NamedTuple):
    """The state of `SRUpp.step` and `SRUpp.stream`; `SRUppState(c0)` starts from the states c0."""

    c: Tensor
    """`(L, B, N·D)`, the states of the layers."""
    caches: tuple[KeyValues | None, ...] = ()
    """The keys and values of S earlier positions per layer, None without attention; () at the start."""
    pad: Tensor | None = None
    """`(B, S)` bool, True where an earlier position is padding; None without padding."""

    def detach(self) -> SRUppState:
        """Return the state without its history, to cut the gradient between two chunks."""
        caches = tuple(c and KeyValues(c.keys.detach(), c.values.detach()) for c in self.caches)
        return SRUppState(self.c.detach(), caches, self.pad)


def checked_caches(
    state: SRUppState, layers: int, batch: int, heads: int, size: int
) -> Sequence[KeyValues | None]:
    """Return the keys and values that each layer remembers.

    Args:
        state: The state.
        layers: L.
        batch: B.
        heads: H.
        size: P/H, the width of a head.

    Raises:
        ValueError: They come from another batch size or from another module.
    """
    caches = state.caches or (None,) * layers
    if len(caches) != layers:
        raise ValueError(f"SRUpp: state.caches must have one entry per layer, {layers}, got {len(caches)}")
    for cache in caches:
        if cache is not None and (*cache.keys.shape[:2], cache.keys.shape[-1]) != (batch, heads, size):
            raise ValueError(
                "SRUpp: the keys in state.caches must have shape (B, H, S, P/H) = "
                f"({batch}, {heads}, S, {size}), got {tuple(cache.keys.shape)}"
            )
    return caches


def extended_pad(state: SRUppState | None, mask_pad: Tensor | None, like: Tensor) -> Tensor | None:
    """Return which positions are padding, among the remembered and the new ones.

    Args:
        state: The state before; None at the start.
        mask_pad: `(T, B)` bool, the padding among the new positions; None without.
        like: `(T, B, ...)`, the new input.

    Returns:
        `(B, S + T)` bool, or None without padding.
    """
    pad = None if state is None else state.pad
    if mask_pad is None and pad is None:
        return None
    new = like.new_zeros(like.shape[:2], dtype=torch.bool).t() if mask_pad is None else mask_pad.t()
    earlier = next((c.keys for c in state.caches if c is not None), None) if state is not None else None
    if earlier is None:
        return new
    expected = (new.shape[0], earlier.shape[2])
    pad = new.new_zeros(expected) if pad is None else pad
    if pad.shape != expected:
        raise ValueError(f"SRUpp: state.pad must have shape (B, S) = {expected}, got {tuple(pad.shape)}")
    return torch.cat([pad, new], 1)
