from __future__ import annotations

import pytest

from sru_data.tokenizers import PAD_ID, load_tokenizer
from sru_data.tokenizers.alphabets import encode_transcript, symbols_outside, train_alphabet

TEXTS = ["ERASE C Q", "sil ah SIL", "", "GO"]


@pytest.mark.parametrize(
    ("unit", "missing"),
    [
        ("characters", ["!", "Z"]),
        ("words", ["Z!"]),
        ("phones", ["Z!"]),
    ],
)
def test_transcripts_round_trip_and_unknown_symbols_are_found(tmp_path, unit, missing) -> None:
    alphabet = train_alphabet(TEXTS, unit=unit)
    alphabet.save(tmp_path / "alphabet")
    alphabet = load_tokenizer(tmp_path / "alphabet")
    for text in TEXTS:
        ids = encode_transcript(alphabet, text)
        assert alphabet.decode(ids) == text
        assert PAD_ID not in ids
        assert symbols_outside(alphabet, text) == []
    assert symbols_outside(alphabet, "GO Z! GO") == missing


def test_pieces_of_words() -> None:
    alphabet = train_alphabet(TEXTS * 5, unit="subwords", vocab_size=24)
    assert alphabet.decode(encode_transcript(alphabet, "GO ERASE")) == "GO ERASE"
    assert encode_transcript(alphabet, " ") == []
    assert symbols_outside(alphabet, "GO Z!") == ["!", "Z"]


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (TEXTS, {"unit": "bytes"}, r"unit must be one of characters, words, phones, subwords, got 'bytes'"),
        (
            TEXTS,
            {"unit": "subwords"},
            r"vocab_size is required for subwords and only for them, got None for subwords",
        ),
        (
            TEXTS,
            {"unit": "words", "vocab_size": 9},
            r"vocab_size is required for subwords .* got 9 for words",
        ),
        (["", " "], {"unit": "characters"}, r"texts must contain a token that occurs at least 1 times"),
    ],
)
def test_wrong_options_are_errors(texts, options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_alphabet(texts, **options)
