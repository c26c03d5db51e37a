"""One module for all recurrent encoders."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

import sru_nn
from sru_apps.encoders.layers import read_by_layers
from sru_apps.encoders.options import EncoderOptions, RecurrentName
from sru_apps.encoders.srupp import read_with_memory
from sru_apps.encoders.states import State

_DEFAULT_MEMORY = 256
_BOTH_WAYS = ("sru", "lstm", "gru")


class RecurrentEncoder(nn.Module):
    """A stack of recurrent layers over padded, time-major sequences; padding never changes a result.

    Args:
        name: The cell: `sru`, `srupp` (SRU with causal attention), `lstm`, `gru`, `mingru` or `gated-linear`.
        input_size: E.
        hidden_size: D, per direction.
        num_layers: L.
        dropout: Dropout between layers.
        bidirectional: Whether a second stack reads the sequence backwards (N = 2 instead of 1); `sru`, `lstm`
            and `gru` only.
        options: What only some of the encoders have.
        activation_checkpointing: Whether training keeps the inputs of the layers only and computes what is
            between them a second time for the gradients: layer by layer where the encoder is a list of
            layers, else all at once.

    Raises:
        ValueError: When `name` is none of these, or has no such option.
    """

    def __init__(
        self,
        name: RecurrentName,
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 2,
        dropout: float = 0.0,
        bidirectional: bool = False,
        options: EncoderOptions | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        given = (options or EncoderOptions()).given(name)
        if bidirectional and name not in _BOTH_WAYS:
            raise ValueError(f"the encoder {name!r} reads one way only; choose bidirectional=False")
        self.name = name
        self.activation_checkpointing = activation_checkpointing
        self.output_size = hidden_size * (2 if bidirectional else 1)
        self.rnn = _build(
            name, input_size, hidden_size, num_layers, dropout, bidirectional=bidirectional, options=given
        )

    def forward(
        self, x: Tensor, mask: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Encode a batch.

        Args:
            x: (T, B, E) inputs.
            mask: (T, B) bool, True where there is padding, which must follow the real positions.
            state: What an earlier call returned, to read on from there.

        Returns:
            h: (T, B, N·D) outputs, zero at padding.
            state: The final states, for the next call: c for `sru`, h for `gru`, (h, c) for `lstm`, whatever
            the others have. That of `srupp` in training is a tuple of c and of what each layer that attends
            has read, through which the next segment's loss reaches the keys and values, as in Transformer-XL.
        """
        if self.name == "srupp" and mask is None and _wants_memory(self.training, state):
            return read_with_memory(self.rnn, x, state, run=self._run)  # type: ignore[arg-type]
        if self.name == "srupp":
            if state is not None and not isinstance(state, sru_nn.SRUppState):
                raise ValueError("a state of srupp from training without a mask cannot go on with a mask")
            h, state = self.rnn.stream(x, state, mask_pad=mask)  # type: ignore[operator]
            return h, state
        if mask is None:
            return self._read(x, state)
        if self.name in ("lstm", "gru"):
            lengths = (~mask).sum(0).cpu()
            packed, state = self._run(self.rnn, pack_padded_sequence(x, lengths, enforce_sorted=False), state)
            h, _ = pad_packed_sequence(packed, total_length=x.shape[0])
            return h, state
        h, state = self._run(self.rnn, x, state, mask)
        return h, state

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read one position: what `forward` does with a sequence of one.

        Args:
            x: (B, E).
            state: As for `forward`.

        Returns:
            h: (B, D).
            state: As `forward` returns it.
        """
        if self.name in ("lstm", "gru") or (self.name == "srupp" and _wants_memory(False, state)):
            h, state = self(x.unsqueeze(0), state=state)
            return h.squeeze(0), state
        return self.rnn.step(x, state)  # type: ignore[no-any-return,operator]

    def _read(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        if self._checkpoints() and self.name not in ("lstm", "gru"):
            return read_by_layers(self.rnn, x, state, run=self._run)  # type: ignore[arg-type]
        h, state = self._run(self.rnn, x, state)
        return h, state

    def _checkpoints(self) -> bool:
        return self.activation_checkpointing and self.training and torch.is_grad_enabled()

    def _run(self, module: nn.Module, *args: Any) -> Any:
        if self._checkpoints():
            return checkpoint(module, *args, use_reentrant=False)
        return module(*args)


def _wants_memory(training: bool, state: State | None) -> bool:
    """Whether SRU++ is to remember inputs, and not the keys and values made of them."""
    return training if state is None else not isinstance(state, sru_nn.SRUppState)


def _build(
    name: str,
    input_size: int,
    hidden_size: int,
    num_layers: int,
    dropout: float,
    *,
    bidirectional: bool,
    options: dict[str, Any],
) -> nn.Module:
    # torch warns about dropout that has no second layer to stand before.
    between = dropout if num_layers > 1 else 0.0
    if name == "srupp":
        return _build_srupp(input_size, hidden_size, num_layers, dropout, options)
    if name == "mingru":
        return sru_nn.MinGRU(input_size, hidden_size, num_layers, dropout=between)
    if name == "gated-linear":
        return sru_nn.GatedLinearRNN(input_size, hidden_size, num_layers, dropout=between, **options)
    if name == "sru":
        activation = options.pop("activation", "identity")
        return sru_nn.SRU(
            input_size,
            hidden_size,
            num_layers,
            dropout=between,
            bidirectional=bidirectional,
            use_tanh=activation == "tanh",
            use_relu=activation == "relu",
            **options,
        )
    kind = nn.LSTM if name == "lstm" else nn.GRU
    return kind(input_size, hidden_size, num_layers, dropout=between, bidirectional=bidirectional)


def _build_srupp(
    input_size: int, hidden_size: int, num_layers: int, dropout: float, options: dict[str, Any]
) -> nn.Module:
    heads = options.pop("num_heads", 1)
    size = options.pop("projection_size", heads * max(1, hidden_size // 4 // heads))
    names = {"attention_dropout": "attn_dropout", "attention_layer_norm": "attn_layer_norm"}
    return sru_nn.SRUpp(
        input_size,
        hidden_size,
        size,
        num_layers,
        dropout=dropout,
        num_heads=heads,
        causal=True,
        context=options.pop("memory_length", _DEFAULT_MEMORY),
        # Else a text in segments would not have the outputs of the whole.
        normalize_memory=True,
        **{names.get(name, name): value for name, value in options.items()},
    )
