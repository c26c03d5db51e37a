"""One label per clip: spoken digits of a held-out speaker."""

from __future__ import annotations

import csv
import json
import math
import wave
from pathlib import Path

import pytest
import torch

from sru_apps.cli import main

pytest.importorskip("soundfile", reason="audio files are read by soundfile")
pytest.importorskip("kaldi_native_fbank", reason="features of audio are computed by kaldi-native-fbank")

RATE = 8000


@pytest.fixture(scope="module")
def fsdd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only data folder with two digits, each a tone, by three speakers."""
    folder = tmp_path_factory.mktemp("fsdd")
    (folder / "speech/fsdd").mkdir(parents=True)
    time = torch.arange(RATE // 5) / RATE
    for digit, hertz in (("3", 400), ("7", 1500)):
        for number, speaker in enumerate(("ada", "bo", "cleo")):
            for recording in (0, 5, 6, 7, 8):
                samples = 0.5 * torch.sin(2 * math.pi * (hertz + 20 * number + recording) * time)
                samples += 0.01 * torch.randn(len(time), generator=torch.Generator().manual_seed(recording))
                with wave.open(str(folder / f"speech/fsdd/{digit}_{speaker}_{recording}.wav"), "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(RATE)
                    file.writeframes((samples * 32000).to(torch.int16).numpy().tobytes())
    return folder


def test_digits_of_a_held_out_speaker(fsdd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--recipe=fsdd",
        "--held-out=bo",
        f"--data-dir={fsdd}",
        f"--prepared-dir={tmp_path / 'prepared'}",
        f"--runs-dir={tmp_path / 'runs'}",
        "--name=first",
        "--data.batch_size=4",
        # Normalisation per utterance would remove a steady tone.
        "--data.normalization=global",
        "--optimizer.average=null",
        "--model.hidden_size=8",
        "--model.num_layers=1",
        "--optimizer.schedule=constant",
        "--optimizer.lr=0.02",
        "--trainer.max_epochs=4",
        "--trainer.accelerator=cpu",
    ]
    assert main(["speech", "fit", *options]) == 0
    shown = capsys.readouterr().out
    assert "train 16 (0.00 h), validation 4 (0.00 h), test 10 (0.00 h); 2 labels" in shown
    run = tmp_path / "runs/speech/fsdd/first"
    summary = json.loads((run / "summary.json").read_text())
    # The tones are easy to tell apart.
    assert summary["test"]["accuracy"] == 1
    assert summary["test"]["error_rate"] == 0
    confusion = json.loads((run / "figures/confusion.json").read_text())
    assert confusion["labels"] == ["3", "7"]
    assert confusion["counts"] == [[5, 0], [0, 5]]
    assert (run / "figures/confusion.png").exists()
    rows = list(csv.DictReader((run / "figures/clips.csv").read_text().splitlines()))
    assert {row["id"] for row in rows} == {f"{d}_bo_{n}" for d in "37" for n in (0, 5, 6, 7, 8)}
    clip = fsdd / "speech/fsdd/7_bo_5.wav"
    capsys.readouterr()
    assert main(["speech", "transcribe", "--model", str(run), str(clip)]) == 0
    file, label, probability = capsys.readouterr().out.split("\t")
    assert (file, label) == (str(clip), "7")
    assert float(probability) > 0.5
    for args, message in (
        (["--stream"], "a classifier needs whole clips and cannot stream"),
        (["--beam", "4"], "--beam and a language model are for transcripts, and the model labels clips"),
    ):
        assert main(["speech", "transcribe", "--model", str(run), str(clip), *args]) in (1, 2)
        assert message in capsys.readouterr().err


def test_labels_missing_from_training_are_refused(
    fsdd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data/speech/fsdd"
    data.mkdir(parents=True)
    for clip in (fsdd / "speech/fsdd").iterdir():
        name = clip.name.replace("7_", "1_") if "_bo_" in clip.name else clip.name
        (data / name).write_bytes(clip.read_bytes())
    options = [f"--data-dir={tmp_path / 'data'}", f"--prepared-dir={tmp_path / 'prepared'}"]
    assert main(["speech", "prepare", "--recipe=fsdd", "--held-out=bo", *options]) == 1
    assert "fsdd, test: expected labels that occur in training, got '1' in 1_bo_0, " in (
        capsys.readouterr().err
    )
