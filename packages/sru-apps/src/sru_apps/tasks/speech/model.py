"""The network: normalised features, subsampling, a recurrent encoder, one linear layer; and its CTC loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sru_apps.decoding.ctc import BLANK
from sru_apps.nn import EncoderOptions, RecurrentEncoder, RecurrentName, pool
from sru_apps.nn.encoders import ENCODERS
from sru_apps.nn.layers import Dropout
from sru_apps.nn.subsampling import ConvState, ConvSubsampling
from sru_apps.ranges import check_at_least, ranged
from sru_data.features import spec_augment

SPECIAL = 2
"""The number of symbols that are not labels: padding, which is the blank, and the unknown symbol."""


@dataclass(frozen=True, kw_only=True)
class SpeechConfig(EncoderOptions):
    """Sizes and choices of a `SpeechModel`, and the options of its encoder.

    Raises:
        ValueError: A number is out of its range, or two choices exclude each other.
    """

    input_size: int
    """F, the features of a frame."""
    vocab_size: int
    """Symbols of the alphabet, including the blank; for a classifier, the number of labels plus two."""
    subsampling: int
    """The factor by which convolutions shorten an utterance before the encoder."""
    # A factory, because a field with a plain default is a command-line option.
    classify: bool = field(default_factory=bool)
    """Whether an utterance has one label instead of a transcript."""
    encoder: RecurrentName = "sru"
    """The recurrent encoder."""
    hidden_size: int = ranged(256, at_least=1)
    """Units per direction of a recurrent layer."""
    num_layers: int = ranged(4, at_least=1)
    """Recurrent layers."""
    bidirectional: bool | None = None
    """Whether the encoder is bidirectional, which rules out streaming; default: if it can be (sru, lstm, gru,
    ligru, sligru)."""
    conv_size: int | None = ranged(None, at_least=1)
    """Features between the convolutions and the encoder; default: as `hidden_size`."""
    dropout: float = ranged(0.2, at_least=0, below=1)
    """Dropout between layers and before the linear layer."""
    time_masks: int = ranged(0, at_least=0)
    """SpecAugment: the number of spans of frames masked in each training utterance."""
    time_mask_width: int = ranged(20, at_least=1)
    """SpecAugment: the maximum number of frames in a span."""
    frequency_masks: int = ranged(0, at_least=0)
    """SpecAugment: the number of bands of features masked in each training utterance."""
    frequency_mask_width: int = ranged(10, at_least=1)
    """SpecAugment: the maximum number of features in a band."""
    beam: int = ranged(1, at_least=1)
    """The beam size; 1 takes the most probable path."""
    lm_weight: float = ranged(0.5, at_least=0)
    """The weight of the language model in decoding."""
    word_bonus: float = ranged(0.0, at_least=-1000, at_most=1000)
    """Bonus for each word of a hypothesis, if a language model is used."""
    lm_unknown: float = ranged(0.0, at_most=0)
    """Score added for each word outside the language model's vocabulary; -20 all but rules such words out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, input_size=self.input_size)
        check_at_least(SPECIAL, vocab_size=self.vocab_size)
        if self.subsampling not in (1, 2, 4):
            raise ValueError(f"subsampling must be 1, 2 or 4, got {self.subsampling}")
        self.given(self.encoder)

    @property
    def both_ways(self) -> bool:
        """Whether the encoder is bidirectional."""
        return ENCODERS[self.encoder].both_ways if self.bidirectional is None else self.bidirectional


class SpeechState(NamedTuple):
    """The state of a batch of streamed utterances between two pieces."""

    convolutions: ConvState
    encoder: Any
    """None before the first output."""


class SpeechModel(nn.Module):
    """Scores of symbols for each frame of utterances, or of labels for each utterance.

        x = SpecAugment((features − mean) · scale)        h = encoder(dropout(subsampling(x)))
        logits_t = W · dropout(h_t) + b                   logits = W · dropout([max_t h_t; mean_t h_t]) + b

    on the left for symbols, on the right for labels.

    `mean` and `scale` are computed from the training data and are buffers, so that they are saved with the
    weights.

    Args:
        config: Sizes and choices.

    Source: Graves et al., "Connectionist Temporal Classification" (2006); for SpecAugment, Park et al.,
    "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition" (2019).
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.input_size))
        self.register_buffer("scale", torch.ones(config.input_size))
        conv_size = config.conv_size or config.hidden_size
        self.subsampling = ConvSubsampling(config.input_size, conv_size, config.subsampling)
        self.input_dropout = Dropout(config.dropout if config.subsampling > 1 else 0.0)
        self.encoder = RecurrentEncoder(
            config.encoder,
            self.subsampling.output_size,
            config.hidden_size,
            num_layers=config.num_layers,
            dropout=config.dropout,
            bidirectional=config.both_ways,
            options=config,
        )
        self.dropout = Dropout(config.dropout)
        features = self.encoder.output_size
        if config.classify:
            self.output = nn.Linear(2 * features, config.vocab_size - SPECIAL)
        else:
            self.output = nn.Linear(features, config.vocab_size)

    def normalize_by(self, mean: Tensor, std: Tensor) -> None:
        """Normalise features by a mean and a standard deviation, (F,) each."""
        self.mean.copy_(mean)
        self.scale.copy_(1 / std)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Score a batch.

        Args:
            features: (T, B, F) frames.
            mask: (T, B) bool, True at padding, which must follow the frames; no utterance is empty. None
                without padding.

        Returns:
            logits: (⌈T / subsampling⌉, B, vocab_size), or for labels (B, vocab_size - 2).
            mask: Their padding, or None without padding.
        """
        x, config = (features - self.mean) * self.scale, self.config
        if self.training and (config.time_masks or config.frequency_masks):
            x = spec_augment(
                x,
                lengths_of(x, mask),
                time_masks=config.time_masks,
                time_width=config.time_mask_width,
                frequency_masks=config.frequency_masks,
                frequency_width=config.frequency_mask_width,
            )
        x, mask = self.subsampling(x, mask)
        h, _ = self.encoder(self.input_dropout(x), mask)
        return self.output(self.dropout(pool(h, mask) if config.classify else h)), mask

    def start(self, batch: int = 1) -> SpeechState:
        """Return the state before the first frame of a stream.

        Args:
            batch: The number of utterances in the batch.

        Raises:
            ValueError: The model is bidirectional, or labels whole utterances.
        """
        if self.config.classify:
            raise ValueError("a classifier needs whole clips and cannot stream")
        if self.config.both_ways:
            raise ValueError(
                "a bidirectional model needs the whole utterance and cannot stream; train one with "
                "--bidirectional false"
            )
        return SpeechState(self.subsampling.start(batch, self.mean), None)

    def stream(
        self, features: Tensor, state: SpeechState, *, last: bool = False
    ) -> tuple[Tensor, SpeechState]:
        """Score the next piece of a stream; all pieces together equal `forward` in evaluation mode.

        Args:
            features: (T, B, F) frames, T may be 0.
            state: The return value of the previous call or of `start`.
            last: Whether the utterances end with this piece.

        Returns:
            logits: (T′, B, vocab_size), T′ may be 0.
            state: For the next piece.
        """
        x = (features - self.mean) * self.scale
        x, convolutions = self.subsampling.stream(x, state.convolutions, last=last)
        if not x.shape[0]:
            return x.new_zeros(0, x.shape[1], self.config.vocab_size), state._replace(
                convolutions=convolutions
            )
        h, encoder = self.encoder(x, None, state.encoder)
        return self.output(h), SpeechState(convolutions, encoder)


def lengths_of(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the number of real positions of each sequence: (B,) int64.

    Args:
        x: (T, B, ...).
        mask: (T, B) bool, True at padding; None without padding.
    """
    return x.new_full((x.shape[1],), x.shape[0], dtype=torch.int64) if mask is None else (~mask).sum(0)


def needed_outputs(targets: Tensor, lengths: Tensor) -> Tensor:
    """Return the minimum number of outputs that can spell each transcript: (B,) int64.

    Between two equal symbols there must be a blank.

    Args:
        targets: (B, S) int64, padded with the blank.
        lengths: (B,) int64, the symbols of each.
    """
    again = (targets[:, 1:] == targets[:, :-1]) & (targets[:, 1:] != BLANK)
    return lengths + again.sum(1)


def ctc_losses(
    logits: Tensor, mask: Tensor | None, targets: Tensor, target_lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the negative log-likelihood of each transcript.

    Args:
        logits: (T, B, V).
        mask: (T, B) bool, True at padding, which may hold any values; None without padding.
        targets: (B, S) int64, padded with the blank.
        target_lengths: (B,) int64.

    Returns:
        losses: (B,) in nats; 0 where the utterance is too short for its transcript.
        fits: (B,) bool, whether it is long enough.
    """
    # In float32, regardless of the network's precision: the sums are over hundreds of outputs.
    log_probs = logits.float().log_softmax(-1)
    if mask is not None:
        log_probs = log_probs.masked_fill(mask.unsqueeze(-1), 0.0)
    lengths = lengths_of(logits, mask)
    losses = F.ctc_loss(
        log_probs, targets, lengths, target_lengths, blank=BLANK, reduction="none", zero_infinity=True
    )
    return losses, needed_outputs(targets, target_lengths) <= lengths
