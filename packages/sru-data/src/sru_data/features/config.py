"""The configuration of audio features, as plain values that fit in a checkpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

Kind = Literal["fbank", "mfcc", "file"]
FRAME_SECONDS = 0.025
SHIFT_SECONDS = 0.01
LOWEST_FREQUENCY = 20.0
_SLOWEST, _FASTEST = 4_000, 768_000
_MOST_DELTAS = 2


@dataclass(frozen=True)
class FeatureConfig:
    """Audio features as in Kaldi, every 10 ms from 25 ms of samples in the range of 16-bit integers.

    `fbank` features are the log energies of triangular filters on the mel scale, and `mfcc` features are the
    first terms of their cosine transform. `file` features come with the data, in `.mfc` files or Kaldi
    archives. There is no dither: the same audio gives the same features.

    Raises:
        ValueError: An option has an invalid value, or there are so many filters that some would be empty at
            this rate.

    Source: Davis and Mermelstein, 1980; Povey et al., "The Kaldi speech recognition toolkit", 2011.
    """

    kind: Kind = "fbank"
    """The kind of features."""
    num_bins: int = 80
    """The number of filters; for `file`, the size of the vectors in the files."""
    num_cepstra: int = 13
    """The number of terms of `mfcc`."""
    deltas: int = 0
    """The number of derivatives that follow the features, each of the same size: 0, 1 or 2."""
    sample_rate: int = 16_000
    """The rate that audio is resampled to, in samples per second."""
    per_utterance: bool = False
    """Whether to normalise each utterance to mean 0 and variance 1, which is impossible for a stream."""
    per_speaker: bool = False
    """Whether to normalise all utterances of a speaker together to mean 0 and variance 1. `extract`, which
    processes a single utterance, leaves this to its caller."""
    on_stereo: Literal["mix", "refuse"] = "mix"
    """What to do with several channels: average them, or raise an error."""
    on_rate: Literal["resample", "refuse"] = "resample"
    """What to do with audio of another rate."""
    on_clipping: Literal["accept", "refuse"] = "accept"
    """What to do with audio in which more than one sample in a thousand is at full scale."""

    def __post_init__(self) -> None:
        hints: dict[str, Any] = get_type_hints(type(self))
        for field in fields(self):
            choices, value = get_args(hints[field.name]), getattr(self, field.name)
            if choices and value not in choices:
                listed = ", ".join(map(repr, choices))
                raise ValueError(f"FeatureConfig: {field.name} must be one of {listed}, got {value!r}")
        if not 0 <= self.deltas <= _MOST_DELTAS:
            raise ValueError(f"FeatureConfig: deltas must be 0, 1 or 2, got {self.deltas}")
        if self.num_bins < 1:
            raise ValueError(f"FeatureConfig: num_bins must be at least 1, got {self.num_bins}")
        if self.per_utterance and self.per_speaker:
            raise ValueError("FeatureConfig: per_utterance and per_speaker exclude each other; set only one")
        if self.kind == "file":
            return
        if not _SLOWEST <= self.sample_rate <= _FASTEST:
            raise ValueError(
                f"FeatureConfig: sample_rate must be {_SLOWEST:,} to {_FASTEST:,}, got {self.sample_rate:,}"
            )
        if self.kind == "mfcc" and not 1 <= self.num_cepstra <= self.num_bins:
            raise ValueError(
                f"FeatureConfig: num_cepstra must be 1 to num_bins = {self.num_bins}, got {self.num_cepstra}"
            )
        if _has_empty_filter(self.num_bins, self.sample_rate):
            raise ValueError(
                f"FeatureConfig: num_bins = {self.num_bins} leaves some filters empty at "
                f"{self.sample_rate:,} samples per second; use {most_bins(self.sample_rate)} or fewer"
            )

    @property
    def size(self) -> int:
        """The number of features in a frame."""
        return (self.num_cepstra if self.kind == "mfcc" else self.num_bins) * (1 + self.deltas)


def most_bins(sample_rate: int) -> int:
    """Return the largest number of filters without an empty one.

    Args:
        sample_rate: Samples per second.
    """
    most = 1
    while not _has_empty_filter(most + 1, sample_rate):
        most += 1
    return most


def _has_empty_filter(num_bins: int, sample_rate: int) -> bool:
    """Whether a filter lies between two neighbouring frequencies of the Fourier transform."""
    window = int(sample_rate * FRAME_SECONDS)
    size = 1 << (window - 1).bit_length()
    tones = [mel(tone * sample_rate / size) for tone in range(size // 2)]
    lowest, highest = mel(LOWEST_FREQUENCY), mel(sample_rate / 2)
    step = (highest - lowest) / (num_bins + 1)
    edges = [lowest + step * number for number in range(num_bins + 2)]
    place = 0
    for left, right in zip(edges, edges[2:], strict=False):
        while place < len(tones) and tones[place] <= left:
            place += 1
        if place == len(tones) or tones[place] >= right:
            return True
    return False


def mel(frequency: float) -> float:
    """Convert a frequency to the mel scale.

    Args:
        frequency: In hertz.
    """
    return 1127.0 * math.log1p(frequency / 700.0)
