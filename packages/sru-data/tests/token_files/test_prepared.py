from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sru_data import DataError, download
from sru_data.token_files import open_prepared, prepare, prepared_folder, tokenizer_digest
from sru_data.tokenizers import CharTokenizer


def test_the_digest_tells_tokenizers_apart(tokenizer) -> None:
    assert tokenizer_digest(tokenizer) == tokenizer_digest(CharTokenizer.train(["block 0123456789 ü\n"]))
    assert tokenizer_digest(tokenizer) != tokenizer_digest(CharTokenizer.train(["other"]))


def test_a_folder_without_a_corpus_is_an_error(tmp_path) -> None:
    with pytest.raises(
        DataError, match=r"corpus\.json: expected a prepared corpus, got no such file; prepare"
    ):
        open_prepared(tmp_path)
    (tmp_path / "corpus.json").write_text('{"format": 1}')
    with pytest.raises(
        DataError, match=r"corpus\.json: expected a prepared corpus in format 1, got something else"
    ):
        open_prepared(tmp_path)


@pytest.mark.parametrize(
    "entries",
    [
        {"sources": {}},
        {"sources": {"train": "a"}},
        {"sources": {"train": "a", "validation": "b", "other": "c"}},
        {"sources": {"train": "a", "validation": 1}},
        {"sources": ["train", "validation"]},
        {"options": {"unit": []}},
        {"options": None},
        {"name": 1},
        {"tokenizer": None},
        {"tokenizer_file": {}},
        {"tokenizer_file": "../tokenizer.json"},
        {"tokenizer_file": "/etc/passwd"},
        {"tokenizer_file": "\ud800"},
    ],
)
def test_settings_of_something_else_are_an_error(corpus, tokenizer, tmp_path, entries) -> None:
    prepare(corpus, tmp_path, tokenizer=tokenizer)
    content = json.loads((tmp_path / "corpus.json").read_bytes())
    (tmp_path / "corpus.json").write_text(json.dumps(content | entries))
    with pytest.raises(
        DataError, match=r"corpus\.json: expected a prepared corpus in format 1, got something else"
    ) as caught:
        open_prepared(tmp_path)
    str(caught.value).encode()


@pytest.mark.parametrize("count", ["bytes", "characters", "lines"])
def test_zero_counts_of_a_text_are_an_error(corpus, tokenizer, tmp_path, count) -> None:
    prepare(corpus, tmp_path, tokenizer=tokenizer)
    content = json.loads((tmp_path / "test.json").read_bytes())
    content["counts"][count] = 0
    (tmp_path / "test.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"test\.json: expected the counts of a text, got zeros; delete this"):
        open_prepared(tmp_path)


def test_another_tokenizer_in_the_folder_is_an_error(corpus, tokenizer, tmp_path) -> None:
    prepare(corpus, tmp_path, tokenizer=tokenizer)
    CharTokenizer.train(["other"]).save(tmp_path / "tokenizer.json")
    with pytest.raises(
        DataError,
        match=r"tokenizer\.json: expected the tokenizer that the corpus was prepared with, got another",
    ):
        open_prepared(tmp_path)


def test_ids_of_another_tokenizer_in_the_folder_are_an_error(corpus, tokenizer, tmp_path) -> None:
    prepare(corpus, tmp_path / "a", tokenizer=tokenizer)
    prepare(corpus, tmp_path / "b", tokenizer=CharTokenizer.train(["other"]))
    for name in ("train.tokens", "train.json"):
        shutil.copy(tmp_path / "a" / name, tmp_path / "b" / name)
    with pytest.raises(
        DataError,
        match=r"train\.tokens: expected ids of tokenizer\.json in the same folder, got ids of another",
    ):
        open_prepared(tmp_path / "b")


def test_the_default_folder_belongs_to_one_text_and_one_choice_of_options(make_corpus, monkeypatch) -> None:
    monkeypatch.setattr(download, "cache_dir", lambda: Path("cache"))
    corpus = make_corpus(3, 2, 1)
    folders = [
        prepared_folder(corpus, unit="words"),
        prepared_folder(corpus, unit="characters"),
        prepared_folder(corpus, unit="words", lowercase=True),
        prepared_folder(corpus, unit="words", lowercase=False),
        prepared_folder(corpus, unit="words", vocab_size=10, min_count=1),
        prepared_folder(corpus, unit="words", vocab_size=1, min_count=10),
        *(prepared_folder(make_corpus(*sizes), unit="words") for sizes in [(4, 2, 1), (3, 1, 1), (3, 2)]),
    ]
    assert len(set(folders)) == len(folders)
    assert prepared_folder(make_corpus(3, 2, 1), min_count=1, unit="words", vocab_size=10) == folders[4]
    assert folders[0].parent == Path("cache/prepared")
    assert folders[0].name.startswith("fake-words-")
