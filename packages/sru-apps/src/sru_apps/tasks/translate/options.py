"""The options of each system, and their checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sru_apps.ranges import ranged

_DECODERS = ("sru", "srupp", "lstm", "gru")
_SCORES = ("dot", "general", "concat")


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderOptions:
    """Options of `encoder-decoder`."""

    decoder: Literal["sru", "srupp", "lstm", "gru"] = ranged("sru", among=_DECODERS)
    """encoder-decoder: the recurrent cell of the decoder."""
    decoder_size: int | None = ranged(None, at_least=1)
    """encoder-decoder: D, the units of a decoder layer; default: as `hidden_size`."""
    residual: bool = False
    """encoder-decoder: add the input of each recurrent layer but the first to its output."""
    attention: Literal["luong", "bahdanau"] = ranged("bahdanau", among=("luong", "bahdanau"))
    """encoder-decoder: luong attends after the last layer of the decoder; bahdanau after the first, and the
    layers above read the result."""
    score: Literal["dot", "general", "concat"] | None = ranged(None, among=_SCORES)
    """encoder-decoder: how attention compares (Luong et al., 2015); concat is that of Bahdanau et al. too;
    default: general."""
    variational: bool = False
    """encoder-decoder: use one dropout mask for all positions of a sentence (Gal and Ghahramani, 2016)."""

    @staticmethod
    def check(config: Any) -> None:
        """Reject an attention that needs more decoder layers."""
        if config.attention == "bahdanau" and config.num_decoder_layers < 2:
            raise ValueError(
                "the attention bahdanau needs at least 2 decoder layers, got "
                f"{config.num_decoder_layers}; choose luong"
            )


@dataclass(frozen=True, kw_only=True)
class TransformerSRUOptions:
    """Options of `transformer-sru`."""

    attention_heads: int = ranged(8, at_least=1)
    """transformer-sru: heads of each attention."""
    sru_dropout: float | None = ranged(None, at_least=0, below=1)
    """transformer-sru: dropout in each SRU, on its input and its states; default: as `dropout`."""

    @staticmethod
    def check(config: Any) -> None:
        """Reject other cells and their options, and indivisible sizes."""
        if config.encoder != "sru":
            raise ValueError(
                f"the system transformer-sru consists of SRUs, got the encoder {config.encoder!r}; leave it "
                "out"
            )
        for name in config.given("sru"):
            raise ValueError(f"the system transformer-sru has no option {name}; leave it out")
        if config.both_ways and config.hidden_size % 2:
            raise ValueError(
                f"a bidirectional transformer-sru needs an even hidden_size, got {config.hidden_size}; each "
                "direction has half of the units"
            )
        if config.embedding_size % config.attention_heads:
            raise ValueError(
                f"attention_heads must divide embedding_size={config.embedding_size}, got "
                f"{config.attention_heads}"
            )


SYSTEMS: dict[str, Any] = {"encoder-decoder": EncoderDecoderOptions, "transformer-sru": TransformerSRUOptions}
"""The translation systems, each with its own options and `check(config)`, which raises ValueError for options
that the system does not support."""

if TYPE_CHECKING:
    SystemName = str
else:
    SystemName = Literal[tuple(SYSTEMS)]
