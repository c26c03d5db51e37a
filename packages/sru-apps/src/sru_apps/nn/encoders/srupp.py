"""SRU++: the SRU with causal attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sru_apps.nn.encoders.record import Encoder, Run, call
from sru_apps.nn.encoders.sru import HighwayOptions
from sru_apps.ranges import ranged
from sru_nn import SRUpp, SRUppAttention, SRUppState

_DEFAULT_MEMORY = 256


@dataclass(frozen=True, kw_only=True)
class SRUppOptions(HighwayOptions):
    """Options of `srupp`."""

    num_heads: int | None = ranged(None, at_least=1)
    """srupp, gated-linear: heads of each layer; default: 1."""
    attention_dropout: float | None = ranged(None, at_least=0, below=1)
    """srupp: dropout on the attention maps; default: 0."""
    attention_layer_norm: bool | None = None
    """srupp: normalise after each attention; default: yes."""
    attention_every_n_layers: int | None = ranged(None, at_least=1)
    """srupp: use attention only in every n-th layer; default: 1."""
    attention_last_n_layers: int | None = ranged(None, at_least=0)
    """srupp: use attention only in the last n layers; default: see `attention_every_n_layers`."""
    memory_length: int | None = ranged(None, at_least=1)
    """srupp: number of earlier positions to attend to, in this segment or before it; default: 256."""


def build(
    input_size: int,
    hidden_size: int,
    num_layers: int,
    *,
    bidirectional: bool,
    num_heads: int = 1,
    projection_size: int | None = None,
    memory_length: int = _DEFAULT_MEMORY,
    **options: Any,
) -> nn.Module:
    """Build the stack."""
    names = {"attention_dropout": "attn_dropout", "attention_layer_norm": "attn_layer_norm"}
    return SRUpp(
        input_size,
        hidden_size,
        projection_size or num_heads * max(1, hidden_size // 4 // num_heads),
        num_layers,
        num_heads=num_heads,
        causal=True,
        context=memory_length,
        # Otherwise a text read in segments would not give the same outputs as the whole text.
        normalize_memory=True,
        **{names.get(name, name): value for name, value in options.items()},
    )


def read(
    rnn: Any,
    x: Tensor,
    mask: Tensor | None,
    state: Any,
    reset: Tensor | None,
    *,
    run: Run,
    by_layers: bool,
) -> tuple[Tensor, Any]:
    """Read a sequence: in training without padding with `read_with_memory`, else with `SRUpp.stream`."""
    remembers = rnn.training if state is None else not isinstance(state, SRUppState)
    if remembers and mask is None:
        return read_with_memory(rnn, x, state, reset, run=run)
    if remembers and state is not None:
        raise ValueError(
            "srupp: a state from training without a mask cannot be continued with a mask; "
            "start from state=None"
        )
    return rnn.stream(x, state, mask_pad=mask, reset=reset)  # type: ignore[no-any-return]


def read_with_memory(
    rnn: Any, x: Tensor, state: tuple[Any, ...] | None, reset: Tensor | None = None, *, run: Run
) -> tuple[Tensor, tuple[Any, ...]]:
    """Read a segment and return the outputs of `SRUpp.stream`, with gradients through the memory's weights.

    `stream` remembers keys and values; once they are detached, the loss of a segment does not reach the
    matrices that produced them. Here the inputs of the attention are kept, and keys and values recomputed.

    Args:
        rnn: A causal stack that normalises its memory.
        x: (T, B, E), the segment.
        state: The state returned for the previous segment, detached; None at the start.
        reset: (T, B) bool, True where a sequence begins, or None.
        run: Calls a layer with arguments.

    Returns:
        h: (T, B, D).
        state: The states c (L, B, D); for each layer with attention the inputs it remembers, (M, B, ·); and
        once a sequence has begun, (M, B) bool, True at positions of earlier sequences.
    """
    cells: list[Any] = list(rnn.rnn_lst)
    states = [None] * len(cells) if state is None else state[0].unbind(0)
    earlier = iter(() if state is None else state[1])
    gone = None if state is None or len(state) < 3 else state[2]
    last, memory = [], []
    for cell, c in zip(cells, states, strict=True):
        attends = isinstance(cell.transform, SRUppAttention)
        read = next(earlier, None) if attends else None
        inputs = x
        x, c = run(cell, x, c, None, None, read, None if read is None else gone, reset=reset)
        last.append(c)
        if attends:
            known = inputs if read is None else torch.cat([read, inputs])
            memory.append(known if rnn.context is None else known[-rnn.context :])
    result = torch.stack(last), tuple(memory)
    if not memory or (gone is None and reset is None):
        return x, result
    mask = _of_earlier_sequences(gone, reset, x, 0 if state is None else len(state[1][0]))
    return x, (*result, mask[-len(memory[0]) :])


def _of_earlier_sequences(gone: Tensor | None, reset: Tensor | None, x: Tensor, remembered: int) -> Tensor:
    """Mark the positions of earlier sequences, `(M + T, B)`, which later positions must not attend to."""
    length, batch = x.shape[:2]
    before = x.new_zeros(remembered, batch, dtype=torch.bool) if gone is None else gone
    if reset is None:
        return torch.cat([before, before.new_zeros(length, batch)])
    sequence = reset.cumsum(0)
    return torch.cat([before | reset.any(0), sequence != sequence[-1:]])


def step(rnn: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Read one position; a state from training is continued as in training."""
    if state is None or isinstance(state, SRUppState):
        return rnn.step(x, state)  # type: ignore[no-any-return]
    h, state = read_with_memory(rnn, x.unsqueeze(0), state, run=call)
    return h.squeeze(0), state


ENCODER = Encoder(build, SRUppOptions, read=read, step=step)
