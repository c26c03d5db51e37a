"""Audio files as samples of one channel at one rate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from sru_data.errors import DataError, shortened
from sru_data.features.config import SHIFT_SECONDS, FeatureConfig
from sru_data.features.packages import audio_package
from sru_data.reading import why_not_a_file

LONGEST_SECONDS = 3600
"""The maximum length of an utterance. Longer audio can be streamed."""
FULL_SCALE = 0.99
"""The magnitude from which a sample counts as clipped: the largest 8-bit sample is 127/128."""
MOST_CLIPPED = 0.001
_MOST_CHANNELS = 64
_BLOCK_FRAMES = 1 << 16


def read_audio(
    path: str, config: FeatureConfig, *, start: float = 0.0, end: float | None = None, speed: float = 1.0
) -> Tensor:
    """Read an audio file, or a piece of one, in any format that libsndfile supports.

    Args:
        path: The file.
        config: The rate to resample to, and what to do with several channels, another rate and clipping.
        start: Where to begin, in seconds.
        end: Where to end; None for the end of the file.
        speed: How much to speed it up, which raises the pitch too.

    Returns:
        (S,) float32 at `config.sample_rate`, full scale at ±1.

    Raises:
        DataError: The file is missing, not audio, empty, damaged, longer than an hour, ends more than 10 ms
            before `end`, or is refused by the configuration.
    """
    with _opened(path) as file:
        rate = file.samplerate
        _check_form(path, file, config)
        first = round(start * rate)
        limit = LONGEST_SECONDS * rate
        count = limit + 1 if end is None else round(end * rate) - first
        if first and file.frames <= first:
            raise DataError.at(
                path,
                None,
                f"expected audio from second {start:g} on, got a file of {file.frames / rate:g} seconds",
            )
        blocks = list(_blocks(path, file, first, count))
    samples = torch.cat(blocks) if blocks else torch.empty(0)
    if not len(samples):
        raise DataError.at(path, None, "expected audio, got a file without samples; remove it")
    if len(samples) > limit:
        raise DataError.at(
            path,
            None,
            f"expected an utterance of at most {LONGEST_SECONDS:,} seconds, got a longer one; split it",
        )
    # Lists of segments round the times, or give the length of a file as its end.
    if end is not None and len(samples) < count - round(SHIFT_SECONDS * rate):
        ends = (first + len(samples)) / rate
        raise DataError.at(
            path, None, f"expected audio up to second {end:g}, got a file that ends at second {ends:g}"
        )
    if config.on_clipping == "refuse":
        _check_clipping(path, samples)
    return resampled(samples, rate * speed, config.sample_rate)


def stream_audio(path: str, *, block_seconds: float = 1.0) -> tuple[int, Iterator[Tensor]]:
    """Open an audio file of any length to read it block by block.

    Args:
        path: The file.
        block_seconds: The length of a block.

    Returns:
        The rate of the file, and its samples in blocks of (S,) float32; several channels are averaged.

    Raises:
        DataError: The file is missing or not audio (raised at once), or damaged (raised when that block is
            read).
    """
    with _opened(path) as file:
        rate = int(file.samplerate)
    size = max(round(block_seconds * rate), 1)

    def blocks() -> Iterator[Tensor]:
        with _opened(path) as file:
            yield from _blocks(path, file, 0, None, size)

    return rate, blocks()


def resampled(samples: Tensor, rate: float, wanted: float) -> Tensor:
    """Resample samples from one rate to another.

    Args:
        samples: (S,) float32.
        rate: Their rate.
        wanted: The rate to resample to.

    Returns:
        (S · wanted / rate,) float32; the same tensor if the rates are equal.
    """
    if rate == wanted:
        return samples
    resampler = Resampler(rate, wanted)
    return torch.cat([resampler.accept(samples), resampler.finish()])


class Resampler:
    """Resamples a stream of samples.

    Args:
        rate: The rate of the samples.
        wanted: The rate to resample to.
    """

    def __init__(self, rate: float, wanted: float) -> None:
        soxr = audio_package("soxr")
        self._stream = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")

    def accept(self, samples: Tensor) -> Tensor:
        """Take samples and return the resampled ones that are ready.

        Args:
            samples: (S,) float32.
        """
        return self._process(samples, last=False)

    def finish(self) -> Tensor:
        """Return the remaining samples."""
        return self._process(torch.empty(0), last=True)

    def _process(self, samples: Tensor, *, last: bool) -> Tensor:
        return torch.from_numpy(self._stream.resample_chunk(samples.numpy(), last=last))


def _opened(path: str) -> Any:
    soundfile = audio_package("soundfile")
    if reason := why_not_a_file(path):
        raise DataError.at(path, None, f"expected an audio file, got: {reason}")
    try:
        return soundfile.SoundFile(path)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise DataError.at(
            path,
            None,
            f"expected audio in a format that libsndfile supports, got something else ({_reason(error)}); "
            "convert it to WAV or FLAC",
        ) from error


def _check_form(path: str, file: Any, config: FeatureConfig) -> None:
    if file.channels > 1 and config.on_stereo == "refuse":
        raise DataError.at(
            path, None, f"expected one channel, got {file.channels}; mix them or set on_stereo='mix'"
        )
    if file.samplerate != config.sample_rate and config.on_rate == "refuse":
        raise DataError.at(
            path,
            None,
            f"expected {config.sample_rate:,} samples per second, got {file.samplerate:,}; resample it or "
            "set on_rate='resample'",
        )


def _check_clipping(path: str, samples: Tensor) -> None:
    clipped = (samples.abs() >= FULL_SCALE).double().mean().item()
    if clipped > MOST_CLIPPED:
        raise DataError.at(
            path,
            None,
            f"expected at most {MOST_CLIPPED:.1%} of the samples at full scale, got {clipped:.1%}; record it "
            "again with less gain or set on_clipping='accept'",
        )


def _blocks(
    path: str, file: Any, start: int, count: int | None, size: int = _BLOCK_FRAMES
) -> Iterator[Tensor]:
    """Yield samples block by block, because a damaged header may claim more than fits in memory."""
    soundfile = audio_package("soundfile")
    if file.channels > _MOST_CHANNELS:
        raise DataError.at(path, None, f"expected at most {_MOST_CHANNELS} channels, got {file.channels:,}")
    try:
        if start:
            file.seek(start)
        while count is None or count > 0:
            wanted = size if count is None else min(size, count)
            block = torch.from_numpy(file.read(wanted, dtype="float32", always_2d=True)).mean(1)
            if not block.isfinite().all():
                raise DataError.at(path, None, "expected audio, got samples that are infinite or NaN")
            if not len(block):
                return
            yield block
            count = None if count is None else count - len(block)
    except (soundfile.SoundFileError, OSError) as error:
        raise DataError.at(
            path, None, f"expected complete audio, got: {_reason(error)}; it is damaged or truncated"
        ) from error


def _reason(error: Exception) -> str:
    said = getattr(error, "error_string", None) or str(error)
    return shortened(" ".join(said.split()), 150)
