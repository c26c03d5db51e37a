"""Vocal tract length perturbation: the same speech from a speaker with a longer or shorter vocal tract."""

from __future__ import annotations

import torch
from torch import Tensor

from sru_data.features.config import LOWEST_FREQUENCY, FeatureConfig, mel

_HIGHEST_FORMANT = 4800.0
_SHARE = 0.8
"""The warp is linear up to the formants, or up to this share of all frequencies if that is lower."""
_LEAST, _MOST = 0.5, 2.0


def warp_frequencies(features: Tensor, factor: float, *, config: FeatureConfig) -> Tensor:
    """Return the log-mel energies of an utterance with its frequencies warped.

        x'_k = x(g(f_k))
        g(f) = a·f                                              for f ≤ F·min(a, 1) / a
               N − (N − f) · (N − F·min(a, 1)) / (N − F·min(a, 1) / a)   above

    f_k is the middle of filter k, N half the sample rate, F = min(4800, 0.8·N). Between two filters x is
    linear in mel. Derivatives are warped like the energies.

    Args:
        features: (T, F) float32, as returned by `extract` and not yet normalised.
        factor: a: above 1, formants move down, as with a longer vocal tract; 0.9 to 1.1 is usual.
        config: The configuration of the features, of the kind `fbank`.

    Returns:
        (T, F) float32; the same tensor for a factor of 1.

    Raises:
        ValueError: The features are not `fbank`, or the factor is not 0.5 to 2.

    Source: Jaitly and Hinton, "Vocal tract length perturbation (VTLP) improves speech recognition", 2013, who
    move the filters instead.
    """
    if config.kind != "fbank":
        raise ValueError(f"warp_frequencies: features must be fbank, got {config.kind!r}")
    if not _LEAST <= factor <= _MOST:
        raise ValueError(f"warp_frequencies: factor must be {_LEAST} to {_MOST}, got {factor}")
    if factor == 1:
        return features
    place = _places(factor, config)
    below = place.floor().clamp(max=max(config.num_bins - 2, 0)).long()
    above = (below + 1).clamp(max=config.num_bins - 1)
    share = (place - below).float()
    bins = torch.unflatten(features, 1, (1 + config.deltas, config.num_bins))
    return torch.lerp(bins[..., below], bins[..., above], share).flatten(1)


def _places(factor: float, config: FeatureConfig) -> Tensor:
    """Return the position that each filter reads, counted in filters: (num_bins,) float64."""
    half = config.sample_rate / 2
    lowest, highest = mel(LOWEST_FREQUENCY), mel(half)
    step = (highest - lowest) / (config.num_bins + 1)
    middle = lowest + step * torch.arange(1, config.num_bins + 1, dtype=torch.float64)
    frequency = 700 * torch.expm1(middle / 1127)
    top = min(_HIGHEST_FORMANT, _SHARE * half) * min(factor, 1.0)
    slope = (half - top) / (half - top / factor)
    read = torch.where(frequency <= top / factor, factor * frequency, half - (half - frequency) * slope)
    place = (1127 * torch.log1p(read / 700) - lowest) / step - 1
    return place.clamp(0, config.num_bins - 1)
