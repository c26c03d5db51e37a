from __future__ import annotations

import pytest

from sru_data import DataError
from sru_data.texts import TextSource
from sru_data.tokenizers import ByteTokenizer, CharTokenizer, SubwordTokenizer, WordTokenizer, training
from sru_data.tokenizers.training import train_tokenizer

LINES = " the <unk> cat \n the Cat sat on the mat \n\n" * 20
SOURCE = TextSource.from_text(LINES, name="cats")
LOW_LINES = "the lowest of the low\nnewer and wider than the newest\nlower and slower\n\nwide widest\n" * 20
LOW = TextSource.from_text(LOW_LINES, name="low")


def test_words_are_counted_with_line_ends_and_the_unknown_word() -> None:
    tokenizer = train_tokenizer(SOURCE, unit="words")
    assert isinstance(tokenizer, WordTokenizer)
    assert tokenizer.tokens == ["[PAD]", "<unk>", "<eos>", "the", "Cat", "cat", "mat", "on", "sat"]
    assert tokenizer.encode("the <unk> dog\n") == [3, 1, 1, 2]
    assert train_tokenizer(SOURCE, unit="words", min_count=21).tokens == ["[PAD]", "<unk>", "<eos>", "the"]
    assert train_tokenizer(SOURCE, unit="words", lowercase=True, vocab_size=5).tokens[3:] == ["the", "cat"]


def test_characters() -> None:
    tokenizer = train_tokenizer(SOURCE, unit="characters")
    assert isinstance(tokenizer, CharTokenizer)
    assert set(tokenizer.tokens[2:]) == set(LINES)
    assert "C" not in train_tokenizer(SOURCE, unit="characters", min_count=21).tokens
    assert len(train_tokenizer(SOURCE, unit="characters", vocab_size=5)) == 5


def test_bytes_need_no_text(tmp_path) -> None:
    assert isinstance(train_tokenizer(TextSource("none", ()), unit="bytes"), ByteTokenizer)


def test_subwords_are_lossless() -> None:
    tokenizer = train_tokenizer(LOW, unit="subwords", vocab_size=280)
    assert isinstance(tokenizer, SubwordTokenizer)
    assert len(tokenizer) == 280
    assert tokenizer.decode(tokenizer.encode(LOW_LINES)) == LOW_LINES
    assert len(tokenizer.encode(LOW_LINES)) < len(LOW_LINES)


@pytest.mark.parametrize("unit", ["words", "characters", "subwords"])
def test_block_boundaries_do_not_matter(monkeypatch, unit) -> None:
    options = {"vocab_size": 280} if unit == "subwords" else {}
    whole = train_tokenizer(LOW, unit=unit, **options)
    monkeypatch.setattr("sru_data.texts.source.BLOCK_BYTES", 150)
    assert train_tokenizer(LOW, unit=unit, **options).tokens == whole.tokens


def test_subwords_of_a_large_text_are_learned_from_blocks_spread_over_it(monkeypatch) -> None:
    monkeypatch.setattr("sru_data.texts.source.BLOCK_BYTES", 8)
    monkeypatch.setattr(training, "SUBWORD_SAMPLE_BLOCKS", 4)
    source = TextSource.from_text("".join(f"{i:07}\n" for i in range(30)), name="x")
    lines = [line for line in training._sampled_lines(source) if line]
    assert lines == [f"{i:07}" for i in range(0, 30, 8)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "letters"}, r"unit must be 'words', 'characters', 'bytes' or 'subwords', got 'letters'"),
        ({"unit": "subwords"}, r"subwords need a vocab_size, got None; 8000 is usual"),
        (
            {"unit": "bytes", "vocab_size": 9},
            r"vocab_size is an option of words and characters and subwords, not",
        ),
        (
            {"unit": "subwords", "vocab_size": 9, "min_count": 2},
            r"min_count is an option of words and characters",
        ),
        (
            {"unit": "characters", "lowercase": True},
            r"lowercase is an option of words, not of characters; leave",
        ),
    ],
)
def test_an_option_that_the_unit_lacks_is_an_error(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        train_tokenizer(SOURCE, **options)


@pytest.mark.parametrize(
    ("unit", "options"), [("words", {}), ("characters", {}), ("subwords", {"vocab_size": 300})]
)
def test_a_text_that_is_not_utf8_is_an_error(tmp_path, unit, options) -> None:
    (tmp_path / "x.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=r"x\.txt: expected text in utf-8, got the byte 0xe9 at byte 3"):
        train_tokenizer(TextSource.from_files(tmp_path / "x.txt"), unit=unit, **options)
