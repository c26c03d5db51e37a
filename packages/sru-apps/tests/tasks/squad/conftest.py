from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sru_apps.cli import main

NAMES = ["Ada", "Bo", "Cleo", "Dora", "Emil", "Fay", "Gus", "Hal"]
CITIES = ["Oslo", "Rome", "Lima", "Bern", "Cairo"]
ANIMALS = ["cat", "dog", "old grey horse"]


def squad_file(path: Path, *, names: list[str], unanswerable: bool = False) -> Path:
    """Write three questions per passage; `unanswerable` adds one without an answer, as in SQuAD 2.0."""
    paragraphs = []
    for number, name in enumerate(names):
        city, animal = CITIES[number % len(CITIES)], ANIMALS[number % len(ANIMALS)]
        more = " It rains there." * (number % 4)
        context = f"{name} lives in {city}.{more} The pet of {name} is the {animal}."
        asked = [
            (f"Where does {name} live?", city),
            (f"Who lives in {city}?", name),
            (f"What is the pet of {name}?", animal),
        ]
        questions: list[dict[str, Any]] = [
            {"question": question, "answers": [{"text": text, "answer_start": context.index(text)}]}
            for question, text in asked
        ]
        if unanswerable:
            questions = [{**question, "is_impossible": False} for question in questions]
            questions.append({"question": f"How old is {name}?", "answers": [], "is_impossible": True})
        for place, question in enumerate(questions):
            question["id"] = f"{path.stem}-{number}-{place}"
        paragraphs.append({"context": context, "qas": questions})
    articles = [{"title": "Pets", "paragraphs": paragraphs}]
    path.write_text(json.dumps({"version": "1.1", "data": articles}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only folder with `train.json` (24 questions), `dev.json` (9) and their SQuAD 2.0 variants."""
    folder = tmp_path_factory.mktemp("questions")
    for name, unanswerable in (("", False), ("2", True)):
        squad_file(folder / f"train{name}.json", names=NAMES, unanswerable=unanswerable)
        squad_file(folder / f"dev{name}.json", names=NAMES[5:], unanswerable=unanswerable)
    return folder


@pytest.fixture
def options(questions: Path, tmp_path: Path) -> list[str]:
    """Return options for a fast `sru squad fit`: 2 epochs of 6 steps."""
    return [
        f"--train-file={questions / 'train.json'}",
        f"--validation-file={questions / 'dev.json'}",
        f"--data.prepared_dir={questions / 'prepared'}",
        f"--runs-dir={tmp_path / 'runs'}",
        "--data.embedding_size=8",
        "--data.batch_size=4",
        "--data.min_count=1",
        "--data.processes=1",
        "--model.hidden_size=6",
        "--model.num_layers=1",
        "--optimizer.lr=0.01",
        "--trainer.max_epochs=2",
        "--trainer.accelerator=cpu",
    ]


@pytest.fixture
def fit(options: list[str], tmp_path: Path, one_thread: None) -> Callable[..., Path]:
    """Train a tiny reader on one thread and return its run folder."""

    def run(name: str, *more: str) -> Path:
        assert main(["squad", "fit", *options, f"--name={name}", *more]) == 0
        return tmp_path / "runs" / "squad" / "train" / name

    return run
