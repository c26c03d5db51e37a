"""The handling of words outside a vocabulary."""

from __future__ import annotations

import warnings

import pytest

from sru_apps.decoding.completion import encode_prompt
from sru_apps.decoding.unknown import UnknownParts, encode
from sru_apps.train.errors import UserError
from sru_data.tokenizers import ByteTokenizer, CharTokenizer, SubwordTokenizer, WordTokenizer

WORDS = WordTokenizer.train(["so it goes"], unk_token="<unk>")


def reported(tokenizer, *texts):
    parts = UnknownParts(tokenizer)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for text in texts:
            parts.report([(text, tokenizer.encode(text))])
    return [str(warning.message).partition(": ")[2] for warning in found]


def test_each_part_is_named_once():
    assert reported(WORDS, "so zé zé", "it goes", "zé gnu", "zé") == ["'zé'", "'gnu'"]
    assert reported(CharTokenizer.train(["so it"]), "so zé", "zut") == ["'z', 'é'", "'u'"]
    assert reported(ByteTokenizer(), "zé", "") == []


def test_a_space_between_subwords_is_not_unknown():
    tokenizer = SubwordTokenizer.train(["so it goes", "it is so"] * 20, vocab_size=20)
    assert reported(tokenizer, "so It goes", "it is") == ["'I'"]


def test_the_unknown_word_written_out_is_none():
    assert reported(WORDS, "so <unk> goes", "") == []


def test_no_more_than_ten_are_named_and_none_at_length():
    (message,) = reported(WORDS, " ".join(f"w{i}" for i in range(99)), "gnu")
    assert message == ", ".join([*(f"'w{i}'" for i in range(10)), "..."])
    assert reported(WORDS, "x" * 5000) == [f"'{'x' * 40}...'"]


@pytest.mark.parametrize("text", ["", " ", "\t \t"])
def test_a_text_without_words_has_no_symbols(text):
    assert encode(WORDS, text) == []
    with pytest.raises(UserError, match="the prompt is empty and the model's vocabulary has no line end"):
        encode_prompt(WORDS, text)


def test_an_unknown_space_is_a_symbol():
    tokenizer = CharTokenizer.train(["abc"])
    assert encode(tokenizer, " ") == [tokenizer.unk_id]
    assert encode(tokenizer, "") == []


ENGLISH = WordTokenizer.train(["It goes, so no. 1 is so!"], rules="english")


def counted(tokenizer, *texts):
    parts = UnknownParts(tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text in texts:
            parts.report([(text, tokenizer.encode(text))])
    return parts


def test_words_of_english_are_named_as_they_are_looked_up():
    assert reported(ENGLISH, "It's terrible!", "(Terrible) No. 1") == [
        "\"'s\", 'terrible'",
        "'-lrb-', '-rrb-'",
    ]


@pytest.mark.parametrize(
    ("tokenizer", "texts", "counts", "summary"),
    [
        (ENGLISH, ["It's so!", "", "Zé zé"], (6, 3), "3 of 6 words (50.0 %) are unknown: \"'s\", 'zé'"),
        (WORDS, ["so <unk> gnu", "it goes"], (5, 1), "1 of 5 words (20.0 %) are unknown: 'gnu'"),
        (WORDS, ["so it", " "], (2, 0), "all 2 words are known"),
        (CharTokenizer.train(["so it"]), ["so Z"], (4, 1), "1 of 4 characters (25.0 %) are unknown: 'Z'"),
        (ByteTokenizer(), ["é"], (2, 0), "all 2 bytes are known"),
    ],
)
def test_unknown_parts_are_counted(tokenizer, texts, counts, summary):
    parts = counted(tokenizer, *texts)
    assert (parts.tokens, parts.unknown) == counts
    assert parts.summary() == summary


def test_a_summary_names_no_more_than_ten():
    summary = counted(WORDS, " ".join(f"w{i}" for i in range(1200))).summary()
    assert summary.startswith("1,200 of 1,200 words (100.0 %) are unknown: 'w0', ")
    assert summary.endswith("'w9', ...")


@pytest.mark.parametrize(
    ("text", "is_unknown"),
    [("Zé gnu", True), ("zé!", True), ("", True), ("zé it", False), ("!", False), ("it goes", False)],
)
def test_a_text_of_unknown_words_only_is_recognised(text, is_unknown):
    assert UnknownParts(ENGLISH).all_unknown(ENGLISH.encode(text)) is is_unknown
