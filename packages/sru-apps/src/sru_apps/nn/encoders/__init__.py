"""The recurrent encoders, one row each, and a common module for all of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sru_apps.nn.encoders import gated_linear, ligru, mingru, sru, srupp, torch_rnn
from sru_apps.nn.encoders.gated_linear import GatedLinearOptions
from sru_apps.nn.encoders.ligru import LiGRUOptions
from sru_apps.nn.encoders.record import Encoder, call
from sru_apps.nn.encoders.sru import SRUOptions
from sru_apps.nn.encoders.srupp import SRUppOptions
from sru_apps.nn.states import State
from sru_nn.stack import MOST_LAYERS

ENCODERS: dict[str, Encoder] = {
    "sru": sru.ENCODER,
    "srupp": srupp.ENCODER,
    "lstm": torch_rnn.LSTM,
    "gru": torch_rnn.GRU,
    "ligru": ligru.LIGRU,
    "sligru": ligru.SLIGRU,
    "mingru": mingru.ENCODER,
    "gated-linear": gated_linear.ENCODER,
}

if TYPE_CHECKING:
    RecurrentName = str
else:
    RecurrentName = Literal[tuple(ENCODERS)]


@dataclass(frozen=True, kw_only=True)
class EncoderOptions(SRUOptions, SRUppOptions, LiGRUOptions, GatedLinearOptions):
    """The options of all encoders; None means the encoder's default.

    Raises:
        ValueError: A value is out of range.
    """

    def given(self, encoder: str) -> dict[str, Any]:
        """Return the options that are not None.

        Args:
            encoder: The encoder they are for.

        Raises:
            ValueError: The encoder is unknown, or does not have one of the options.
        """
        if encoder not in ENCODERS:
            raise ValueError(f"unknown recurrent encoder {encoder!r}; expected one of {', '.join(ENCODERS)}")
        own = {
            name: getattr(self, name) for name in _names(EncoderOptions) if getattr(self, name) is not None
        }
        for name in own:
            if name not in _names(ENCODERS[encoder].options):
                owners = [other for other, row in ENCODERS.items() if name in _names(row.options)]
                raise ValueError(
                    f"the encoder {encoder!r} has no option {name}, which belongs to {' and '.join(owners)}; "
                    "leave it out"
                )
        return own


def _names(options: Any) -> list[str]:
    return [item.name for item in fields(options)]


class RecurrentEncoder(nn.Module):
    """A stack of recurrent layers over padded, time-major sequences; padding never changes a result.

    Args:
        name: The cell: `sru`, `srupp` (SRU with causal attention), `lstm`, `gru`, `ligru`, `sligru`, `mingru`
            or `gated-linear`.
        input_size: E.
        hidden_size: D, per direction.
        num_layers: L.
        dropout: Dropout between layers; for `ligru` and `sligru`, on the candidates of every layer.
        bidirectional: Read the sequence backwards too (N = 2 instead of 1); not supported by `srupp`,
            `mingru` or `gated-linear`.
        options: Options that only some encoders have.
        activation_checkpointing: Keep only the inputs of the layers for the backward pass and recompute the
            rest: layer by layer if the encoder is a list of layers, else all at once.

    Raises:
        ValueError: `name` is unknown, does not have one of the options, or there are too many layers.
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
        if num_layers > MOST_LAYERS:
            raise ValueError(f"num_layers must be at most {MOST_LAYERS}, got {num_layers}")
        given = (options or EncoderOptions()).given(name)
        self._encoder = ENCODERS[name]
        if bidirectional and not self._encoder.both_ways:
            raise ValueError(f"the encoder {name!r} has only one direction; choose bidirectional=False")
        self.name = name
        self.activation_checkpointing = activation_checkpointing
        self.output_size = hidden_size * (2 if bidirectional else 1)
        self.rnn = self._encoder.build(
            input_size, hidden_size, num_layers, dropout=dropout, bidirectional=bidirectional, **given
        )

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        state: State | None = None,
        reset: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Encode a batch.

        Args:
            x: (T, B, E) inputs.
            mask: (T, B) bool, True at padding, which must follow the real positions.
            state: The state returned by the previous call, to continue from it.
            reset: (T, B) bool, True where a sequence begins.

        Returns:
            h: (T, B, N·D) outputs, zero at padding.
            state: The final states, for the next call: c for `sru`, h for `gru`, (h, c) for `lstm`; other
            encoders have their own forms. In training, the state of `srupp` is a tuple of c and the inputs
            that each attention remembers; through these, the loss of the next segment reaches the keys and
            values, as in Transformer-XL.
        """
        recomputes = self.activation_checkpointing and self.training and torch.is_grad_enabled()
        run = partial(checkpoint, use_reentrant=False) if recomputes else call
        return self._encoder.read(self.rnn, x, mask, state, reset, run=run, by_layers=recomputes)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run one step, like `forward` with a sequence of one step.

        Args:
            x: (B, E).
            state: As for `forward`.

        Returns:
            h: (B, D).
            state: As `forward` returns it.
        """
        return self._encoder.step(self.rnn, x, state)
