"""Batches of sequences of similar length; long texts as contiguous streams or overlapping windows."""

from sru_data.loaders.buckets import (
    LengthBatchSampler,
    PaddedBatch,
    PaddedFeatures,
    pad_features,
    pad_sequences,
)
from sru_data.loaders.streams import IGNORE, Segment, StreamLoader
from sru_data.loaders.windows import WindowLoader

__all__ = [
    "IGNORE",
    "LengthBatchSampler",
    "PaddedBatch",
    "PaddedFeatures",
    "Segment",
    "StreamLoader",
    "WindowLoader",
    "pad_features",
    "pad_sequences",
]
