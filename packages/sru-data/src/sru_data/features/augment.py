"""SpecAugment: masks spans of frames and of features in each utterance."""

from __future__ import annotations

import torch
from torch import Tensor


def spec_augment(
    features: Tensor,
    lengths: Tensor,
    *,
    time_masks: int = 2,
    time_width: int = 40,
    time_ratio: float = 0.2,
    frequency_masks: int = 2,
    frequency_width: int = 15,
    value: float | Tensor = 0.0,
) -> Tensor:
    """Return features with random spans of frames and of neighbouring features masked.

    The width of a mask is drawn uniformly from 0 to the largest, then its position uniformly within the
    utterance. Time is not warped. Random numbers come from torch's global CPU generator; how many are drawn
    depends only on the options and the number of utterances.

    Args:
        features: (T, B, F).
        lengths: (B,) int64: the number of frames of each utterance.
        time_masks: The number of time masks per utterance.
        time_width: The maximum number of frames in a time mask.
        time_ratio: The maximum share of an utterance's frames in a time mask.
        frequency_masks: The number of frequency masks per utterance.
        frequency_width: The maximum number of features in a frequency mask.
        value: The value of masked features: a number or (F,), such as the mean of the features.

    Returns:
        (T, B, F), a new tensor.

    Raises:
        ValueError: A number or width is negative, or `time_ratio` is not in 0 to 1.

    Source: Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition",
    2019; for `time_ratio`, Park et al., "SpecAugment on large scale datasets", 2020.
    """
    numbers = {
        "time_masks": time_masks,
        "time_width": time_width,
        "frequency_masks": frequency_masks,
        "frequency_width": frequency_width,
    }
    for name, number in numbers.items():
        if number < 0:
            raise ValueError(f"spec_augment: {name} must not be negative, got {number}")
    if not 0 <= time_ratio <= 1:
        raise ValueError(f"spec_augment: time_ratio must be 0 to 1, got {time_ratio}")
    T, B, F = features.shape
    frames = lengths.cpu()
    widest = (frames * time_ratio).long().clamp(max=time_width)
    hidden_frames = _stretches(T, time_masks, widest, frames)
    hidden_features = _stretches(
        F, frequency_masks, torch.full((B,), min(frequency_width, F)), torch.full((B,), F)
    )
    hidden = hidden_frames.T[:, :, None] | hidden_features[None]
    return torch.where(hidden.to(features.device), torch.as_tensor(value).to(features), features)


def _stretches(size: int, count: int, widest: Tensor, lengths: Tensor) -> Tensor:
    """Return (B, size) bool with `count` random spans marked in each row, none beyond its length."""
    width_of, place_of = torch.rand(2, count, len(lengths), dtype=torch.float64)
    widths = (width_of * (widest + 1)).long()
    starts = (place_of * (lengths - widths + 1)).long()
    place = torch.arange(size)
    inside: Tensor = (place >= starts[..., None]) & (place < (starts + widths)[..., None])
    return inside.any(0)
