from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from sru_apps.cli import main

ENGLISH = ["one", "two", "three", "four", "five", "six", "seven"]
GERMAN = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben"]


def sentences(count: int, first: int) -> list[list[int]]:
    """Return sentences of two to six numbers from 0 to 6."""
    return [
        [(first + sentence * (1 + word)) % len(ENGLISH) for word in range(2 + sentence % 5)]
        for sentence in range(count)
    ]


def spelled(numbers: list[list[int]], words: list[str]) -> str:
    """Return one line per sentence."""
    return "".join(" ".join(words[number] for number in sentence) + "\n" for sentence in numbers)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Evaluation prepares its data in the cache.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only folder with `train`, `dev` and `test`, each as .en and .de."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, count, first in (("train", 30, 0), ("dev", 8, 3), ("test", 6, 5)):
        numbers = sentences(count, first)
        (folder / f"{name}.en").write_text(spelled(numbers, ENGLISH), encoding="utf-8")
        (folder / f"{name}.de").write_text(spelled(numbers, GERMAN), encoding="utf-8")
    return folder


def small_options(corpus: Path, work: Path) -> list[str]:
    """Return options for a fast `sru translate fit`: 2 epochs of a few steps."""
    files = {
        f"{part}{side}_file": corpus / f"{name}.{language}"
        for part, name in (("train", "train"), ("validation", "dev"), ("test", "test"))
        for side, language in (("", "en"), ("_target", "de"))
    }
    return [
        *(f"--data.{option}={path}" for option, path in files.items()),
        f"--data.prepared_dir={work / 'prepared'}",
        f"--runs-dir={work / 'runs'}",
        "--data.unit=words",
        "--data.max_length=10",
        "--data.max_tokens=40",
        "--model.embedding_size=8",
        "--model.hidden_size=8",
        "--model.num_layers=1",
        "--model.attention=luong",
        "--model.beam=2",
        "--optimizer.lr=0.01",
        "--trainer.max_epochs=2",
        "--trainer.accelerator=cpu",
    ]


@pytest.fixture
def options(corpus: Path, tmp_path: Path) -> list[str]:
    return small_options(corpus, tmp_path)


EVERY = ("--checkpoint-steps=2", "--optimizer.schedule=cosine", "--optimizer.average=0.9")


@pytest.fixture(scope="session")
def _trained_translator(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("trained")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(["translate", "fit", *small_options(corpus, work), *EVERY, "--name=trained"]) == 0
    torch.set_num_threads(threads)
    return work / "runs/translate/train/trained"


@pytest.fixture
def trained(_trained_translator: Path, tmp_path: Path) -> Path:
    """A copy of the run folder of a tiny translator from English to German numbers."""
    return Path(shutil.copytree(_trained_translator, tmp_path / "runs/translate/train/trained"))
