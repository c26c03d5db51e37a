from __future__ import annotations

import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import trainers

from sru_data.tokenizers import CharTokenizer, HuggingFaceTokenizer, Tokenizer, characters

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_the_most_frequent_characters_come_first() -> None:
    tokenizer = CharTokenizer.train(["banana\n", "é b"])
    assert tokenizer.tokens[:5] == ["[PAD]", "[UNK]", "a", "b", "n"]
    assert set(tokenizer.tokens[5:]) == {"\n", " ", "é"}
    assert isinstance(tokenizer, Tokenizer)


@given(TEXT)
def test_known_characters_come_back_exactly_white_space_included(text) -> None:
    tokenizer = CharTokenizer.train([text])
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert tokenizer.decode([0, *ids, 0]) == text


@given(TEXT, TEXT)
def test_looking_characters_up_gives_what_the_library_gives(seen, text) -> None:
    assume("[PAD]" not in text and "[UNK]" not in text)
    tokenizer = CharTokenizer.train([seen])
    assert tokenizer.encode(text) == HuggingFaceTokenizer.encode(tokenizer, text)


@pytest.mark.parametrize("text", ["[PAD]", "[UNK]"])
def test_the_name_of_a_special_token_is_text_like_any_other(text) -> None:
    tokenizer = CharTokenizer.train([text])
    assert len(tokenizer.encode(text)) == 5
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_unknown_character_and_an_empty_text_are_one_unknown() -> None:
    tokenizer = CharTokenizer.train(["abc"])
    assert tokenizer.encode("a☃c") == [2, 1, 4]
    assert tokenizer.encode("") == [1]


@pytest.mark.parametrize("limit", [{"max_size": 4}, {"min_count": 2}])
def test_the_vocabulary_can_be_limited(limit) -> None:
    assert CharTokenizer.train(["aaabbc"], **limit).tokens == ["[PAD]", "[UNK]", "a", "b"]


@given(st.lists(TEXT, min_size=1))
def test_the_file_is_the_one_that_the_librarys_trainer_makes(texts) -> None:
    library = characters._untrained()
    trainer = trainers.WordLevelTrainer(
        vocab_size=sys.maxsize, special_tokens=["[PAD]", "[UNK]"], show_progress=False
    )
    library.train_from_iterator(texts, trainer)
    assert CharTokenizer.train(texts)._saved.to_str() == library.to_str()
