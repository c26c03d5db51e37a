from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from sru_data import DataError
from sru_data.pair_files import VocabularyConfig, open_prepared, prepare

WORDS = VocabularyConfig("words")
FILES = [
    "source.tokenizer",
    "target.tokenizer",
    *(f"{part}.{kind}" for part in ("train", "validation") for kind in ("rows", "ids", "texts")),
]


@pytest.fixture
def folder(sources, tmp_path: Path) -> Path:
    return prepare(sources, tmp_path / "p", name="weather", vocabulary=WORDS).folder


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_refused(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    remedy = "delete the folder and prepare the pairs again"
    path.write_bytes(whole[:-1])
    with pytest.raises(
        DataError, match=rf"{name}: expected .* bytes, got .*; the file is truncated, {remedy}"
    ):
        open_prepared(folder)
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(
        DataError, match=rf"{name}: expected the checksum \w+, got \w+; the file is damaged, {remedy}"
    ):
        open_prepared(folder)
    path.unlink()
    with pytest.raises(
        DataError, match=rf"{name}: expected a file of prepared pairs, got No such file.*; {remedy}"
    ):
        open_prepared(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": 1},
            r"in format 2, got something else \(format 1 of another version\); delete the folder",
        ),
        ({"parts": {}}, r"got something else \(pairs for no part\); delete"),
        ({"tokenizers": {}}, r"got something else \(tokenizers for nothing\); delete"),
        ({"forms": {}}, r"got something else \(forms of nothing\); delete"),
        ({"max_length": "1"}, r"got something else \('1' in place of"),
    ],
)
def test_another_version_is_refused(folder: Path, sources, change, message: str) -> None:
    path = folder / "pairs.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    for use in (
        lambda: open_prepared(folder),
        lambda: prepare(sources, folder, name="weather", vocabulary=WORDS),
    ):
        with pytest.raises(DataError, match=rf"pairs\.json: .*{message}"):
            use()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kept": 2}, "the counts do not add up"),
        ({"kept": 2, "read": 2}, "2 pairs in 96 bytes"),
        ({"dropped": {"?": 0}, "examples": {"?": ""}}, "the counts do not add up"),
    ],
)
def test_counts_that_do_not_add_up_are_refused(folder: Path, change, message: str) -> None:
    path = folder / "pairs.json"
    settings = json.loads(path.read_text())
    settings["parts"]["train"]["report"].update(change)
    path.write_text(json.dumps(settings))
    with pytest.raises(DataError, match=rf"got something else \({message}\)"):
        open_prepared(folder)


def test_a_limit_below_the_longest_training_sentence_is_refused(folder: Path) -> None:
    longest = int(open_prepared(folder).parts["train"].lengths.max())
    path = folder / "pairs.json"
    settings = json.loads(path.read_text())
    for limit in (longest - 1, 0):
        path.write_text(json.dumps({**settings, "max_length": limit}))
        message = (
            rf"pairs\.json: expected training sentences of at most {limit} ids, got one with {longest}; "
        )
        with pytest.raises(DataError, match=message):
            open_prepared(folder)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pairs\.json: expected prepared pairs, got no such file; prepare"):
        open_prepared(tmp_path)


def test_a_part_survives_pickling(folder: Path) -> None:
    train = open_prepared(folder).parts["train"]
    again = pickle.loads(pickle.dumps(train))
    assert again.text(1) == train.text(1)
    assert all(torch.equal(one, other) for one, other in zip(again[2][1:], train[2][1:], strict=True))
