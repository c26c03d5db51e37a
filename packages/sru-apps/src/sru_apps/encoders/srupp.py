"""SRU++ over the segments of a text in training, with a memory that gradients reach the weights through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sru_nn import SRUpp, SRUppAttention

Memory = tuple[Tensor, ...]
"""For each layer that attends, what it has read: (M, B, ·), M up to the context."""


def read_with_memory(
    rnn: SRUpp, x: Tensor, state: tuple[Tensor, Memory] | None, *, run: Callable[..., Any]
) -> tuple[Tensor, tuple[Tensor, Memory]]:
    """Read a segment and give the outputs that `SRUpp.stream` gives.

    `stream` remembers keys and values; once they are detached, the loss of a segment does not reach the
    matrices that made them. Here the inputs of the attention are remembered, and keys and values made anew.

    Args:
        rnn: A causal stack that normalises its memory.
        x: (T, B, E), the segment.
        state: What the call for the segment before returned, detached; None at the start.
        run: Calls a layer with arguments, so that the caller can wrap the call.

    Returns:
        h: (T, B, D).
        state: The states c (L, B, D), and the memory.
    """
    cells: list[Any] = list(rnn.rnn_lst)
    states = [None] * len(cells) if state is None else state[0].unbind(0)
    earlier = iter(() if state is None else state[1])
    last, memory = [], []
    for cell, c in zip(cells, states, strict=True):
        read = next(earlier, None) if isinstance(cell.transform, SRUppAttention) else None
        inputs = x
        x, c = run(cell, x, c, None, None, read)
        last.append(c)
        if isinstance(cell.transform, SRUppAttention):
            known = inputs if read is None else torch.cat([read, inputs])
            memory.append(known if rnn.context is None else known[-rnn.context :])
    return x, (torch.stack(last), tuple(memory))
