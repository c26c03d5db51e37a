"""The names of the recurrent encoders, and the options that only some of them have."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

RecurrentName = Literal["sru", "srupp", "lstm", "gru", "mingru", "gated-linear"]

_OPTIONS_OF: dict[str, tuple[str, ...]] = {
    "sru": (
        "projection_size",
        "activation",
        "layer_norm",
        "normalize_after",
        "highway_bias",
        "rescale",
        "rnn_dropout",
    ),
    "srupp": (
        "projection_size",
        "num_heads",
        "layer_norm",
        "normalize_after",
        "highway_bias",
        "rescale",
        "attention_dropout",
        "attention_layer_norm",
        "attention_every_n_layers",
        "attention_last_n_layers",
        "memory_length",
    ),
    "lstm": (),
    "gru": (),
    "mingru": (),
    "gated-linear": ("num_heads", "key_size", "output_gate"),
}
_LEAST = {
    "projection_size": 1,
    "num_heads": 1,
    "key_size": 1,
    "attention_every_n_layers": 1,
    "attention_last_n_layers": 0,
    "memory_length": 1,
}


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """What only some encoders can be told; None leaves it to the encoder.

    Raises:
        ValueError: When a number is outside its range.
    """

    projection_size: int | None = None
    """sru: inner width of each layer's weight as a product of two matrices; default: one matrix.
    srupp: the width in which attention happens; default: a quarter of the hidden size."""
    num_heads: int | None = None
    """srupp, gated-linear: heads of each layer; default: 1."""
    key_size: int | None = None
    """gated-linear: width of the keys of a head; default: that of the values, D over the heads."""
    output_gate: bool | None = None
    """gated-linear: whether what a layer reads from its state passes a gate; default: no."""
    activation: Literal["identity", "tanh", "relu"] | None = None
    """sru: what the state passes on its way to the output; default: identity."""
    layer_norm: bool | None = None
    """sru, srupp: whether each layer's input is normalised; default: no."""
    normalize_after: bool | None = None
    """sru, srupp: whether `layer_norm` normalises outputs instead of inputs; default: no."""
    highway_bias: float | None = None
    """sru, srupp: first bias of the output gate, below zero favours the highway; default: 0, srupp: -2."""
    rescale: bool | None = None
    """sru, srupp: whether the highway is scaled so that deep stacks keep their variance; default: no."""
    rnn_dropout: float | None = None
    """sru: variational dropout of each layer's input; default: 0."""
    attention_dropout: float | None = None
    """srupp: dropout of the attention maps; default: 0."""
    attention_layer_norm: bool | None = None
    """srupp: whether there is a norm after each attention; default: yes."""
    attention_every_n_layers: int | None = None
    """srupp: only each n-th layer attends; default: 1."""
    attention_last_n_layers: int | None = None
    """srupp: only the last n layers attend; default: `attention_every_n_layers` decides."""
    memory_length: int | None = None
    """srupp: how many positions before itself a position attends to, in its own segment or in earlier ones;
    default: 256."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        for name in ("rnn_dropout", "attention_dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and less than 1, got {value}")
        if self.activation not in (None, "identity", "tanh", "relu"):
            raise ValueError(f"activation must be identity, tanh or relu, got {self.activation!r}")

    def given(self, encoder: str) -> dict[str, Any]:
        """Return the options that are not None.

        Args:
            encoder: The encoder they are for.

        Raises:
            ValueError: When the encoder is unknown, or does not have one of them.
        """
        if encoder not in _OPTIONS_OF:
            known = ", ".join(get_args(RecurrentName))
            raise ValueError(f"unknown recurrent encoder {encoder!r}; expected one of {known}")
        chosen = {
            field.name: getattr(self, field.name)
            for field in fields(EncoderOptions)
            if getattr(self, field.name) is not None
        }
        for name in chosen:
            if name not in _OPTIONS_OF[encoder]:
                owners = " and ".join(other for other, names in _OPTIONS_OF.items() if name in names)
                raise ValueError(
                    f"the encoder {encoder!r} has no option {name}, which belongs to {owners}; leave it out"
                )
        return chosen
