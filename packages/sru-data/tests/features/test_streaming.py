from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sru_data.features import FeatureConfig, OnlineFeatures, extract, extract_samples
from sru_data.features.config import most_bins


def mel(frequency: float) -> float:
    return 1127 * math.log(1 + frequency / 700)


def filters(rate: int, num_bins: int) -> Tensor:
    """Triangles on the mel scale between 20 Hz and half the rate, (bins, tones)."""
    size = 2 ** math.ceil(math.log2(rate // 40))
    tones = torch.tensor([mel(tone * rate / size) for tone in range(size // 2)], dtype=torch.float64)
    step = (mel(rate / 2) - mel(20)) / (num_bins + 1)
    centres = mel(20) + step * torch.arange(1, num_bins + 1)[:, None]
    return (1 - (tones - centres).abs() / step).clamp(min=0)


def log_mel(samples: Tensor, rate: int, num_bins: int) -> Tensor:
    """The energies of each 25 ms frame, computed from the definition."""
    length, shift, matrix = rate // 40, rate // 100, filters(rate, num_bins)
    window = (0.5 - 0.5 * torch.cos(2 * torch.pi * torch.arange(length) / (length - 1))).double() ** 0.85
    frames = (samples.double() * 32768).unfold(0, length, shift)
    frames = frames - frames.mean(1, keepdim=True)
    frames = frames - 0.97 * torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    power = torch.fft.rfft(frames * window, n=2 * matrix.shape[1])[:, :-1].abs() ** 2
    return (power @ matrix.T).clamp(min=torch.finfo(torch.float32).eps).log()


def with_deltas(features: Tensor, order: int) -> Tensor:
    """Regressions over five frames, with the first and the last frame repeated at the ends."""
    reach = 2 * order
    slopes = torch.cat([features[:1]] * reach + [features] + [features[-1:]] * reach).double()
    columns = [features.double()]
    for step in range(1, order + 1):
        slopes = torch.stack(
            [sum(n * (slopes[t + n] - slopes[t - n]) for n in (1, 2)) / 10 for t in range(2, len(slopes) - 2)]
        )
        left = reach - 2 * step
        columns.append(slopes[left : left + len(features)])
    return torch.cat(columns, dim=1)


@pytest.mark.parametrize(("rate", "bins"), [(16_000, 80), (8_000, 40)])
def test_energies_are_those_of_the_definition(noise: Tensor, rate: int, bins: int) -> None:
    found = extract_samples(FeatureConfig(num_bins=bins, sample_rate=rate), noise)
    torch.testing.assert_close(found.double(), log_mel(noise, rate, bins), rtol=0, atol=2e-4)


def test_cepstra_are_the_cosine_transform_of_energies(noise: Tensor) -> None:
    found = extract_samples(FeatureConfig("mfcc", num_bins=23), noise)
    energies = log_mel(noise, 16_000, 23)
    places = torch.arange(23, dtype=torch.float64) + 0.5
    terms = torch.arange(13, dtype=torch.float64)[:, None]
    transform = torch.cos(torch.pi / 23 * terms * places) * math.sqrt(2 / 23)
    transform[0] = math.sqrt(1 / 23)
    lifter = 1 + 11 * torch.sin(torch.pi * terms[:, 0] / 22)
    torch.testing.assert_close(found.double(), energies @ transform.T * lifter, rtol=0, atol=2e-3)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_derivatives_follow_the_features(order: int, count: int) -> None:
    frames = torch.randn(count, 3, generator=torch.Generator().manual_seed(1))
    found = extract_samples(FeatureConfig("file", num_bins=3, deltas=order), frames)
    torch.testing.assert_close(found.double(), with_deltas(frames, order), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000])
def test_up_to_the_most_bins_no_filter_is_empty(rate: int) -> None:
    most = most_bins(rate)
    assert bool((filters(rate, most).sum(1) > 0).all())
    assert not bool((filters(rate, most + 1).sum(1) > 0).all())


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 3000), max_size=12),
    st.sampled_from(["fbank", "mfcc"]),
    st.integers(0, 2),
    st.integers(0, 6000),
)
def test_however_samples_are_cut_the_frames_are_the_same(cuts, kind, deltas, count) -> None:
    config = FeatureConfig(kind, num_bins=23, deltas=deltas)
    samples = torch.rand(count, generator=torch.Generator().manual_seed(count)) - 0.5
    online, pieces, rest = OnlineFeatures(config), [], samples
    for cut in cuts:
        pieces.append(online.accept(rest[:cut]))
        rest = rest[cut:]
    pieces += [online.accept(rest), online.finish()]
    whole = extract_samples(config, samples)
    assert len(whole) == max(0, 1 + (count - 400) // 160)
    assert torch.equal(torch.cat(pieces), whole)


def test_a_frame_comes_out_as_soon_as_it_is_complete(noise: Tensor) -> None:
    online = OnlineFeatures(FeatureConfig())
    assert [len(online.accept(piece)) for piece in (noise[:399], noise[399:400], noise[400:721])] == [0, 1, 2]
    waiting = OnlineFeatures(FeatureConfig(deltas=2))
    assert len(waiting.accept(noise[: 400 + 3 * 160])) == 0
    assert len(waiting.accept(noise[:160])) == 1


def test_other_rates_are_resampled_as_they_come(write_wav, noise: Tensor) -> None:
    config = FeatureConfig(num_bins=40)
    utterance = write_wav(noise, rate=11_025)
    whole = extract(config, utterance)
    samples = (noise * 32768).to(torch.int16).float() / 32768
    online = OnlineFeatures(config, sample_rate=11_025)
    pieces = [online.accept(piece) for piece in samples.split(333)]
    found = torch.cat([*pieces, online.finish()])
    assert len(found) == len(whole) == 1 + (round(4000 * 16_000 / 11_025) - 400) // 160
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)


def test_digital_silence_is_finite() -> None:
    features = extract_samples(FeatureConfig(), torch.zeros(1000))
    assert torch.equal(features, torch.full((4, 80), math.log(torch.finfo(torch.float32).eps)))


def test_what_cannot_be_streamed_is_an_error(noise: Tensor) -> None:
    with pytest.raises(ValueError, match=r"normalised per utterance cannot be streamed, .*per_utterance=F"):
        OnlineFeatures(FeatureConfig(per_utterance=True))
    files = FeatureConfig("file", num_bins=13)
    with pytest.raises(ValueError, match=r"sample_rate is for audio, not for feature files"):
        OnlineFeatures(files, sample_rate=8000)
    with pytest.raises(ValueError, match=r"frames must have shape \(t, 13\), got \(2, 12\)"):
        OnlineFeatures(files).accept(torch.zeros(2, 12))
    with pytest.raises(ValueError, match=r"samples must have shape \(S,\), got \(1, 4000\)"):
        OnlineFeatures(FeatureConfig()).accept(noise[None])


def test_normalised_per_utterance(noise: Tensor) -> None:
    features = extract_samples(FeatureConfig(num_bins=23, per_utterance=True), noise).double()
    torch.testing.assert_close(features.mean(0), torch.zeros(23).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(features.square().mean(0), torch.ones(23).double(), rtol=0, atol=1e-5)
