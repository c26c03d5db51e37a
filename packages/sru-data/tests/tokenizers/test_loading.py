from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from sru_data import DataError
from sru_data.tokenizers import CharTokenizer, SubwordTokenizer, Tokenizer, WordTokenizer, load_tokenizer

TEXTS = ["the lowest of the low", "newer and Wider than the newest", "lower and slower", "wide widest"] * 5

MADE = {
    "words": lambda: WordTokenizer.train(TEXTS),
    "cased words": lambda: WordTokenizer.train(TEXTS, lowercase=False),
    "characters": lambda: CharTokenizer.train(TEXTS),
    "unigram": lambda: SubwordTokenizer.train(TEXTS, vocab_size=24),
    "bpe": lambda: SubwordTokenizer.train(TEXTS, vocab_size=24, model_type="bpe"),
}


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("text", ["", "the Wider  lowest ☃", "[PAD]"])
def test_a_saved_tokenizer_is_loaded_under_any_file_name(tmp_path, kind, text) -> None:
    made = MADE[kind]()
    made.save(tmp_path / "tokenizer")
    loaded = load_tokenizer(tmp_path / "tokenizer")
    assert isinstance(loaded, Tokenizer)
    assert loaded.tokens == made.tokens
    ids = made.encode(text)
    assert loaded.encode(text) == ids
    assert loaded.decode(ids) == made.decode(ids)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "tokenizer").read_bytes()


def test_characters_stay_quick_after_loading(tmp_path) -> None:
    CharTokenizer.train(TEXTS).save(tmp_path / "tokenizer")
    assert isinstance(load_tokenizer(tmp_path / "tokenizer"), CharTokenizer)


@pytest.mark.parametrize("change", ["two steps", "another pattern", "normalizer"])
def test_a_tokenizer_much_like_that_of_characters_is_not_taken_for_one(tmp_path, change) -> None:
    backend = tokenizers.Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2, "ab": 3}, "[UNK]"))
    characters = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    pairs = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S][\s\S]"), "isolated")
    text, ids = {"two steps": ("a b", [2, 1]), "another pattern": ("abab", [3, 3]), "normalizer": ("A", [2])}[
        change
    ]
    backend.pre_tokenizer = {
        "two steps": pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), characters]),
        "another pattern": pairs,
        "normalizer": characters,
    }[change]
    if change == "normalizer":
        backend.normalizer = normalizers.Lowercase()
    backend.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path / "tokenizer.json").encode(text) == ids


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"expected a Hugging Face tokenizer\.json or a sentencepiece model, got neither"),
        (
            b"\x00\xffrubbish",
            r"expected a Hugging Face tokenizer\.json or a sentencepiece model, got neither",
        ),
        (b'{"a": 1}', r"expected a Hugging Face tokenizer\.json, got other JSON"),
        (b"{", r"expected a Hugging Face tokenizer\.json, got other JSON"),
        (b'{"\xff": 1}', r"expected a Hugging Face tokenizer\.json, got other JSON"),
    ],
)
def test_another_file_is_an_error(tmp_path, content, message) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_tokenizer(tmp_path / "x")


def write(path: Path, **model: object) -> Path:
    content = json.loads(tokenizers.Tokenizer(models.WordLevel({"a": 0}, "a")).to_str())
    content["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    content["normalizer"] = model.pop("normalizer", None)
    path.write_text(json.dumps(content | {"model": model}))
    return path


WORD_PIECE = {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
BYTES = {token: index for index, token in enumerate(pre_tokenizers.ByteLevel.alphabet())}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "[UNK]"},
            r"the vocabulary of a WordLevel model .* got '\[UNK\]' for it; add",
        ),
        (
            {"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "?", **WORD_PIECE},
            r"the vocabulary of a WordPiece model .* got '\?'",
        ),
        (
            {"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "?"},
            r"the vocabulary of a BPE model .* got '\?'",
        ),
        (
            {"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": None},
            r"the vocabulary of a Unigram model .* got None for it",
        ),
        (
            {"type": "WordLevel", "vocab": {"a": 0, "b": 0}, "unk_token": "a"},
            r"each token .* its own id",
        ),
        (
            {"type": "Unigram", "vocab": [["a", -1.0], ["a", -2.0]], "unk_id": 0},
            r"each token .* its own id",
        ),
        (
            {"type": "WordLevel", "vocab": {"?": 0, ",": 2**31}, "unk_token": "?"},
            r"the ids of 2 tokens must leave fewer than 1,000,000 ids unused, got 2,147,483,648 for ','",
        ),
        (
            {"type": "BPE", "vocab": {"?": 0, ",": 1_000_002}, "merges": [], "unk_token": "?"},
            r"the ids of 2 tokens must leave fewer than 1,000,000 ids unused, got 1,000,002 for ','",
        ),
    ],
)
def test_a_model_that_fails_later_is_refused_at_once(tmp_path, model, message) -> None:
    path = write(tmp_path / "x", **model)
    with pytest.raises(DataError, match=rf"x: .*tokenizer\.json, got one that does not work: .*{message}"):
        load_tokenizer(path)


def test_a_model_of_all_bytes_needs_no_unknown_token(tmp_path) -> None:
    path = write(
        tmp_path / "x", type="BPE", vocab=BYTES, merges=[], unk_token="?", normalizer={"type": "ByteLevel"}
    )
    tokenizer = load_tokenizer(path)
    assert [tokenizer.tokens[index] for index in tokenizer.encode("é")] == ["Ã", "©"]


@pytest.mark.parametrize("charsmap", ["", "AAAA"])
def test_a_panic_of_the_library_is_an_error_like_others(tmp_path, charsmap) -> None:
    normalizer = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    path = write(tmp_path / "x", type="WordLevel", vocab={"a": 0}, unk_token="a", normalizer=normalizer)
    with pytest.raises(DataError, match=r"x: expected a Hugging Face tokenizer\.json, got "):
        load_tokenizer(path)


def test_a_byte_order_mark_is_passed_over(tmp_path) -> None:
    path = write(tmp_path / "x", type="WordLevel", vocab={"a": 0}, unk_token="a")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_tokenizer(path).tokens == ["[PAD]", "a"]
    path.write_bytes(path.read_bytes().decode().encode("utf-16"))
    with pytest.raises(DataError, match=r"x: expected text in UTF-8, got UTF-16; convert"):
        load_tokenizer(path)


def test_what_the_message_quotes_is_short(tmp_path) -> None:
    path = write(tmp_path / "x", type="x" * 100_000)
    with pytest.raises(DataError) as caught:
        load_tokenizer(path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("make", "found"),
    [(os.mkdir, "a folder"), (os.mkfifo, "a named pipe"), (lambda path: None, "No such file")],
)
def test_only_a_regular_file_is_read(tmp_path, make, found) -> None:
    make(tmp_path / "x")
    with pytest.raises(DataError, match=rf"x: expected a tokenizer file, got: {found}"):
        load_tokenizer(tmp_path / "x")


def test_a_file_of_no_sensible_size_is_not_read(tmp_path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(6 << 30)
    with pytest.raises(DataError, match=r"x: expected a tokenizer file of at most 134,217,728 bytes"):
        load_tokenizer(tmp_path / "x")


def test_a_missing_file_is_an_error(tmp_path) -> None:
    with pytest.raises(DataError, match=r"none: expected a tokenizer file, got: No such file or directory"):
        load_tokenizer(tmp_path / "none")


def test_what_the_library_says_of_a_file_is_shortened(tmp_path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"version": "1.0", "added_tokens": "x" * 100_000}))
    with pytest.raises(DataError) as caught:
        load_tokenizer(path)
    assert len(str(caught.value)) < 500 + len(str(path))
