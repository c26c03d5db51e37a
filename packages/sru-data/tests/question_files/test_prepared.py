from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from sru_data import DataError
from sru_data.datasets.squad import SOURCES
from sru_data.question_files import open_prepared, prepare

FILES = [
    "vocabulary.json",
    *(f"{part}.{kind}" for part in ("train", "validation") for kind in ("rows", "tokens", "texts")),
]


@pytest.fixture
def folder(sources, tmp_path: Path) -> Path:
    return prepare(sources, tmp_path / "q", name="weather").folder


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_refused(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    remedy = "delete the folder and prepare the questions again"
    path.write_bytes(whole[:-1])
    with pytest.raises(
        DataError, match=rf"{name}: expected .* bytes, got .*; the file is truncated, {remedy}"
    ):
        open_prepared(folder)
    path.write_bytes(whole + b"\n")
    with pytest.raises(DataError, match=r"the file is not the one described, delete"):
        open_prepared(folder)
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(
        DataError, match=rf"{name}: expected the checksum \w+, got \w+; the file is damaged, {remedy}"
    ):
        open_prepared(folder)
    path.unlink()
    with pytest.raises(
        DataError, match=rf"{name}: expected a file of prepared questions, got No such file.*; {remedy}"
    ):
        open_prepared(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": 2},
            r"in format 1, got something else \(format 2 of another version\); delete the folder",
        ),
        ({"parts": {}}, r"got something else \(questions for no part\); delete"),
        ({"name": 1}, r"got something else \(1 in place of"),
    ],
)
def test_another_version_is_refused(folder: Path, sources, change, message: str) -> None:
    path = folder / "questions.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, **change}))
    for use in (lambda: open_prepared(folder), lambda: prepare(sources, folder, name="weather")):
        with pytest.raises(DataError, match=rf"questions\.json: .*{message}"):
            use()


@pytest.mark.parametrize(
    "change",
    [
        {"kept": 2},
        {"kept": 2, "read": 2},
        {"dropped": {"no answer": 1}},
        {"dropped": {"?": 0}, "examples": {"?": ""}},
    ],
)
def test_counts_that_do_not_add_up_are_refused(folder: Path, change) -> None:
    path = folder / "questions.json"
    settings = json.loads(path.read_text())
    settings["parts"]["train"]["report"].update(change)
    path.write_text(json.dumps(settings))
    with pytest.raises(
        DataError, match=r"got something else \((the counts do not add up|2 questions in 192 bytes)\)"
    ):
        open_prepared(folder)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"questions\.json: expected prepared questions, got no such file; prepare"
    ):
        open_prepared(tmp_path)


def test_a_part_survives_pickling(folder: Path) -> None:
    train = open_prepared(folder).parts["train"]
    again = pickle.loads(pickle.dumps(train))
    assert again.text(1) == train.text(1)
    assert torch.equal(again[0].context.words, train[0].context.words)


def test_the_real_validation_set(sources, real_data: Path, tmp_path: Path) -> None:
    (path,), _ = SOURCES["squad1"].validation.find(real_data)
    prepared = prepare({"train": sources["train"], "validation": path}, tmp_path / "q", name="squad1")
    report = prepared.report["validation"]
    assert (report.read, report.kept, report.dropped, report.cut) == (10570, 10570, {}, 0)
    assert report.without_span < 60
    part = prepared.parts["validation"]
    for index in range(0, len(part), 100):
        example, text = part[index], part.text(index)
        words = [prepared.words[number] for number in example.context.words]
        assert words == [text.context[a:b] for a, b in zip(text.starts, text.ends, strict=True)]
        if example.start >= 0:
            answer = text.context[text.starts[example.start] : text.ends[example.end]]
            assert answer in [reference.strip() for reference in text.answers]
