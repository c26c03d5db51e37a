"""The configuration of a translation model and its search."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from sru_apps.decoding.beam import check_exponent
from sru_apps.nn import EncoderOptions, RecurrentName
from sru_apps.nn.encoders import ENCODERS
from sru_apps.ranges import check_at_least, ranged
from sru_apps.tasks.translate.options import (
    SYSTEMS,
    EncoderDecoderOptions,
    SystemName,
    TransformerSRUOptions,
)

_LEAST_SYMBOLS = 4


@dataclass(frozen=True, kw_only=True)
class TranslationConfig(EncoderOptions, EncoderDecoderOptions, TransformerSRUOptions):
    """The configuration of a `TranslationModel`, with the options of every system and of its cells.

    Raises:
        ValueError: A number is out of its range, two choices exclude each other, or an option belongs to
            another system.
    """

    source_vocab_size: int
    """The size of the source vocabulary; padding is 0."""
    target_vocab_size: int
    """V, the size of the target vocabulary; its last two symbols are the begin and end markers."""
    # A factory, since a field with a plain default becomes a command-line option.
    joint: bool = field(default_factory=bool)
    """Whether both languages share one vocabulary."""
    system: SystemName = ranged("encoder-decoder", among=tuple(SYSTEMS))  # noqa: RUF009
    """encoder-decoder: recurrent layers that attend to the source once; transformer-sru: a Transformer with
    an SRU in place of every feed-forward network (Lei et al., 2018)."""
    encoder: RecurrentName = "sru"
    """encoder-decoder: the recurrent encoder of the source."""
    embedding_size: int = ranged(256, at_least=1)
    """E, the width of the embedding; for transformer-sru, also the width between its layers."""
    hidden_size: int = ranged(256, at_least=1)
    """Units per direction of an encoder layer; for transformer-sru, of every SRU."""
    num_layers: int = ranged(2, at_least=1)
    """Layers of the encoder."""
    decoder_layers: int | None = ranged(None, at_least=1)
    """Layers of the decoder; default: as `num_layers`."""
    bidirectional: bool | None = None
    """Whether the encoder is bidirectional; default: yes; for transformer-sru no, since its attention sees
    the whole source."""
    dropout: float = ranged(0.2, at_least=0, below=1)
    """Dropout on the input of each recurrent layer; for transformer-sru, on the output of each sublayer."""
    word_dropout: float = ranged(0.0, at_least=0, below=1)
    """Dropout of whole tokens of the source and the target (Sennrich et al., 2016)."""
    alignment_dropout: float = ranged(0.0, at_least=0, below=1)
    """Dropout on the attention weights; srupp has its own option."""
    output_dropout: float | None = ranged(None, at_least=0, below=1)
    """Dropout before the output layer; default: as `dropout`."""
    tie_embeddings: Literal["none", "target", "all"] = ranged("target", among=("none", "target", "all"))
    """Which weights are tied: target: target embedding and output layer (Press and Wolf, 2017); all: also the
    source embedding, which needs a joint vocabulary."""
    label_smoothing: float = ranged(0.0, at_least=0, below=1)
    """The fraction of the target's probability that the training loss spreads over all tokens."""
    validation_beam: int = ranged(1, at_least=1)
    """The beam size of validations during training; 1 is greedy."""
    beam: int = ranged(5, at_least=1)
    """The beam size; 1 takes the most probable token at each step."""
    length_penalty: Literal["average", "gnmt", "none"] = ranged("average", among=("average", "gnmt", "none"))
    """How hypotheses of different lengths are compared; see `sru_apps.decoding.beam`."""
    alpha: float = ranged(1.0, at_least=0, at_most=10)
    """The exponent of the length penalty, which is then average or gnmt."""

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
        check_exponent(self.length_penalty, None if self.alpha == TranslationConfig.alpha else self.alpha)
        self._check_options()
        SYSTEMS[self.system].check(self)

    def _check_options(self) -> None:
        """Raise unless every option belongs to the system, or to the encoder's or decoder's cell."""
        own = _names(SYSTEMS[self.system])
        for owner, options in SYSTEMS.items():
            for item in fields(options):
                if item.name not in own and getattr(self, item.name) != item.default:
                    raise ValueError(
                        f"the system {self.system!r} has no option {item.name}, which belongs to {owner}; "
                        "leave it out"
                    )
        if self.encoder not in ENCODERS:
            EncoderOptions().given(self.encoder)
        taken = [name for cell in (self.encoder, self.decoder) for name in _names(ENCODERS[cell].options)]
        rest = {name: getattr(self, name) for name in _names(EncoderOptions) if name not in taken}
        EncoderOptions(**rest).given(self.encoder)

    def options_of(self, cell: str) -> EncoderOptions:
        """Return the options of a cell.

        Args:
            cell: The encoder's or the decoder's cell.
        """
        return EncoderOptions(**{name: getattr(self, name) for name in _names(ENCODERS[cell].options)})

    @property
    def both_ways(self) -> bool:
        """Whether the encoder is bidirectional."""
        return self.system == "encoder-decoder" if self.bidirectional is None else self.bidirectional

    @property
    def decoder_units(self) -> int:
        """The units of a decoder layer."""
        return self.hidden_size if self.decoder_size is None else self.decoder_size

    @property
    def num_decoder_layers(self) -> int:
        """The number of decoder layers."""
        return self.num_layers if self.decoder_layers is None else self.decoder_layers

    @property
    def vocab_size(self) -> int:
        """The size of the target vocabulary."""
        return self.target_vocab_size

    @property
    def bos_id(self) -> int:
        """The marker before the first symbol of a target."""
        return self.target_vocab_size - 2

    @property
    def eos_id(self) -> int:
        """The marker after the last symbol of a target."""
        return self.target_vocab_size - 1


def _names(options: Any) -> list[str]:
    return [item.name for item in fields(options)]
