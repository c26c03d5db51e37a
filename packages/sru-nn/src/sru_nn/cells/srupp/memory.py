"""The keys and values of earlier positions that an SRU++ layer keeps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class KeyValues(NamedTuple):
    """The keys and values of the positions that attention has processed."""

    keys: Tensor
    """`(B, H, S, P/H)`."""
    values: Tensor
    """`(B, H, S, P/H)`."""


class Cache:
    """A memory of keys and values instead of inputs; the attention that receives it appends the new ones."""

    def __init__(self, seen: KeyValues | None = None) -> None:
        self.seen = seen

    def extend(self, new: KeyValues, context: int | None) -> KeyValues:
        """Return all keys and values, and keep the last `context` of them."""
        if self.seen is not None:
            new = KeyValues(
                torch.cat([self.seen.keys, new.keys], 2), torch.cat([self.seen.values, new.values], 2)
            )
        self.seen = new
        if context is not None:
            self.seen = KeyValues(new.keys[:, :, -context:], new.values[:, :, -context:])
        return new
