"""SpecAugment: hides some of the frames and some of the features of each utterance."""

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
    """Return features of which random stretches of frames and of neighbouring features are hidden.

    Each mask has a width that is uniform from 0 to the largest, and then a place that is uniform within the
    utterance. Time is not warped. The numbers come from torch's global generator of the CPU, and their count
    depends on the options and the number of utterances alone.

    Args:
        features: (T, B, F).
        lengths: (B,) int64: the frames of each utterance.
        time_masks: How many stretches of frames to hide in each.
        time_width: The largest number of frames of one.
        time_ratio: The largest share of the frames of an utterance for one of them.
        frequency_masks: How many stretches of features to hide in each.
        frequency_width: The largest number of features of one.
        value: What hidden features become: a number or (F,), such as the mean of the features.

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
    """Return (B, size) bool with `count` stretches of each row marked, none beyond its length."""
    width_of, place_of = torch.rand(2, count, len(lengths), dtype=torch.float64)
    widths = (width_of * (widest + 1)).long()
    starts = (place_of * (lengths - widths + 1)).long()
    place = torch.arange(size)
    inside: Tensor = (place >= starts[..., None]) & (place < (starts + widths)[..., None])
    return inside.any(0)
