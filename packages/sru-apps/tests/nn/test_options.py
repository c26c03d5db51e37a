from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from sru_apps.nn import EncoderOptions, RecurrentEncoder


def test_unknown_encoder() -> None:
    message = "unknown recurrent encoder 'rnn'; expected one of sru, srupp, lstm, gru, ligru, sligru, mingru"
    with pytest.raises(ValueError, match=message):
        RecurrentEncoder("rnn", 5, 4)


@pytest.mark.parametrize(
    ("name", "option", "owners"),
    [
        ("lstm", {"projection_size": 2}, "projection_size, which belongs to sru and srupp"),
        ("gru", {"layer_norm": False}, "layer_norm, which belongs to sru and srupp"),
        ("sru", {"memory_length": 9}, "memory_length, which belongs to srupp"),
        ("srupp", {"rnn_dropout": 0.0}, "rnn_dropout, which belongs to sru"),
        ("sru", {"normalization": "batch"}, "normalization, which belongs to ligru and sligru"),
        ("mingru", {"num_heads": 1}, "num_heads, which belongs to srupp and gated-linear"),
    ],
)
def test_an_option_of_another_encoder(name: str, option: dict[str, Any], owners: str) -> None:
    with pytest.raises(ValueError, match=f"the encoder '{name}' has no option {owners}; leave it out"):
        RecurrentEncoder(name, 5, 4, options=EncoderOptions(**option))


def test_every_option_belongs_to_some_encoder() -> None:
    for field in fields(EncoderOptions):
        options = _with(field.name)
        with pytest.raises(ValueError, match="which belongs to"):
            options.given("lstm")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"projection_size": 0}, "projection_size must be at least 1, got 0"),
        ({"memory_length": 0}, "memory_length must be at least 1, got 0"),
        ({"attention_last_n_layers": -1}, "attention_last_n_layers must be at least 0, got -1"),
        ({"rnn_dropout": 1.0}, "rnn_dropout must be at least 0 and less than 1, got 1.0"),
        ({"attention_dropout": -0.1}, "attention_dropout must be at least 0 and less than 1, got -0.1"),
        ({"activation": "sine"}, "activation must be one of identity, tanh, relu, got 'sine'"),
    ],
)
def test_out_of_range(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderOptions(**option)


def _with(name: str) -> EncoderOptions:
    values = {"activation": "tanh", "normalization": "batch", "rnn_dropout": 0.1, "attention_dropout": 0.1}
    return EncoderOptions(**{name: values.get(name, 1)})
