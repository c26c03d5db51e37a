from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from sru_data import DataError
from sru_data.datasets.speech import Utterance
from sru_data.features import FeatureConfig, audio, extract, packages, read_samples, stream_audio

CONFIG = FeatureConfig()


def as_stored(samples: Tensor) -> Tensor:
    return (samples * 32768).to(torch.int16).float() / 32768


def test_samples_and_pieces_of_a_file(write_wav, noise: Tensor) -> None:
    utterance = write_wav(noise)
    stored = as_stored(noise)
    assert torch.equal(read_samples(CONFIG, utterance), stored)
    piece = utterance._replace(start=0.05, end=0.15)
    assert torch.equal(read_samples(CONFIG, piece), stored[800:2400])
    rate, blocks = stream_audio(utterance.path, block_seconds=0.01)
    pieces = list(blocks)
    assert (rate, {len(block) for block in pieces}) == (16_000, {160})
    assert torch.equal(torch.cat(pieces), stored)


def test_channels_are_averaged_or_refused(write_wav, noise: Tensor) -> None:
    utterance = write_wav(torch.stack([noise, torch.zeros(4000)], dim=1))
    assert torch.equal(read_samples(CONFIG, utterance), as_stored(noise) / 2)
    with pytest.raises(DataError, match=r"x\.wav: expected one channel, got 2; .*on_stereo='mix'"):
        extract(FeatureConfig(on_stereo="refuse"), utterance)


def test_another_rate_is_resampled_or_refused(write_wav) -> None:
    tone = 0.5 * torch.sin(2 * math.pi * 440 * torch.arange(8000) / 8000)
    utterance = write_wav(tone, rate=8000)
    found = read_samples(CONFIG, utterance)
    expected = 0.5 * torch.sin(2 * math.pi * 440 * torch.arange(16_000) / 16_000)
    assert len(found) == 16_000
    # The filter rings where the tone begins and ends.
    torch.testing.assert_close(found[1000:-1000], expected[1000:-1000], rtol=0, atol=1e-3)
    with pytest.raises(DataError, match=r"expected 16,000 samples per second, got 8,000; .*'resample'"):
        extract(FeatureConfig(on_rate="refuse"), utterance)


def test_a_speed_shortens_the_audio_and_raises_its_pitch(write_wav) -> None:
    tone = 0.5 * torch.sin(2 * math.pi * 440 * torch.arange(16_000) / 16_000)
    found = read_samples(CONFIG, write_wav(tone), speed=1.25)
    assert len(found) == 12_800
    assert int(torch.fft.rfft(found).abs().argmax()) == round(440 * 1.25 * 12_800 / 16_000)
    with pytest.raises(ValueError, match=r"extract: speed must be positive, got 0"):
        extract(CONFIG, write_wav(tone), speed=0)


def test_clipped_audio_is_refused_where_that_is_asked_for(write_wav, noise: Tensor) -> None:
    clipped = noise.clone()
    clipped[:8] = 1.0
    config = FeatureConfig(on_clipping="refuse")
    assert len(extract(CONFIG, write_wav(clipped))) == len(extract(config, write_wav(noise))) == 23
    message = r"expected at most 0\.1% of the samples at full scale, got 0\.2%; .*on_clipping='accept'"
    with pytest.raises(DataError, match=message):
        extract(config, write_wav(clipped))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"end": 0.3}, r"x\.wav: expected audio up to second 0\.3, got a file that ends at second 0\.25"),
        ({"start": 0.25}, r"expected audio from second 0\.25 on, got a file of 0\.25 seconds"),
        ({"end": 0.02}, r"expected at least 25 ms of audio, got 20 ms; remove it"),
        ({"position": 0}, r"expected audio, got a feature file; choose the kind 'file'"),
    ],
)
def test_pieces_that_are_not_there_are_errors(write_wav, noise: Tensor, fields, message: str) -> None:
    with pytest.raises(DataError, match=message):
        extract(CONFIG, write_wav(noise)._replace(**fields))


def test_files_that_are_not_audio_are_an_error(write_wav, noise: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    with pytest.raises(DataError, match=r"x\.wav: expected an audio file, got: No such file"):
        extract(CONFIG, Utterance("x", str(path)))
    os.mkfifo(path)
    with pytest.raises(DataError, match=r"expected an audio file, got: a named pipe"):
        extract(CONFIG, Utterance("x", str(path)))
    path.unlink()
    path.write_bytes(b"RIFF" + bytes(range(200)))
    with pytest.raises(DataError, match=r"expected audio in a format that libsndfile supports, .*convert it"):
        extract(CONFIG, Utterance("x", str(path)))
    with pytest.raises(DataError, match=r"expected audio, got a file without samples; remove it"):
        extract(CONFIG, write_wav(noise[:0]))


def test_infinite_and_nan_samples_are_an_error(tmp_path: Path, noise: Tensor) -> None:
    path = tmp_path / "x.wav"
    noise[7] = math.nan
    soundfile.write(path, noise.numpy(), 16_000, subtype="FLOAT")
    with pytest.raises(DataError, match=r"x\.wav: expected audio, got samples that are infinite or NaN$"):
        extract(CONFIG, Utterance("x", str(path)))
    for number in (1e30, 1e38):
        noise[7] = number
        soundfile.write(path, noise.numpy(), 16_000, subtype="FLOAT")
        with pytest.raises(DataError, match=r"x\.wav: expected finite features, got some that are infinite"):
            extract(CONFIG, Utterance("x", str(path)))


def test_a_damaged_file_is_an_error(tmp_path: Path, noise: Tensor) -> None:
    path = tmp_path / "x.flac"
    soundfile.write(path, noise.repeat(40).numpy(), 16_000)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.flac: expected complete audio, got: .*damaged or truncated"):
        extract(CONFIG, Utterance("x", str(path)))


def test_an_utterance_has_a_longest_length(write_wav, noise: Tensor, monkeypatch) -> None:
    monkeypatch.setattr(audio, "LONGEST_SECONDS", 3)
    with pytest.raises(
        DataError, match=r"x\.wav: expected an utterance of at most 3 seconds, got a longer one"
    ):
        extract(CONFIG, write_wav(noise, rate=1000))


def test_a_missing_package_is_named_with_its_remedy(write_wav, noise: Tensor, monkeypatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    utterance = write_wav(noise)
    monkeypatch.setattr(packages.importlib, "import_module", missing)
    message = r'expected the package soundfile for audio, .*No module .*pip install "sru-data\[speech\]"`'
    with pytest.raises(DataError, match=message):
        extract(CONFIG, utterance)
