"""The features of an utterance, from its audio or from a file that comes with the data."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sru_data.datasets.speech.utterance import Utterance
from sru_data.errors import DataError
from sru_data.features.audio import read_audio
from sru_data.features.config import FRAME_SECONDS, FeatureConfig
from sru_data.features.files import MFC_ENDING, read_kaldi_matrix, read_mfc
from sru_data.features.statistics import normalised
from sru_data.features.streaming import FrameComputer


def extract(config: FeatureConfig, utterance: Utterance, *, speed: float = 1.0) -> Tensor:
    """Return the features of an utterance.

    Args:
        config: The feature configuration.
        utterance: The utterance.
        speed: How much to speed its audio up, which raises the pitch too; 0.9, 1.0 and 1.1 are usual.

    Returns:
        (T, F) float32, T at least 1 and F `config.size`.

    Raises:
        DataError: As for `read_samples`, or the utterance is shorter than 25 ms.
        ValueError: The speed is not positive, or not 1 for features that come in files.

    Source for `speed`: Ko, Peddinti, Povey and Khudanpur, "Audio augmentation for speech recognition", 2015.
    """
    samples = read_samples(config, utterance, speed=speed)
    try:
        features = extract_samples(config, samples)
    except FloatingPointError:
        features = torch.full((1, config.size), torch.nan)
    if not len(features):
        raise DataError.at(
            utterance.path,
            None,
            f"expected at least {1000 * FRAME_SECONDS:g} ms of audio, got "
            f"{1000 * len(samples) / config.sample_rate:.3g} ms; remove it",
        )
    if not torch.isfinite(features).all():
        raise DataError.at(
            utterance.path, None, "expected finite features, got some that are infinite or NaN"
        )
    return features


def extract_samples(config: FeatureConfig, samples: Tensor, *, sample_rate: float | None = None) -> Tensor:
    """Return the features of samples in memory.

    Args:
        config: The feature configuration.
        samples: As for `OnlineFeatures.accept`.
        sample_rate: The rate of the samples, if it differs from the configuration's; they are then resampled.

    Returns:
        (T, F) float32; T is 0 if the utterance is shorter than 25 ms.

    Raises:
        ValueError: As for `OnlineFeatures`.
        FloatingPointError: As for `OnlineFeatures.accept`.
        DataError: A package is missing.
    """
    computer = FrameComputer(config, sample_rate=sample_rate)
    features = torch.cat([computer.accept(samples), computer.finish()])
    return normalised(features) if config.per_utterance and len(features) else features


def read_samples(config: FeatureConfig, utterance: Utterance, *, speed: float = 1.0) -> Tensor:
    """Return the input of the feature computation: samples, or the frames of a file without deltas.

    Args:
        config: The feature configuration.
        utterance: The utterance.
        speed: As for `extract`.

    Returns:
        (S,) float32 at `config.sample_rate`; (T, num_bins) for features that come in files.

    Raises:
        DataError: The file is missing, damaged or empty, or its content is not what the configuration
            specifies or is refused by it.
        ValueError: The speed is not positive, or not 1 for features that come in files.
    """
    if not 0 < speed < float("inf"):
        raise ValueError(f"extract: speed must be positive, got {speed}")
    path, position = utterance.path, utterance.position
    if config.kind != "file":
        if has_features(utterance):
            raise DataError.at(path, None, "expected audio, got a feature file; choose the kind 'file'")
        return read_audio(path, config, start=utterance.start, end=utterance.end, speed=speed)
    if speed != 1:
        raise ValueError(f"extract: speed must be 1 for feature files, got {speed}")
    if not has_features(utterance):
        raise DataError.at(
            path, None, "expected features (.mfc or a Kaldi archive), got audio; choose 'fbank' or 'mfcc'"
        )
    size = config.num_bins
    frames = read_mfc(path, size=size) if position is None else read_kaldi_matrix(path, position)
    if frames.shape[1] != size:
        raise DataError.at(
            path,
            None,
            f"expected {size} features per frame, got {frames.shape[1]}; set num_bins to that number",
        )
    return frames


def has_features(utterance: Utterance) -> bool:
    """Whether the file of an utterance holds features rather than audio.

    Args:
        utterance: The utterance.
    """
    return utterance.position is not None or Path(utterance.path).suffix.lower() == MFC_ENDING
