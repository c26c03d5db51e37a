"""The state that SRU++ carries from one step or chunk of a sequence to the next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor

from sru_nn.arguments import check_floating, check_shape, check_tensor
from sru_nn.cells.srupp.memory import KeyValues
from sru_nn.positions import restart


class SRUppState(NamedTuple):
    """The state of `SRUpp.step` and `SRUpp.stream`; `SRUppState(c0)` starts from the states c0."""

    c: Tensor
    """`(L, B, N·D)`, the states of the layers."""
    caches: tuple[KeyValues | None, ...] = ()
    """The keys and values of S earlier positions per layer, None without attention; () at the start."""
    pad: Tensor | None = None
    """`(B, S)` bool, True where an earlier position is padding or belongs to a sequence that has ended; None
    if there are no such positions."""

    def detach(self) -> SRUppState:
        """Return the detached state, so that no gradient flows between two chunks."""
        caches = tuple(c and KeyValues(c.keys.detach(), c.values.detach()) for c in self.caches)
        return SRUppState(self.c.detach(), caches, self.pad)


def remembered(caches: Iterable[KeyValues | None]) -> int:
    """Return S, the number of cached positions."""
    return next((cache.keys.shape[2] for cache in caches if cache is not None), 0)


def restarted(state: SRUppState, reset: Tensor, initial: Tensor | None) -> SRUppState:
    """Return the state, reset to that of a new sequence where `reset`, `(B,)` bool, is True.

    Args:
        state: The state of a batch.
        reset: `(B,)`.
        initial: `(L, N·D)`, the states in which sequences begin; None for zeros.
    """

    def forget(part: Tensor) -> Tensor:
        # Marking these positions in `pad` would be enough, except for NaN.
        return part.masked_fill(reset[:, None, None, None], 0.0)

    caches = tuple(cache and KeyValues(*map(forget, cache)) for cache in state.caches)
    new = reset.unsqueeze(1).expand(-1, remembered(caches))
    pad = new if state.pad is None else state.pad | new
    return SRUppState(restart(state.c, reset, initial), caches, pad)


def check_saved_inputs(memory: Any, mask_pad: Any, layers: int) -> None:
    """Raise unless the memory is None or has an entry for each of L layers, and its mask is valid."""
    if mask_pad is not None:
        check_tensor("SRUpp", "memory_mask_pad", mask_pad)
    if memory is None:
        return
    if not isinstance(memory, (list, tuple)):
        raise TypeError(
            f"SRUpp: memory must be a list with an entry per layer, got a {type(memory).__name__}"
        )
    if len(memory) != layers:
        raise ValueError(f"SRUpp: memory must hold one tensor or None per layer, {layers}, got {len(memory)}")


def check_memory(state: SRUppState, layers: int, batch: int, heads: int, size: int) -> None:
    """Raise unless keys, values and padding have the sizes of a module: L, B, H and P/H."""
    if not isinstance(state.caches, (tuple, list)) or len(state.caches) not in (0, layers):
        got = len(state.caches) if isinstance(state.caches, (tuple, list)) else type(state.caches).__name__
        raise ValueError(f"SRUpp: state.caches must have one entry per layer, {layers}, got {got}")
    positions = 0
    for cache in state.caches:
        if cache is None:
            continue
        if not isinstance(cache, KeyValues):
            raise TypeError(f"SRUpp: state.caches must hold KeyValues, got a {type(cache).__name__}")
        for name, part in zip(("keys", "values"), cache, strict=True):
            check_floating("SRUpp", f"the {name} in state.caches", part)
            positions = positions or (part.shape[2] if part.dim() == 4 else 0)
            expected = (batch, heads, positions, size)
            check_shape("SRUpp", f"the {name} in state.caches", part, "(B, H, S, P/H)", expected)
    if state.pad is not None:
        check_shape("SRUpp", "state.pad", state.pad, "(B, S)", (batch, positions))
