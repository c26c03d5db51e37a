from __future__ import annotations

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
def test_what_was_saved_is_loaded_whatever_the_file_is_called(tmp_path, kind, text) -> None:
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


def test_a_missing_file_is_an_error(tmp_path) -> None:
    with pytest.raises(DataError, match=r"none: expected a tokenizer file, got: No such file or directory"):
        load_tokenizer(tmp_path / "none")
