"""What SRU++ carries from one step, or one chunk of a sequence, to the next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

from sru_nn.arguments import check_shape
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


def remembered(caches: Iterable[KeyValues | None]) -> int:
    """Return S, the number of positions that layers remember."""
    return next((cache.keys.shape[2] for cache in caches if cache is not None), 0)


def check_memory(state: SRUppState, layers: int, batch: int, heads: int, size: int) -> None:
    """Raise unless keys, values and padding have the sizes of a module: L, B, H and P/H."""
    if len(state.caches) not in (0, layers):
        raise ValueError(
            f"SRUpp: state.caches must have one entry per layer, {layers}, got {len(state.caches)}"
        )
    for cache in state.caches:
        if cache is not None and (*cache.keys.shape[:2], cache.keys.shape[-1]) != (batch, heads, size):
            raise ValueError(
                "SRUpp: the keys in state.caches must have shape (B, H, S, P/H) = "
                f"({batch}, {heads}, S, {size}), got {tuple(cache.keys.shape)}"
            )
    if state.pad is not None:
        check_shape("SRUpp", "state.pad", state.pad, "(B, S)", (batch, remembered(state.caches)))
