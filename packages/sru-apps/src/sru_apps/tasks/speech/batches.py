"""The input of a network: features and symbols of utterances, padded into batches."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from sru_data.feature_files import FeatureFile
from sru_data.features import FeatureConfig, warp_frequencies
from sru_data.features.statistics import normalised, statistics
from sru_data.loaders import LengthBatchSampler, pad_features, pad_sequences


class Example(NamedTuple):
    """An utterance."""

    features: Tensor
    """(T, F) float32."""
    targets: Tensor
    """(S,) int64, the symbols of its transcript; or (1,), its label."""
    index: int  # type: ignore[assignment]  # hides the method of tuples
    """Its index in its part of the data."""


class Batch(NamedTuple):
    """A batch of utterances, time-major."""

    features: Tensor
    """(T, B, F) float32."""
    mask: Tensor | None
    """(T, B) bool, True at padding; None without padding, which is faster."""
    targets: Tensor
    """(B, S) int64, the symbols, padded with the blank; or (B, 1), the labels."""
    target_lengths: Tensor
    """(B,) int64."""
    index: Tensor  # type: ignore[assignment]  # hides the method of tuples
    """(B,) int64, the indices of the utterances."""


def make_batch(examples: Sequence[Example]) -> Batch:
    """Pad utterances into a batch."""
    features, mask, _ = pad_features([example.features for example in examples])
    symbols = pad_sequences([example.targets for example in examples])
    return Batch(
        features,
        mask if bool(mask.any()) else None,
        symbols.ids,
        symbols.lengths,
        torch.tensor([example.index for example in examples]),
    )


class Speakers:
    """The mean and the standard deviation of the features of each speaker of a part, computed lazily.

    At another speed, a speaker sounds like another speaker and has separate statistics.

    Args:
        part: The features, not normalised.
    """

    def __init__(self, part: FeatureFile) -> None:
        self.part = part
        self._found: dict[tuple[str | None, float], tuple[Tensor, Tensor]] = {}

    def of(self, number: int, speed: float) -> tuple[Tensor, Tensor]:
        """Return the statistics, (F,) float64 each, for the speaker of an utterance at a speed."""
        speaker = self.part.utterances[number].speaker
        if (speaker, speed) not in self._found:
            own = (self.part.features(place, speed=speed) for place in self._numbers[speaker])
            self._found[speaker, speed] = statistics(own)
        return self._found[speaker, speed]

    @cached_property
    def _numbers(self) -> dict[str | None, list[int]]:
        numbers: dict[str | None, list[int]] = {}
        for number, utterance in enumerate(self.part.utterances):
            numbers.setdefault(utterance.speaker, []).append(number)
        return numbers


class Examples(Sequence[Example]):
    """The utterances of one part of the data, or some of them.

    Args:
        part: Their features, not normalised.
        config: How the features were computed, and whether to normalise per utterance or per speaker.
        targets: The symbols of each utterance of the part.
        numbers: (N,) int64, the indices of the utterances; default: all.
        speeds: Speeds at which features were computed; each epoch draws one for each utterance.
        vtlp: The maximum distance from 1 of the factor that warps each utterance's frequencies in an epoch.
        seed: Seed of the speeds and factors.
        sampler: Provides the epoch; without it, utterances are not augmented.
        speakers: The statistics to normalise speakers by, if they are known already.

    Attributes:
        lengths: (N,) int64, the number of frames of each at its original speed.
    """

    def __init__(
        self,
        part: FeatureFile,
        config: FeatureConfig,
        targets: Sequence[Tensor],
        numbers: Tensor | None = None,
        *,
        speeds: Sequence[float] = (1.0,),
        vtlp: float = 0.0,
        seed: int = 0,
        sampler: LengthBatchSampler | None = None,
        speakers: Speakers | None = None,
    ) -> None:
        self.part, self.config, self.targets = part, config, targets
        self.speeds, self.vtlp, self.seed = speeds, vtlp, seed
        self._sampler = sampler
        self._speakers = speakers or Speakers(part)
        self.numbers = torch.arange(len(part)) if numbers is None else numbers
        self.lengths: Tensor = part.lengths[self.numbers]

    def drawn(self, sampler: LengthBatchSampler) -> Examples:
        """Return the same utterances for a loader with this sampler."""
        return Examples(
            self.part,
            self.config,
            self.targets,
            self.numbers,
            speeds=self.speeds,
            vtlp=self.vtlp,
            seed=self.seed,
            sampler=sampler,
            speakers=self._speakers,
        )

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.numbers)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        """Return an utterance."""
        number = int(self.numbers[index])
        return Example(self._features(number), self.targets[number], number)

    def _features(self, number: int) -> Tensor:
        """Return the features for the network; utterances are normalised last, as in `extract`."""
        speed, factor = self._drawn(number)
        features = self.part.features(number, speed=speed)
        if self.config.per_speaker:
            # Normalise before the warp, which simulates another speaker with another mean.
            features = normalised(features, self._speakers.of(number, speed))
        if factor != 1:
            features = warp_frequencies(features, factor, config=self.config)
        return normalised(features) if self.config.per_utterance else features

    def _drawn(self, number: int) -> tuple[float, float]:
        """Draw speed and warp from (seed, epoch, number), so that a resumed run draws the same ones."""
        if self._sampler is None:
            return 1.0, 1.0
        place = f"{self.seed}:{self._sampler.epoch}:{number}"
        speed = random.Random(f"speed:{place}").choice(self.speeds)
        factor = random.Random(f"vtlp:{place}").uniform(1 - self.vtlp, 1 + self.vtlp)
        return speed, factor if self.vtlp else 1.0
