from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sru_data.tokenizers import (
    ByteTokenizer,
    CharTokenizer,
    SentenceTokenizer,
    SubwordTokenizer,
    Tokenizer,
    WordTokenizer,
    load_tokenizer,
)

TEXTS = ["The rain falls .", "It rains on the plain ."] * 5
KINDS = {
    "words": SentenceTokenizer(WordTokenizer.from_words(["the", "rain", "."], unk_token="<unk>")),
    "cased words": SentenceTokenizer(WordTokenizer.from_words(["The", "rain"], lowercase=False)),
    "characters": SentenceTokenizer(CharTokenizer.train(TEXTS)),
    "subwords": SentenceTokenizer(SubwordTokenizer.train(TEXTS, vocab_size=30, threads=1)),
    "bytes": SentenceTokenizer(ByteTokenizer()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_markers_are_the_last_two_ids_and_no_text_has_them(kind, tmp_path) -> None:
    tokenizer = KINDS[kind]
    assert isinstance(tokenizer, Tokenizer)
    assert (tokenizer.pad_id, tokenizer.unk_id) == (0, 1)
    assert (tokenizer.bos_id, tokenizer.eos_id) == (len(tokenizer) - 2, len(tokenizer) - 1)
    assert tokenizer.tokens == [*tokenizer.text.tokens, "<s>", "</s>"]
    ids = tokenizer.encode("the rain <s> </s> .")
    assert ids == tokenizer.text.encode("the rain <s> </s> .")
    assert max(ids) < tokenizer.bos_id
    marked = [tokenizer.bos_id, *ids, tokenizer.eos_id, 0, 0]
    assert tokenizer.decode(marked) == tokenizer.text.decode(ids)
    tokenizer.save(tmp_path / "tokenizer")
    again = SentenceTokenizer(load_tokenizer(tmp_path / "tokenizer"))
    assert again.tokens == tokenizer.tokens
    assert again.encode("the rain .") == tokenizer.encode("the rain .")


def test_unknown_words_and_characters_are_spelled_as_the_sentence_has_them() -> None:
    assert KINDS["words"].encode("The quick rain <unk> .") == [2, 1, 3, 1, 4]
    assert KINDS["words"].pieces("The quick rain <unk> .") == ["the", "quick", "rain", "<unk>", "."]
    assert KINDS["cased words"].pieces(" The  Quick\n") == ["The", "Quick", "<eos>"]
    assert KINDS["characters"].pieces("Rüh") == ["R", "ü", "h"]
    assert KINDS["words"].pieces(" ") == [""]


@pytest.mark.parametrize("kind", KINDS)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(["The rain", "a[PAD]b <pad> [UNK]", "\u2581 \u200b"])
)
def test_there_is_one_spelling_for_each_id(kind, text) -> None:
    tokenizer = KINDS[kind]
    assert len(tokenizer.pieces(text)) == len(tokenizer.encode(text))
