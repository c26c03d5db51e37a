"""The configuration of a translation model, and what all of them have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, fields
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from sru_apps.nn import EncoderOptions, RecurrentName, State
from sru_apps.nn.encoders import ENCODERS
from sru_apps.nn.layers import make_dropout
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
    inner_dropout: float | None = ranged(None, at_least=0, below=1)
    """transformer-sru: dropout on the outputs of each SRU; default: as `dropout`."""
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
    alpha: float = ranged(1.0, at_least=0)
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
                "the attention bahdanau needs a decoder of at least 2 layers, one below and one above it, got "
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


class Memory(NamedTuple):
    """What the decoder knows of B sources; the batch is the second axis of every tensor."""

    keys: tuple[Tensor, ...]
    """(S, B, ·) for each attention: what queries are compared with."""
    values: tuple[Tensor, ...]
    """(S, B, ·) for each attention: what is averaged."""
    summary: Tensor
    """(1, B, ·): what the decoder's first state follows from; without features where nothing does."""
    mask: Tensor | None
    """(S, B) bool, True at padding; None without any."""


class TranslationModel(nn.Module):
    """Scores of the next symbol of a translation: the base of every system.

        x = √E · embedding[symbol]        logits = W · dropout(h) + b

    Embeddings are drawn from N(0, 1/E), so x has unit variance and W may be the embedding of the target.

    Args:
        config: Sizes and choices.

    Source: of the scale, Vaswani et al., "Attention Is All You Need" (2017), section 3.4; of word dropout,
    Sennrich et al., "Edinburgh Neural Machine Translation Systems for WMT 16" (2016).
    """

    def __init__(self, config: TranslationConfig) -> None:
        super().__init__()
        self.config = config
        size = config.embedding_size
        self.target_embedding = _embedding(config.target_vocab_size, size)
        self.source_embedding = (
            self.target_embedding
            if config.tie_embeddings == "all"
            else _embedding(config.source_vocab_size, size)
        )
        self.output = nn.Linear(size, config.target_vocab_size)
        nn.init.zeros_(self.output.bias)
        if config.tie_embeddings != "none":
            self.output.weight = self.target_embedding.weight
        self.output_dropout = make_dropout(
            config.dropout if config.output_dropout is None else config.output_dropout,
            variational=config.variational,
        )

    @abstractmethod
    def encode(self, source: Tensor, mask: Tensor | None = None) -> Memory:
        """Read the source.

        Args:
            source: (S, B) int64; each sentence has at least one symbol.
            mask: (S, B) bool, True at padding, which must follow the symbols; None without any.

        Returns:
            What the decoder needs to know of it.
        """

    @abstractmethod
    def start(self, memory: Memory) -> State:
        """Return the state before the first symbol of B targets.

        Args:
            memory: What `encode` returned.
        """

    @abstractmethod
    def decode(self, target: Tensor, memory: Memory) -> Tensor:
        """Read targets as a whole.

        Args:
            target: (T, B) int64, bos and then the sentence. Padding follows it, so no symbol can see it.
            memory: What `encode` returned.

        Returns:
            h: (T, B, E), from which `output` makes the logits of the symbol after each position.
        """

    @abstractmethod
    def step(self, ids: Tensor, state: State, memory: Memory) -> tuple[Tensor, Tensor, State]:
        """Read one symbol of N = B·K targets, K for each source: what `decode` does with all of them.

        Args:
            ids: (N,) int64; those of source b are b·K to b·K + K − 1.
            state: What `start` or an earlier call returned, for N targets; `select_streams` reorders it.
            memory: What `encode` returned for B sources.

        Returns:
            logits: (N, V), of the symbol that follows.
            weights: (N, S), of the symbols of the source in what was found there; they add up to 1.
            state: For the next call.
        """

    def forward(self, source: Tensor, target: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """Read sources and targets as a whole.

        Args:
            source: As for `encode`.
            target: As for `decode`.
            source_mask: As for `encode`.

        Returns:
            (T, B, E), as `decode` returns it.
        """
        return self.decode(target, self.encode(source, source_mask))

    def embed(self, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        """Look symbols up, and forget whole symbols in training.

        Args:
            embedding: That of the source, or of the target.
            ids: int64 of any shape.

        Returns:
            The shape of `ids`, and E.
        """
        x: Tensor = embedding(ids) * self.config.embedding_size**0.5
        dropped = self.config.word_dropout
        if not self.training or not dropped:
            return x
        return x * (torch.rand(*ids.shape, 1, device=x.device) >= dropped).to(x.dtype) / (1 - dropped)


def _embedding(symbols: int, size: int) -> nn.Embedding:
    embedding = nn.Embedding(symbols, size)
    nn.init.normal_(embedding.weight, std=size**-0.5)
    return embedding
