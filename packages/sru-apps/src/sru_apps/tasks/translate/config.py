"""The sizes and choices of a translation model, and of its search."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from sru_apps.nn import EncoderOptions, RecurrentName
from sru_apps.nn.encoders import ENCODERS
from sru_apps.ranges import check_at_least, ranged

_SYSTEMS = ("encoder-decoder", "transformer-sru")
_DECODERS = ("sru", "srupp", "lstm", "gru")
_SCORES = ("dot", "general", "concat")
_LEAST_SYMBOLS = 4


@dataclass(frozen=True, kw_only=True)
class TranslationConfig(EncoderOptions):
    """Sizes and choices of a `TranslationModel`, and the options of its encoder and decoder.

    Raises:
        ValueError: A number is out of its range, or two choices exclude each other.
    """

    source_vocab_size: int
    """Symbols of the source language; padding is 0."""
    target_vocab_size: int
    """V, symbols of the target language; the last two are where a sentence begins and ends."""
    # A factory, since a field with a plain default is an option of the command line.
    joint: bool = field(default_factory=bool)
    """Whether both languages have the same symbols."""
    system: Literal["encoder-decoder", "transformer-sru"] = ranged("encoder-decoder", among=_SYSTEMS)
    """encoder-decoder: recurrent layers that attend to the source once; transformer-sru: a Transformer with
    an SRU in place of every feed-forward network (Lei et al., 2018)."""
    encoder: RecurrentName = "sru"
    """encoder-decoder: the recurrent encoder of the source."""
    decoder: Literal["sru", "srupp", "lstm", "gru"] = ranged("sru", among=_DECODERS)
    """encoder-decoder: the recurrent cell of the decoder."""
    embedding_size: int = ranged(256, at_least=1)
    """E, the features of a symbol; of transformer-sru, those between its layers too."""
    hidden_size: int = ranged(256, at_least=1)
    """Units per direction of an encoder's layer; of transformer-sru, those of every SRU."""
    decoder_size: int | None = ranged(None, at_least=1)
    """encoder-decoder: D, the units of a decoder's layer; default: as `hidden_size`."""
    num_layers: int = ranged(2, at_least=1)
    """Layers of the encoder."""
    decoder_layers: int | None = ranged(None, at_least=1)
    """Layers of the decoder; default: as `num_layers`."""
    bidirectional: bool | None = None
    """Read the source both ways; default: yes, transformer-sru: no, since its attention sees all of it."""
    residual: bool = False
    """encoder-decoder: add the input of each recurrent layer but the first to its output."""
    attention: Literal["luong", "bahdanau"] = ranged("bahdanau", among=("luong", "bahdanau"))
    """encoder-decoder: luong attends after the last layer of the decoder; bahdanau after the first, and the
    layers above read what it found."""
    score: Literal["dot", "general", "concat"] | None = ranged(None, among=_SCORES)
    """encoder-decoder: how attention compares (Luong et al., 2015); concat is that of Bahdanau et al. too;
    default: general."""
    attention_heads: int = ranged(8, at_least=1)
    """transformer-sru: heads of each attention."""
    dropout: float = ranged(0.2, at_least=0, below=1)
    """Dropout on the input of each recurrent layer; of transformer-sru, on what each part adds."""
    variational: bool = False
    """encoder-decoder: draw dropout once for all positions of a sentence (Gal and Ghahramani, 2016)."""
    word_dropout: float = ranged(0.0, at_least=0, below=1)
    """Dropout of whole symbols of the source and of the target (Sennrich et al., 2016)."""
    alignment_dropout: float = ranged(0.0, at_least=0, below=1)
    """Dropout on the weights of attention; that of srupp has its own."""
    output_dropout: float | None = ranged(None, at_least=0, below=1)
    """Dropout before the output layer; default: as `dropout`."""
    sru_dropout: float | None = ranged(None, at_least=0, below=1)
    """transformer-sru: dropout in each SRU, on its input and its states; default: as `dropout`."""
    tie_embeddings: Literal["none", "target", "all"] = ranged("target", among=("none", "target", "all"))
    """What shares its weights: target: target embedding and output layer (Press and Wolf, 2017); all: the
    source embedding too, which needs a joint vocabulary."""
    label_smoothing: float = ranged(0.0, at_least=0, below=1)
    """Share of the target's probability that the training loss spreads over all symbols."""
    validation_beam: int = ranged(1, at_least=1)
    """Hypotheses of the validations during training; 1 is greedy."""
    beam: int = ranged(5, at_least=1)
    """Hypotheses that the search keeps for each sentence; 1 takes the most probable symbol at each step."""
    length_penalty: Literal["average", "gnmt", "none"] = ranged("average", among=("average", "gnmt", "none"))
    """How hypotheses of different lengths compare; see `sru_apps.decoding.beam`."""
    alpha: float = ranged(1.0, at_least=0, at_most=10)
    """The exponent of the length penalty."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, source_vocab_size=self.source_vocab_size)
        check_at_least(_LEAST_SYMBOLS, target_vocab_size=self.target_vocab_size)
        if self.joint and self.source_vocab_size != self.target_vocab_size:
            raise ValueError(
                f"a joint vocabulary has one size, got {self.source_vocab_size} and {self.target_vocab_size}"
            )
        if self.tie_embeddings == "all" and not self.joint:
            raise ValueError(
                "tie_embeddings=all needs a joint vocabulary; prepare the data with one, or choose target"
            )
        self._check_options()
        if self.system == "transformer-sru":
            self._check_transformer()
        elif self.attention == "bahdanau" and self.layers_of_decoder < 2:
            raise ValueError(
                "the attention bahdanau needs at least 2 layers of the decoder, got "
                f"{self.layers_of_decoder}; choose luong"
            )

    def _check_options(self) -> None:
        """Raise unless every option of a cell belongs to the encoder's or the decoder's."""
        if self.encoder not in ENCODERS:
            EncoderOptions().given(self.encoder)
        taken = {*_options(self.encoder), *(_options(self.decoder) if self.system == _SYSTEMS[0] else ())}
        rest = {
            name: getattr(self, name)
            for name in (item.name for item in fields(EncoderOptions))
            if name not in taken
        }
        EncoderOptions(**rest).given(self.encoder)

    def _check_transformer(self) -> None:
        if self.encoder != "sru" or self.decoder != "sru":
            other = self.encoder if self.encoder != "sru" else self.decoder
            raise ValueError(f"the system transformer-sru is made of SRUs, got {other!r}; leave it out")
        for name in self.given("sru"):
            raise ValueError(f"the system transformer-sru has no option {name}; leave it out")
        if self.both_ways and self.hidden_size % 2:
            raise ValueError(
                f"a bidirectional transformer-sru needs an even hidden_size, got {self.hidden_size}; each "
                "direction has half of the units"
            )
        if self.embedding_size % self.attention_heads:
            raise ValueError(
                f"attention_heads must divide embedding_size={self.embedding_size}, got "
                f"{self.attention_heads}"
            )

    def options_of(self, cell: str) -> EncoderOptions:
        """Return the options that a cell has.

        Args:
            cell: The encoder's or the decoder's.
        """
        return EncoderOptions(**{name: getattr(self, name) for name in _options(cell)})

    @property
    def both_ways(self) -> bool:
        """Whether the source is read both ways."""
        return self.system == _SYSTEMS[0] if self.bidirectional is None else self.bidirectional

    @property
    def units_of_decoder(self) -> int:
        """The units of a decoder's layer."""
        return self.hidden_size if self.decoder_size is None else self.decoder_size

    @property
    def layers_of_decoder(self) -> int:
        """The layers of the decoder."""
        return self.num_layers if self.decoder_layers is None else self.decoder_layers

    @property
    def vocab_size(self) -> int:
        """The symbols that the model writes."""
        return self.target_vocab_size

    @property
    def bos_id(self) -> int:
        """The symbol before the first one of a target."""
        return self.target_vocab_size - 2

    @property
    def eos_id(self) -> int:
        """The symbol after the last one of a target."""
        return self.target_vocab_size - 1


def _options(cell: str) -> list[str]:
    return [item.name for item in fields(ENCODERS[cell].options)]
