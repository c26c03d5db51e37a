from __future__ import annotations

import pytest

from sru_data.features import FeatureConfig
from sru_data.features.config import most_bins


def test_the_size_of_a_frame() -> None:
    assert FeatureConfig().size == 80
    assert FeatureConfig("mfcc", num_bins=23, deltas=2).size == 39
    assert FeatureConfig("file", num_bins=13, deltas=1).size == 26


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "plp"}, r"kind must be one of 'fbank', 'mfcc', 'file', got 'plp'"),
        ({"on_stereo": "left"}, r"on_stereo must be one of 'mix', 'refuse', got 'left'"),
        ({"on_rate": ""}, r"on_rate must be one of 'resample', 'refuse', got ''"),
        ({"on_clipping": "mix"}, r"on_clipping must be one of 'accept', 'refuse', got 'mix'"),
        ({"deltas": 3}, r"deltas must be 0, 1 or 2, got 3"),
        ({"per_utterance": True, "per_speaker": True}, r"per_utterance and per_speaker exclude each other"),
        ({"num_bins": 0, "kind": "file"}, r"num_bins must be at least 1, got 0"),
        ({"sample_rate": 100}, r"sample_rate must be 4,000 to 768,000, got 100"),
        ({"kind": "mfcc", "num_cepstra": 81}, r"num_cepstra must be 1 to num_bins = 80, got 81"),
        (
            {"num_bins": 200, "sample_rate": 8000},
            rf"num_bins = 200 leaves some filters empty at 8,000 .* use {most_bins(8000)} or fewer",
        ),
    ],
)
def test_wrong_options_are_errors(options, message: str) -> None:
    with pytest.raises(ValueError, match=f"FeatureConfig: {message}"):
        FeatureConfig(**options)
