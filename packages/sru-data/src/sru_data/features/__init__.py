"""Speech features: from audio, whole or as a stream, and from files that come with the data.

soundfile reads audio, soxr resamples it, and kaldi-native-fbank computes its features. All three come with
`pip install "sru-data[speech]"` and are imported when the first file is read.
"""

from sru_data.features.audio import stream_audio
from sru_data.features.augment import spec_augment
from sru_data.features.config import FeatureConfig
from sru_data.features.extraction import extract, extract_samples, read_samples
from sru_data.features.statistics import statistics
from sru_data.features.streaming import OnlineFeatures
from sru_data.features.vocal_tract import warp_frequencies

__all__ = [
    "FeatureConfig",
    "OnlineFeatures",
    "extract",
    "extract_samples",
    "read_samples",
    "spec_augment",
    "statistics",
    "stream_audio",
    "warp_frequencies",
]
