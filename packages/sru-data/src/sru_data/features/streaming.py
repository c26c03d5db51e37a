"""Features of a stream, frame by frame as samples arrive; whole files are processed in the same way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sru_data.features.audio import Resampler
from sru_data.features.config import FRAME_SECONDS, LOWEST_FREQUENCY, SHIFT_SECONDS, FeatureConfig
from sru_data.features.deltas import Deltas
from sru_data.features.packages import audio_package

_SCALE = 32768.0


class OnlineFeatures:
    """Computes features from samples that arrive in pieces of any size.

    The frames equal those of `extract` bit for bit, however the samples are split. A frame is returned as
    soon as its 25 ms have arrived; each order of deltas adds 20 ms. For features that come in files, the
    input is frames, which are returned with their deltas.

    Args:
        config: The feature configuration, without normalisation per utterance.
        sample_rate: The rate of the samples, if it differs from the configuration's; they are then resampled.

    Raises:
        ValueError: The features are normalised per utterance, or a rate is given although the input is
            frames.
        DataError: A package is missing.
    """

    def __init__(self, config: FeatureConfig, *, sample_rate: float | None = None) -> None:
        if config.per_utterance:
            raise ValueError(
                "OnlineFeatures: features normalised per utterance cannot be streamed, since the mean of "
                "an utterance is only known at its end; use a model that was trained with "
                "per_utterance=False"
            )
        self._computer = FrameComputer(config, sample_rate=sample_rate)

    def accept(self, samples: Tensor) -> Tensor:
        """Take samples and return the frames that are complete.

        Args:
            samples: (S,) float32, full scale at ±1; for features that come in files, (t, num_bins) frames.

        Returns:
            (t', F) float32; t' may be 0.

        Raises:
            ValueError: The samples have another shape.
            FloatingPointError: They are so large that their energy is not a number.
        """
        return self._computer.accept(samples)

    def finish(self) -> Tensor:
        """Return the last frames. Nothing can be accepted after this.

        Returns:
            (t', F) float32; t' may be 0.
        """
        return self._computer.finish()


class FrameComputer:
    """Computes the frames of `OnlineFeatures`, also for whole utterances.

    Args:
        config: The feature configuration.
        sample_rate: The rate of the samples; None for the configuration's.

    Raises:
        ValueError: A rate is given although the input is frames.
        DataError: A package is missing.
    """

    def __init__(self, config: FeatureConfig, *, sample_rate: float | None = None) -> None:
        if config.kind == "file" and sample_rate is not None:
            raise ValueError("OnlineFeatures: sample_rate is for audio, not for feature files")
        self._config = config
        self._resampler = None
        if sample_rate not in (None, config.sample_rate):
            self._resampler = Resampler(float(sample_rate or 0), config.sample_rate)
        self._filters = None if config.kind == "file" else _filters(config)
        self._deltas = Deltas(config.deltas, config.size // (1 + config.deltas))
        self._done = 0

    def accept(self, samples: Tensor) -> Tensor:
        """Take samples or frames and return the frames that are complete."""
        self._check(samples)
        if self._filters is None:
            return self._deltas.accept(samples)
        if self._resampler is not None:
            samples = self._resampler.accept(samples)
        return self._deltas.accept(self._filtered(samples))

    def finish(self) -> Tensor:
        """Return the last frames."""
        frames = torch.empty(0, self._config.size)
        if self._filters is not None and self._resampler is not None:
            frames = self._deltas.accept(self._filtered(self._resampler.finish()))
        return torch.cat([frames, self._deltas.finish()])

    def _check(self, samples: Tensor) -> None:
        if self._filters is None:
            if samples.dim() != 2 or samples.shape[1] != self._config.num_bins:
                raise ValueError(
                    f"OnlineFeatures: frames must have shape (t, {self._config.num_bins}), got "
                    f"{tuple(samples.shape)}"
                )
        elif samples.dim() != 1:
            raise ValueError(f"OnlineFeatures: samples must have shape (S,), got {tuple(samples.shape)}")

    def _filtered(self, samples: Tensor) -> Tensor:
        """Return the frames that these samples complete."""
        filters: Any = self._filters
        if len(samples):
            try:
                filters.accept_waveform(self._config.sample_rate, (samples.float() * _SCALE).numpy())
            except RuntimeError as error:
                raise FloatingPointError(f"OnlineFeatures: samples are too large: {error}") from error
        ready = filters.num_frames_ready
        frames = torch.empty(ready - self._done, filters.dim)
        for row, number in enumerate(range(self._done, ready)):
            frames[row] = torch.from_numpy(filters.get_frame(number))
        # Drop the frames just read, which would otherwise be kept; the numbering does not change.
        filters.pop(ready - self._done)
        self._done = ready
        return frames


def _filters(config: FeatureConfig) -> Any:
    knf = audio_package("kaldi_native_fbank")
    options = knf.MfccOptions() if config.kind == "mfcc" else knf.FbankOptions()
    options.frame_opts.samp_freq = config.sample_rate
    options.frame_opts.frame_length_ms = 1000 * FRAME_SECONDS
    options.frame_opts.frame_shift_ms = 1000 * SHIFT_SECONDS
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = config.num_bins
    options.mel_opts.low_freq = LOWEST_FREQUENCY
    if config.kind == "mfcc":
        options.num_ceps = config.num_cepstra
        options.use_energy = False
        return knf.OnlineMfcc(options)
    return knf.OnlineFbank(options)
