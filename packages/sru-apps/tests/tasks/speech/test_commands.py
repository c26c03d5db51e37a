"""`sru speech`: training, evaluation, transcripts of files and streams, and errors."""

from __future__ import annotations

import io
import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import sru_apps
from sru_apps.cli import main
from sru_apps.tasks.speech.commands import microphone, raw_samples
from sru_apps.tasks.speech.data import SpeechData
from sru_apps.tasks.speech.model import ctc_losses
from sru_apps.train.errors import UserError
from sru_apps.train.weights import read_checkpoint
from sru_data.features import OnlineFeatures

pytest.importorskip("jiwer", reason="error rates are computed by jiwer")


def run(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    capsys.readouterr()
    assert main(["speech", *map(str, args)]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    capsys.readouterr()
    try:
        status = main(["speech", *map(str, args)])
    except SystemExit as error:
        status = error.code
    assert status in (1, 2)
    (line, *_) = capsys.readouterr().err.splitlines()
    return line


def test_fit_tests_and_exports_the_best_epoch(trained: Path) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    assert {"loss", "wer", "cer"} <= summary["test"].keys()
    assert summary["test_wer"] == summary["test"]["wer"]
    config = json.loads((trained / "model/config.json").read_text())
    assert config["features"]["kind"] == "file"
    assert config["unit"] == "characters"
    rows = (trained / "figures/utterances.tsv").read_text().splitlines()
    assert rows[0].split("\t") == ["id", "speaker", "errors", "length", "reference", "hypothesis"]
    assert [row.split("\t")[0] for row in rows[1:]] == ["test0", "test1", "test2", "test3"]
    assert [row.split("\t")[4] for row in rows[1:]] == ["A", "B A", "AB", "BA A"]
    errors = sum(int(row.split("\t")[2]) for row in rows[1:])
    assert summary["test_wer"] == pytest.approx(errors / 6)
    alignments = (trained / "figures/alignments.txt").read_text()
    assert alignments.count("REF:") == 4
    assert "test1: " in alignments


def test_the_loss_is_averaged_over_the_symbols_of_utterances_that_are_long_enough(trained: Path) -> None:
    settings = read_checkpoint(trained / "checkpoints/best.ckpt")["datamodule_hyper_parameters"]
    data, model = SpeechData(**settings), sru_apps.load(trained)
    data.setup("fit")
    nats, symbols, short = 0.0, 0, 0
    for example in data.parts["validation"]:
        count = torch.tensor([len(example.targets)])
        with torch.no_grad():
            logits, mask = model.network(example.features.unsqueeze(1))
            losses, fits = ctc_losses(logits, mask, example.targets.unsqueeze(0), count)
        nats += float(losses.sum())
        symbols += int(count[fits].sum())
        short += int((~fits).sum())
    assert short == 1
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["validation"]["loss"] == pytest.approx(nats / symbols, rel=1e-5)


def test_evaluation_with_other_decoding_options(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    greedy = json.loads(run(capsys, "test", trained, "--json"))
    assert greedy["wer"] == json.loads((trained / "summary.json").read_text())["test_wer"]
    words = tmp_path / "words.lm"
    words.write_text("\\data\\\nngram 1=2\n\\1-grams:\n-0.3 </s>\n-0.3 A\n\\end\\\n")
    decoding = ["--lm", words, "--beam", 8, "--lm-weight", 9]
    assert "options" not in greedy
    found = json.loads(run(capsys, "test", trained, *decoding, "--out", tmp_path / "out", "--json"))
    assert found["options"] == {"beam": 8, "lm": str(words), "lm_weight": 9.0}
    rows = (tmp_path / "out/utterances.tsv").read_text().splitlines()[1:]
    # Other words have probability zero.
    assert {word for row in rows for word in row.split("\t")[5].split()} <= {"A"}
    line = refused(capsys, "test", trained, "--lm", words)
    assert "a language model needs several hypotheses to choose from; give --beam 16 too" in line


def test_transcripts_of_files(
    trained: Path, mfc: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files = [mfc("B A"), mfc("AB")]
    rows = run(capsys, "transcribe", "--model", trained, *files).splitlines()
    assert [row.split("\t")[0] for row in rows] == [str(file) for file in files]
    texts = [row.split("\t")[1] for row in rows]
    found = run(capsys, "transcribe", "--model", trained, *files, "--json").splitlines()
    assert [json.loads(row) for row in found] == [
        {"file": str(file), "text": text} for file, text in zip(files, texts, strict=True)
    ]
    for piece in ("0.01", "0.03", "10"):
        args = ["--stream", "--piece", piece, "--stats"]
        capsys.readouterr()
        assert main(["speech", "transcribe", "--model", str(trained), *map(str, files), *args]) == 0
        shown = capsys.readouterr()
        assert shown.out.splitlines() == rows
        assert shown.err.count("real-time factor") == 2
        assert f"pieces of {1000 * float(piece):.0f} ms: text after" in shown.err


def test_a_stream_with_too_large_samples_is_refused(
    trained: Path, mfc: Callable[[str], Path], capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    def accept(*_: object) -> Tensor:
        raise FloatingPointError("samples are too large")

    monkeypatch.setattr(OnlineFeatures, "accept", accept)
    message = refused(capsys, "transcribe", "--model", trained, mfc("B A"), "--stream")
    assert "the audio cannot be used: samples are too large" in message


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "no audio: give files, --raw for standard input, or --microphone"),
        (["x.wav", "--raw"], "give files, --raw for standard input, or --microphone; only one of them"),
        (["--raw", "--json"], "--json is for files; leave it out"),
        (["x.wav", "--json", "--stream"], "--json prints whole files and --stream pieces; leave one of them"),
        (["x.wav", "--sample-rate", "8000"], "--sample-rate is for --raw and --microphone; a file names its"),
        (["--raw"], "the model needs feature files, not audio; train one with --data.features fbank"),
        (["x.mfc"], "x.mfc: expected a file of features, got: No such file"),
        (["x.wav"], "x.wav: expected features (.mfc or a Kaldi archive), got audio"),
        (["x.mfc", "--lm", "x.lm", "--beam", "4"], "x.lm: expected a text file, got no such file"),
        (["x.mfc", "--beam", "4", "--lm-weight", "-1"], "lm_weight must be at least 0, got -1.0"),
    ],
)
def test_invalid_transcribe_options(
    trained: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    assert message in refused(capsys, "transcribe", "--model", trained, *args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data.name=null"], "no utterances chosen; give --recipe, --data.name, or your own files"),
        (["--train-file=x.csv"], "both --data.name and --data.train_file are given; leave one of them"),
        (
            ["--test-file=x.csv"],
            "validation_file and test_file need a train_file; give --data.train_file too",
        ),
        (["--held-out=theo"], "--data.held_out is for fsdd, whose test is one speaker; leave it out"),
        (
            ["--validation-speaker=theo"],
            "--data.validation_speaker is for fsdd; leave it out, or give --data",
        ),
        (["--train-sets", "a", "b"], "--data.train_sets is for librispeech, which has several; leave it out"),
        (["--task=classify"], "expected a label for every utterance, got none for"),
        (["--max-frames=1"], "an4: expected utterances to train on, got none: all are"),
        (["--subsampling=4", "--on-short=refuse"], "too short for their transcripts when subsampled by 4"),
        (["--vtlp=0.1"], "--data.vtlp warps mel bins; leave it out, or give --data.features fbank"),
        (["--num-cepstra=20"], "--data.num_cepstra is for mfcc; leave it out, or give --data.features mfcc"),
        (["--vtlp=0.6"], "vtlp must be 0 to 0.5, got 0.6"),
        (["--lm=x.lm"], "x.lm: expected a text file, got no such file"),
        (["--unit=subwords"], "vocab_size is required for subwords and only for them"),
    ],
)
def test_invalid_data_options(
    options: list[str], capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    assert message in refused(capsys, "fit", *options, *args)


def test_prepare_describes_the_utterances(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    own = [option for option in options if option.startswith(("--data", "--subsampling"))]
    shown = run(capsys, "prepare", *own, "--subsampling=4")
    assert "an4: utterances: train 16 (0.00 h), validation 9 (0.00 h), test 4 (0.00 h)" in shown
    assert "3 characters" in shown
    left_out = "2 training utterances left out, too short for their transcripts when subsampled by 4: train"
    assert left_out in shown


def test_raw_samples_are_whole_for_any_piece_size() -> None:
    numbers = torch.arange(-300, 300, dtype=torch.int16)
    content = numbers.numpy().tobytes()

    class Slow(io.BytesIO):
        def read1(self, size: int = -1) -> bytes:
            return self.read(min(size, 7))

    found = torch.cat(list(raw_samples(Slow(content), 100)))
    torch.testing.assert_close(found, numbers / 32768, rtol=0, atol=0)
    with pytest.raises(
        UserError, match="standard input ends in the middle of a sample; --raw expects 16 bits"
    ):
        list(raw_samples(io.BytesIO(content[:-1]), 100))


def test_the_microphone_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: dict[str, Any] = {}

    class InputStream:
        def __init__(self, **options: Any) -> None:
            opened.update(options)

        def __enter__(self) -> InputStream:
            return self

        def __exit__(self, *_: object) -> None:
            opened["closed"] = True

        def read(self, size: int) -> tuple[Any, bool]:
            return torch.full((size, 1), 0.5).numpy(), False

    module = types.SimpleNamespace(InputStream=InputStream, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    pieces: Iterator[torch.Tensor] = microphone(8000, 800)
    assert next(pieces).tolist() == [0.5] * 800
    pieces.close()
    assert opened == {"samplerate": 8000, "channels": 1, "dtype": "float32", "closed": True}


def test_missing_sounddevice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(UserError, match=r"sounddevice, which cannot be imported; run `pip install"):
        next(microphone(8000, 800))


def test_missing_jiwer(monkeypatch: pytest.MonkeyPatch) -> None:
    from sru_apps.tasks.speech.metrics import count_errors

    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(
        UserError, match=r"jiwer, which is not installed; run `pip install 'sru-apps\[speech\]'`"
    ):
        count_errors("wer", ["a"], ["b"])
