"""Trained recognisers in Python: whole utterances and streaming."""

from __future__ import annotations

import io
import math
import sys
import wave
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import sru_apps
from sru_apps.cli import main
from sru_apps.tasks.speech.metrics import ErrorRates, alignment, count_errors
from sru_apps.tasks.speech.model import SpeechConfig, SpeechModel
from sru_apps.tasks.speech.predict import Transcriber
from sru_apps.train.errors import UserError
from sru_apps.train.export import export_model
from sru_data import DataError
from sru_data.datasets.speech import Utterance
from sru_data.features import FeatureConfig, extract, extract_samples
from sru_data.tokenizers import CharTokenizer, WordTokenizer

RATE = 8000
ALPHABET = CharTokenizer.train(["ab ba"])
FBANK = {"kind": "fbank", "num_bins": 20, "sample_rate": RATE, "deltas": 1}


def untrained(features: dict[str, Any] | None = None, **options: Any) -> Transcriber:
    torch.manual_seed(1)
    features = features or FBANK
    tokenizer = WordTokenizer.from_words(["one", "two"]) if options.get("classify") else ALPHABET
    config = SpeechConfig(
        input_size=FeatureConfig(**features).size,
        vocab_size=len(tokenizer),
        subsampling=2,
        hidden_size=8,
        num_layers=1,
        **{"bidirectional": False, **options},
    )
    network = SpeechModel(config)
    with torch.no_grad():
        # So that the transcripts are not empty.
        network.output.weight *= 8
        network.normalize_by(torch.full((config.input_size,), 5.0), torch.full((config.input_size,), 4.0))
    unit = "labels" if config.classify else "characters"
    return Transcriber(network, tokenizer, {"features": features, "unit": unit})


def tones(seconds: float) -> Tensor:
    time = torch.arange(int(seconds * RATE)) / RATE
    return 0.3 * torch.sin(2 * math.pi * 300 * time * (1 + time)) + 0.01 * torch.sin(time * 9000)


def write_wav(path: Path, samples: Tensor) -> Path:
    """Write an audio file of 16 bits."""
    with wave.open(str(path), "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(RATE)
        audio.writeframes((samples * 32768).to(torch.int16).numpy().tobytes())
    return path


@pytest.mark.parametrize("beam", [1, 4])
def test_streaming_in_pieces_of_any_size_equals_the_whole(
    beam: int,
) -> None:
    pytest.importorskip("kaldi_native_fbank", reason="features of audio are computed by kaldi-native-fbank")
    model, samples = untrained().decode_with(beam=beam), tones(1.3)
    whole = model.transcribe(samples)
    assert len(set(whole.text)) > 1
    offline = model.log_probs(extract_samples(model.features, samples))
    for cuts in ([], [1, 2, 3, 200, 201, 5000], list(range(0, len(samples), 777))):
        stream = model.stream()
        pieces = [stream.accept(samples[first:last]) for first, last in pairwise([0, *cuts, len(samples)])]
        pieces.append(stream.finish())
        assert "".join(piece.text for piece in pieces) == whole.text
        log_probs = torch.cat([piece.log_probs for piece in pieces])
        torch.testing.assert_close(log_probs, offline, atol=1e-5, rtol=0)


def test_text_appears_before_the_utterance_ends() -> None:
    pytest.importorskip("kaldi_native_fbank", reason="features of audio are computed by kaldi-native-fbank")
    model, samples = untrained(), tones(1.3)
    stream = model.stream()
    early = [stream.accept(piece).text for piece in samples.split(RATE // 10)]
    assert "".join(early[:8])
    assert ("".join(early) + stream.finish().text) == model.transcribe(samples).text


def test_standard_input_and_a_file_give_the_same_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("soundfile", reason="audio files are read by soundfile")
    pytest.importorskip("kaldi_native_fbank", reason="features of audio are computed by kaldi-native-fbank")
    model, file = untrained(), tmp_path / "tones.wav"
    content = (tones(1.3) * 32768).to(torch.int16).numpy().tobytes()
    write_wav(file, tones(1.3))
    config = {"task": "speech", "model": asdict(model.config), "features": FBANK, "unit": "characters"}
    export_model(tmp_path / "model", model.network, config, model.tokenizer)
    command = ["speech", "transcribe", "--model", str(tmp_path / "model")]
    assert main([*command, str(file), "--stats"]) == 0
    shown = capsys.readouterr()
    name, text = shown.out.rstrip("\n").split("\t")
    assert (name, text) == (str(file), model.transcribe(file).text)
    assert "real-time factor" in shown.err
    for args in ([str(file), "--stream"], ["--raw"], ["--raw", "--piece=0.003"]):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        assert main([*command, *args]) == 0
        assert capsys.readouterr().out == f"{text}\n"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO()))
    assert main([*command, "--raw"]) == 1
    assert "no audio: the input is empty" in capsys.readouterr().err


def test_too_short_audio_is_refused() -> None:
    pytest.importorskip("kaldi_native_fbank", reason="features of audio are computed by kaldi-native-fbank")
    with pytest.raises(DataError, match="expected at least 25 ms of audio, got 80 samples"):
        untrained().transcribe(tones(0.01))
    stream = untrained().stream()
    assert stream.accept(tones(0.01)).text + stream.finish().text == ""


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (
            {**FBANK, "per_utterance": True},
            {},
            "a model that normalises each utterance by itself needs the whole utterance and cannot stream; "
            "train one with --data.normalization global",
        ),
        (FBANK, {"bidirectional": True}, "a bidirectional model needs the whole utterance"),
        (FBANK, {"classify": True}, "a classifier needs whole clips and cannot stream"),
    ],
)
def test_models_that_cannot_stream(features: dict[str, Any], options: dict[str, Any], message: str) -> None:
    pytest.importorskip("kaldi_native_fbank", reason="features of audio are computed by kaldi-native-fbank")
    with pytest.raises(UserError, match=message):
        untrained(features, **options).stream()


def test_a_speaker_is_normalised_by_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("soundfile", reason="audio files are read by soundfile")
    pytest.importorskip("kaldi_native_fbank", reason="features of audio are computed by kaldi-native-fbank")
    features = {**FBANK, "per_speaker": True}
    model, samples = untrained(features), tones(1.3)
    files = [write_wav(tmp_path / f"{n}.wav", part) for n, part in enumerate(samples.split(RATE // 2))]
    for use in (lambda: model.transcribe(samples), model.stream):
        with pytest.raises(UserError, match=r"name some with --speaker, or call adapt_to"):
            use()
    with pytest.raises(UserError, match="expected recordings of the speaker, got none"):
        model.adapt_to([])
    with pytest.raises(UserError, match=r"train one with --data\.normalization speaker, or leave"):
        untrained().adapt_to(files)
    own = torch.cat([extract(model.features, Utterance("", str(file))) for file in files]).double()
    deviation, mean = torch.std_mean(own, 0, correction=0)
    frames = ((extract_samples(model.features, samples) - mean) / deviation).float()
    offline = model.log_probs(frames)
    whole = model.adapt_to(files).transcribe(samples)
    assert (whole.text,) == tuple(model.decoding.texts(offline.unsqueeze(1), None))
    stream = model.stream()
    pieces = [*map(stream.accept, samples.split(RATE // 10)), stream.finish()]
    torch.testing.assert_close(torch.cat([piece.log_probs for piece in pieces]), offline, atol=1e-5, rtol=0)
    config = {"task": "speech", "model": asdict(model.config), "features": features, "unit": "characters"}
    export_model(tmp_path / "model", model.network, config, model.tokenizer)
    command = ["speech", "transcribe", "--model", str(tmp_path / "model")]
    one = str(files[0])
    assert main([*command, *map(str, files)]) == 0
    lines = [f"{file}\t{model.transcribe(file).text}" for file in files]
    assert capsys.readouterr().out.splitlines() == lines
    assert main([*command, one, "--stream", *(f"--speaker={file}" for file in files)]) == 0
    assert f"{one}\t{capsys.readouterr().out.rstrip()}" == lines[0]


def test_a_clip_gets_the_most_probable_label() -> None:
    model = untrained({"kind": "file", "num_bins": 4}, classify=True)
    frames = torch.randn(30, 4)
    found = model.transcribe(frames)
    scores = model.log_probs(frames).exp()
    assert found.text == ["one", "two"][int(scores.argmax())]
    assert found.probability == pytest.approx(float(scores.max()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 0}, "beam must be at least 1, got 0"),
        ({"lm_weight": -1.0}, "lm_weight must be at least 0, got -1.0"),
        ({"lm_unknown": 1.0}, "lm_unknown must be at most 0, got 1.0"),
        ({"language_model": "nowhere.lm", "beam": 2}, "nowhere.lm"),
    ],
)
def test_invalid_decoding_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises((UserError, DataError), match=message):
        untrained({"kind": "file", "num_bins": 4}).decode_with(**options)


def test_a_model_is_loaded_from_a_run_its_export_or_its_checkpoint(trained: Path) -> None:
    frames = torch.randn(40, 13)
    found = [
        sru_apps.load(path).log_probs(frames)
        for path in (trained, trained / "model", trained / "checkpoints/best.ckpt")
    ]
    for other in found[1:]:
        torch.testing.assert_close(found[0], other, atol=0, rtol=0)
    model = sru_apps.load(trained)
    assert isinstance(model, Transcriber)
    assert model.network.scale.std() > 0


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            {"features": {**FBANK, "num_bins": 10}, "unit": "characters"},
            "features must have 40 values, got 20",
        ),
        ({"features": FBANK, "unit": "labels"}, "unit must be one of characters, words, phones, subwords"),
    ],
)
def test_entries_that_do_not_match_the_network_are_refused(entries: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Transcriber.check(untrained().config, entries)


def test_error_counts() -> None:
    pytest.importorskip("jiwer", reason="error rates are computed by jiwer")
    # One word substituted, one deleted, one inserted.
    found = count_errors("wer", ["a b c d", "e"], ["a x d", "e f"])
    assert found == (1, 1, 1, 5)
    assert found.rate == pytest.approx(3 / 5)
    # Two letters substituted; the space counts towards the length.
    assert count_errors("cer", ["ab cd"], ["xb dd"]) == (2, 0, 0, 5)
    assert count_errors("per", ["sil ah  b"], ["ah b"]) == (0, 1, 0, 3)
    assert count_errors("wer", ["", "a"], ["b", ""]) == (0, 1, 1, 1)
    rates = ErrorRates(("wer", "cer"))
    for reference, hypothesis in (("a b c d", "a x d"), ("e", "e f")):
        rates.update([reference], [hypothesis])
    assert rates.compute()["wer"] == pytest.approx(3 / 5)
    shown = alignment("a b c", "a x")
    assert [line.split() for line in shown.splitlines()] == [
        ["REF:", "a", "b", "c"],
        ["HYP:", "a", "x", "*"],
        ["S", "D"],
    ]
