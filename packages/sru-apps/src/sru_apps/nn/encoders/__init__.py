"""The recurrent encoders: one row each."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from sru_apps.nn.encoders import gated_linear, mingru, sru, srupp, torch_rnn
from sru_apps.nn.encoders.record import Encoder, Options

ENCODERS: dict[str, Encoder] = {
    "sru": sru.ENCODER,
    "srupp": srupp.ENCODER,
    "lstm": torch_rnn.LSTM,
    "gru": torch_rnn.GRU,
    "mingru": mingru.ENCODER,
    "gated-linear": gated_linear.ENCODER,
}

if TYPE_CHECKING:
    RecurrentName = str
else:
    RecurrentName = Literal[tuple(ENCODERS)]

_OPTIONS = [
    kind for kind in dict.fromkeys(encoder.options for encoder in ENCODERS.values()) if kind is not Options
]


@dataclass(frozen=True, kw_only=True)
class EncoderOptions(*_OPTIONS):  # type: ignore[misc]
    """The options of all encoders; None leaves a choice to the encoder.

    Raises:
        ValueError: A value is out of its range.
    """

    def given(self, encoder: str) -> dict[str, Any]:
        """Return the options that are not None.

        Args:
            encoder: The encoder they are for.

        Raises:
            ValueError: The encoder is unknown, or lacks one of the options.
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
