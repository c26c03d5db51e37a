from __future__ import annotations

import math

import pytest
import torch

from sru_data.features import FeatureConfig, extract_samples, warp_frequencies
from sru_data.features.deltas import Deltas

RATE = 8000
BINS = 40
CONFIG = FeatureConfig(num_bins=BINS, sample_rate=RATE)


def middles() -> list[float]:
    """The middle of each filter in hertz, on the mel scale from 20 Hz to half the rate."""

    def mel(hertz: float) -> float:
        return 1127 * math.log(1 + hertz / 700)

    step = (mel(RATE / 2) - mel(20)) / (BINS + 1)
    return [700 * (math.exp((mel(20) + (k + 1) * step) / 1127) - 1) for k in range(BINS)]


def read_at(factor: float) -> torch.Tensor:
    """The frequency that each filter reads, in hertz, found by warping the middles of the filters."""
    return warp_frequencies(torch.tensor([middles()]), factor, config=CONFIG)[0]


@pytest.mark.parametrize(("factor", "bend", "end"), [(0.9, 3200.0, 2880.0), (1.2, 3200 / 1.2, 3200.0)])
def test_frequencies_are_warped_in_two_lines(factor: float, bend: float, end: float) -> None:
    for hertz, found in zip(middles(), read_at(factor).tolist(), strict=True):
        line = factor * hertz if hertz <= bend else 4000 - (4000 - hertz) * (4000 - end) / (4000 - bend)
        wanted = min(max(line, middles()[0]), middles()[-1])
        # Between two filters it is linear in mel, which differs by little more than 1 Hz.
        assert found == pytest.approx(wanted, abs=1.5)


@pytest.mark.parametrize("factor", [0.75, 0.85, 1.2, 1.3])
def test_a_tone_moves_by_the_factor(factor: float) -> None:
    pytest.importorskip("kaldi_native_fbank", reason="features of audio are computed by kaldi-native-fbank")
    time = torch.arange(RATE // 5) / RATE
    heard, wanted = (
        extract_samples(CONFIG, 0.5 * torch.sin(2 * math.pi * hertz * time))
        for hertz in (1000, 1000 / factor)
    )
    found = warp_frequencies(heard, factor, config=CONFIG)
    assert (found.argmax(1) - wanted.argmax(1)).abs().max() <= 1
    assert (heard.argmax(1) - wanted.argmax(1)).abs().min() >= 2


def test_derivatives_of_warped_features_are_the_warped_derivatives() -> None:
    frames = torch.randn(9, BINS, generator=torch.Generator().manual_seed(0))

    def differentiated(x: torch.Tensor) -> torch.Tensor:
        deltas = Deltas(2, BINS)
        return torch.cat([deltas.accept(x), deltas.finish()])

    config = FeatureConfig(num_bins=BINS, sample_rate=RATE, deltas=2)
    found = warp_frequencies(differentiated(frames), 1.1, config=config)
    wanted = differentiated(warp_frequencies(frames, 1.1, config=CONFIG))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_the_factor_1_changes_nothing() -> None:
    frames = torch.randn(3, BINS)
    assert warp_frequencies(frames, 1.0, config=CONFIG) is frames


@pytest.mark.parametrize(
    ("config", "factor", "message"),
    [
        (
            FeatureConfig(kind="mfcc", sample_rate=RATE, num_bins=23),
            1.1,
            "features must be fbank, got 'mfcc'",
        ),
        (CONFIG, 0.4, "factor must be 0.5 to 2.0, got 0.4"),
        (CONFIG, math.nan, "factor must be 0.5 to 2.0, got nan"),
    ],
)
def test_other_features_and_factors_are_refused(config: FeatureConfig, factor: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"warp_frequencies: {message}"):
        warp_frequencies(torch.zeros(1, config.size), factor, config=config)
