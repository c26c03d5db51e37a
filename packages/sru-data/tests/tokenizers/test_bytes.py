from __future__ import annotations

import json

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from sru_data.tokenizers import ByteTokenizer, Tokenizer, load_tokenizer

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
TOKENIZER = ByteTokenizer()


def test_a_byte_has_its_number_and_two_as_id() -> None:
    assert TOKENIZER.encode("A\n\0") == [67, 12, 2]
    assert len(TOKENIZER) == len(TOKENIZER.tokens) == 258
    assert TOKENIZER.tokens[:2] == ["[PAD]", "[UNK]"]
    assert isinstance(TOKENIZER, Tokenizer)


@given(TEXT)
def test_every_text_comes_back_exactly(text) -> None:
    ids = TOKENIZER.encode(text)
    assert len(ids) == len(text.encode())
    assert TOKENIZER.decode([0, *ids, 0]) == text


@given(st.binary())
def test_bytes_of_no_text_come_back_as_bytes(content) -> None:
    ids = TOKENIZER.encode_bytes(content).tolist()
    assert TOKENIZER.decode_bytes(ids) == content
    assert TOKENIZER.decode(ids) == content.decode("utf-8", "replace")


def test_an_argument_that_the_command_line_could_not_decode_is_its_bytes() -> None:
    assert TOKENIZER.encode(b"caf\xe9".decode("utf-8", "surrogateescape")) == [101, 99, 104, 235]


def test_the_name_of_a_special_token_is_text_like_any_other() -> None:
    assert TOKENIZER.decode(TOKENIZER.encode("[PAD][UNK]")) == "[PAD][UNK]"
    assert len(TOKENIZER.encode("[PAD]")) == 5


def test_an_empty_text_is_one_unknown() -> None:
    assert TOKENIZER.encode("") == [1]
    assert TOKENIZER.decode([1, 67]) == "[UNK]A"


@given(TEXT)
def test_the_library_reads_the_file_to_the_same_ids(tmp_path_factory, text) -> None:
    path = tmp_path_factory.mktemp("bytes") / "tokenizer.json"
    TOKENIZER.save(path)
    library = tokenizers.Tokenizer.from_file(str(path))
    assert library.encode(text).ids == TOKENIZER.encode(text)
    assert library.decode(library.encode(text).ids) == text


def test_a_saved_one_is_loaded_as_one(tmp_path) -> None:
    TOKENIZER.save(tmp_path / "x")
    loaded = load_tokenizer(tmp_path / "x")
    assert isinstance(loaded, ByteTokenizer)
    assert loaded.tokens == TOKENIZER.tokens


def test_bytes_may_have_other_ids(tmp_path) -> None:
    TOKENIZER.save(tmp_path / "x")
    content = json.loads((tmp_path / "x").read_text())
    vocabulary = content["model"]["vocab"]
    characters = [token for token, index in vocabulary.items() if index > 1]
    content["model"]["vocab"] = {token: 255 - index for index, token in enumerate(characters)}
    (tmp_path / "x").write_text(json.dumps(content))
    loaded = load_tokenizer(tmp_path / "x")
    assert isinstance(loaded, ByteTokenizer)
    assert len(loaded) == 258
    ids = loaded.encode("é!")
    assert ids == [
        2 + index for index in tokenizers.Tokenizer.from_file(str(tmp_path / "x")).encode("é!").ids
    ]
    assert loaded.decode(ids) == "é!"


SAVED = json.loads(TOKENIZER._saved.to_str())
MODEL, VOCABULARY = SAVED["model"], SAVED["model"]["vocab"]
END = {
    "id": 258,
    "content": "<end>",
    "special": True,
    **dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False),
}


@pytest.mark.parametrize(
    "change",
    [
        {"model": MODEL | {"vocab": VOCABULARY | {"ab": 258}, "merges": [["a", "b"]]}},
        {"model": MODEL | {"vocab": {token: VOCABULARY[token] for token in VOCABULARY if token != "a"}}},
        {"model": {"type": "WordLevel", "vocab": {"a": 0, "?": 1}, "unk_token": "?"}},
        {"normalizer": {"type": "Lowercase"}},
        {"pre_tokenizer": SAVED["pre_tokenizer"] | {"add_prefix_space": True}},
        {"added_tokens": [END]},
    ],
    ids=["merges", "a byte less", "words", "normalizer", "pre-tokenizer", "added tokens"],
)
def test_a_tokenizer_much_like_that_of_bytes_is_not_taken_for_one(tmp_path, change) -> None:
    (tmp_path / "x").write_text(json.dumps(SAVED | change))
    assert not isinstance(load_tokenizer(tmp_path / "x"), ByteTokenizer)
