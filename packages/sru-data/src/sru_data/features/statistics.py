"""Mean and standard deviation of features, over many utterances or in one."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_SMALLEST = 1e-8


def statistics(utterances: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation of each feature over all frames of all utterances.

    The sums of one utterance are taken about its own mean and then merged, which avoids cancellation for any
    number of frames.

    Args:
        utterances: The features of each utterance, (T, F); at least one frame in total.

    Returns:
        The mean and the standard deviation, (F,) float64. A constant feature gets the deviation 1.

    Raises:
        ValueError: There is no frame.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979.
    """
    count = 0
    mean = squares = torch.zeros((), dtype=torch.float64)
    for features in utterances:
        if not len(features):
            continue
        frames = features.double()
        added, total = len(frames), count + len(frames)
        own = frames.mean(0)
        difference = own - mean
        squares = squares + (frames - own).square().sum(0) + difference.square() * (count * added / total)
        mean = mean + difference * (added / total)
        count = total
    if not count:
        raise ValueError("statistics: utterances must have at least one frame, got none")
    deviation = (squares / count).sqrt()
    return mean, torch.where(deviation > _SMALLEST * mean.abs().clamp(min=1.0), deviation, 1.0)


def normalised(features: Tensor, by: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Return the features of an utterance, normalised to mean 0 and, unless constant, variance 1.

    Args:
        features: (T, F) float32, with at least one frame.
        by: The mean and the standard deviation, as from `statistics`; default: those of the utterance.
    """
    mean, deviation = statistics([features]) if by is None else by
    return ((features - mean) / deviation).float()
