"""A trained run of each task to damage, and a way to run commands in this process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from cases import Case, Refused

from sru_apps.cli import main
from sru_data.datasets.classification import SOURCES

TURNS = [{"user": f"say {letter}", "bot": letter} for letter in "abcd"]
SENTENCES = ["1 a warm and funny film", "0 tedious", "1 simply wonderful fun .", "0 a cold and dull film"]
SMALL = (
    *("--trainer.max_epochs=2", "--trainer.accelerator=cpu", "--optimizer.lr=0.01"),
    *("--data.batch_size=4", "--model.hidden_size=6"),
)
PEOPLE = [
    ("Ada", "Oslo"),
    ("Bo", "Rome"),
    ("Cleo", "Lima"),
    ("Dora", "Bern"),
    ("Emil", "Cairo"),
    ("Fay", "Bonn"),
]
TASKS = ("classify", "lm", "chat", "squad")
"""The tasks to train."""
DATA = ("data", "text.txt", "talk.jsonl", "questions.json", "prepared", "prepared-questions")
"""The files and folders next to the runs, written by `write_data` and by training."""
ERROR = re.compile(r"sru\b[^:\n]*: (error: )?(?P<message>.*)")


def use_tiny_sets() -> None:
    """Accept any number of lines for SST-2."""
    source = SOURCES["sst2"]
    parts = {part: replace(getattr(source, part), lines=None) for part in ("train", "validation", "test")}
    SOURCES["sst2"] = replace(source, **parts)


def write_data(folder: Path) -> None:
    """Write data for every task, small enough to train on in about a second."""
    use_tiny_sets()
    (folder / "data/classification").mkdir(parents=True)
    for part, copies in (("train", 8), ("dev", 2), ("test", 3)):
        rows = [f"{sentence} {i}" for i in range(copies) for sentence in SENTENCES]
        (folder / f"data/classification/stsa.binary.{part}").write_text("\n".join(rows) + "\n")
    words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "it", "rains"]
    lines = [" ".join(words[(line * 5 + word * 2) % len(words)] for word in range(6)) for line in range(100)]
    (folder / "text.txt").write_text("\n".join(lines) + "\n")
    (folder / "talk.jsonl").write_text("".join(json.dumps(turn) + "\n" for turn in TURNS * 3))
    paragraphs = []
    for name, city in PEOPLE:
        passage = f"{name} lives in {city}. It rains there."
        asked = {f"Where does {name} live?": city, f"Who lives in {city}?": name}
        answers = {text: {"text": text, "answer_start": passage.index(text)} for text in asked.values()}
        questions = [
            {"id": text, "question": question, "answers": [answers[text]]} for question, text in asked.items()
        ]
        paragraphs.append({"context": passage, "qas": questions})
    (folder / "questions.json").write_text(json.dumps({"data": [{"title": "", "paragraphs": paragraphs}]}))


def fit_options(task: str, folder: Path) -> list[str]:
    """Return the arguments that train a task on the data of `write_data`."""
    lm = [
        f"--data.train_file={folder}/text.txt",
        f"--data.prepared_dir={folder}/prepared",
        "--data.unit=words",
    ]
    squad = [
        *(f"--data.train_file={folder}/questions.json", f"--data.prepared_dir={folder}/prepared-questions"),
        *("--data.embedding_size=8", "--data.min_count=1", "--data.processes=1", "--model.num_layers=1"),
    ]
    own = {
        "classify": ["--recipe=sst2", f"--data-dir={folder}/data", "--data.embedding_size=8"],
        "lm": [*lm, "--data.length=9", "--model.embedding_size=6", "--model.dropout=0.2"],
        "chat": [f"--data.train_file={folder}/talk.jsonl", "--data.unit=characters", "--model.num_layers=1"],
        "squad": squad,
    }
    return [task, "fit", *own[task], *SMALL, f"--runs-dir={folder}/runs"]


def run_folder(task: str, folder: Path) -> Path:
    """Return the folder of the run named "trained"."""
    group = {"classify": "sst2", "lm": "text", "chat": "talk", "squad": "questions"}[task]
    return folder / "runs" / task / group / "trained"


def prepare(folder: Path) -> None:
    """Train each task once."""
    if not (folder / "runs").exists():
        write_data(folder)
        for task in TASKS:
            assert main([*fit_options(task, folder), "--name=trained"]) == 0


def run(case: Case, args: Sequence[str], stdin: bytes = b"") -> str:
    """Run `sru` in this process and return its standard output.

    Raises:
        Refused: It exited with status 1 or 2 and a one-line error message.
    """
    case.note(f"sru {' '.join(map(repr, args))}")
    out, errors = io.StringIO(), io.StringIO()
    before = sys.stdin, os.getcwd()
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    os.chdir(case.folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), warnings.catch_warnings():
            status = main(list(args))
    except SystemExit as error:
        status = error.code  # type: ignore[assignment]
    finally:
        sys.stdin = before[0]
        os.chdir(before[1])
    said = errors.getvalue()
    case.note(f"status {status}; {said}")
    assert "Traceback" not in said, f"traceback printed: {said[-300:]}"
    if status == 0:
        return out.getvalue()
    # Ignore warnings and the line that points to `--help`.
    more = re.compile(r"arning: |^`sru .*--help(-all)?`|^  ")
    lines = [line for line in said.splitlines() if not more.search(line)]
    assert status in (1, 2), f"exit status {status}: {said[-300:]}"
    found = ERROR.fullmatch(lines[-1]) if lines else None
    assert found, f"expected a one-line error, got {said[-300:]!r}"
    raise Refused(found["message"].partition("Valid options:")[0])


def differences(one: Any, other: Any, at: str = "") -> list[str]:
    """List the paths at which two trees of tensors differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for key in one for found in differences(one[key], other[key], f"{at}/{key}")]
    if isinstance(one, (list, tuple)) and type(one) is type(other) and len(one) == len(other):
        return differences(dict(enumerate(one)), dict(enumerate(other)), at)
    are_tensors = isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)
    return [] if (torch.equal(one, other) if are_tensors else one == other) else [at]
