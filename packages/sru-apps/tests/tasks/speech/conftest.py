from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sru_apps.cli import main

FEATURES = 13
TEXTS = ["A", "B A", "AB", "BA A", "B", "AA B", "ABBA", "B B"]
HASTY = "ABBAABBA"
"""Spoken too fast for a model with subsampling by 2."""


def spoken(text: str, seed: int) -> Tensor:
    """Return frames for a text: six per letter and four per pause, or two per letter for `HASTY`."""
    generator = torch.Generator().manual_seed(seed)
    sounds = torch.randn(3, FEATURES, generator=torch.Generator().manual_seed(0))
    numbers = [2, 2]
    for letter in text:
        # Any other letter sounds like a pause.
        sound = "AB".find(letter) % 3
        numbers += [sound] * 2 if text == HASTY else [2] * 4 if letter == " " else [sound] * 5 + [2]
    return sounds[numbers] + 0.1 * torch.randn(len(numbers), FEATURES, generator=generator)


def write_mfc(path: Path, frames: Tensor) -> Path:
    """Write a Sphinx feature file."""
    values = frames.flatten().tolist()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">i{len(values)}f", len(values), *values))
    return path


def write_an4(folder: Path, texts: dict[str, list[str]], *, speakers: int = 3) -> Path:
    """Write a data folder with a tiny AN4."""
    home = folder / "speech" / "an4_mfc"
    (home / "etc").mkdir(parents=True)
    for part, spelled in texts.items():
        names = [f"an4/{'xyz'[number % speakers]}/{part}{number}" for number in range(len(spelled))]
        for number, (name, text) in enumerate(zip(names, spelled, strict=True)):
            write_mfc(home / f"feat/{name}.mfc", spoken(text, number))
        lines = [f"{text} ({Path(name).name})\n" for name, text in zip(names, spelled, strict=True)]
        (home / f"etc/an4_{part}.fileids").write_text("".join(f"{name}\n" for name in names))
        (home / f"etc/an4_{part}.transcription").write_text("".join(lines))
    return folder


@pytest.fixture(scope="session")
def an4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only data folder with 27 training and 4 test utterances."""
    texts = {"train": [*TEXTS * 3, *[HASTY] * 3], "test": TEXTS[:4]}
    return write_an4(tmp_path_factory.mktemp("speech"), texts)


def small_options(data: Path, work: Path) -> list[str]:
    """Return options for a fast `sru speech fit`: 2 epochs of 4 steps."""
    return [
        "--data.name=an4",
        f"--data-dir={data}",
        f"--data.prepared_dir={work / 'prepared'}",
        f"--runs-dir={work / 'runs'}",
        "--data.features=file",
        f"--data.num_bins={FEATURES}",
        "--data.subsampling=2",
        "--data.batch_size=4",
        "--model.bidirectional=false",
        "--model.hidden_size=8",
        "--model.num_layers=1",
        "--model.time_masks=1",
        "--optimizer.lr=0.01",
        "--trainer.max_epochs=2",
        "--trainer.accelerator=cpu",
    ]


@pytest.fixture
def options(an4: Path, tmp_path: Path) -> list[str]:
    return small_options(an4, tmp_path)


@pytest.fixture(scope="session")
def _trained_speech(an4: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("trained")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    extra = ["--name=trained", "--checkpoint-steps=3", "--optimizer.schedule=cosine"]
    assert main(["speech", "fit", *small_options(an4, work), *extra]) == 0
    torch.set_num_threads(threads)
    return work / "runs/speech/an4/trained"


@pytest.fixture
def trained(_trained_speech: Path, tmp_path: Path) -> Path:
    """A copy of the run folder of a tiny recogniser."""
    return Path(shutil.copytree(_trained_speech, tmp_path / "runs/speech/an4/trained"))


@pytest.fixture
def mfc(tmp_path: Path) -> Callable[..., Path]:
    """Write an utterance as a feature file."""

    def write(text: str, *, seed: int = 0, name: str | None = None) -> Path:
        return write_mfc(tmp_path / f"{name or text}.mfc", spoken(text, seed))

    return write


@pytest.fixture(name="write_an4")
def _write_an4() -> Callable[..., Path]:
    return write_an4
