from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sru_apps.tasks.squad.batches import WordTable, make_batch
from sru_data.question_files import Example, Tokens
from sru_data.tokenizers import WordTokenizer

FORMS = ["", "The", "the", "cat", "Cat", "CAT", "sat", "dog"]
LEMMAS = {"": 0, "The": 1, "the": 1, "cat": 2, "Cat": 2, "CAT": 3, "sat": 4, "dog": 5}
TOKENIZER = WordTokenizer.from_words(["the", "cat", "dog"])
TABLE = WordTable.of(FORMS, TOKENIZER)
TEXTS = st.lists(st.sampled_from(FORMS[1:]), min_size=1, max_size=9)


def tokens(words: list[str], *, features: bool = True) -> Tokens:
    numbers = torch.tensor([FORMS.index(word) for word in words])
    if not features:
        return Tokens(numbers)
    return Tokens(numbers, torch.tensor([LEMMAS[word] for word in words]), numbers + 10, numbers + 20)


def examples(texts: list[tuple[list[str], list[str]]], *, features: bool = True) -> list[Example]:
    return [
        Example(
            7 + place, tokens(context, features=features), tokens(question, features=features), 0, place % 2
        )
        for place, (context, question) in enumerate(texts)
    ]


def test_rows_and_lower_case_of_a_word_table() -> None:
    assert [TOKENIZER.tokens[row] for row in TABLE.rows] == [
        *("[PAD]", "the", "the", "cat", "cat", "cat", "[UNK]", "dog")
    ]
    assert TABLE.lower.tolist() == [0, 1, 1, 2, 2, 2, 3, 4]


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5), st.booleans())
def test_the_features_of_every_word(texts: list[tuple[list[str], list[str]]], has_lemmas: bool) -> None:
    batch = make_batch(examples(texts, features=has_lemmas), TABLE)
    inputs = batch.inputs
    assert inputs.features.dtype == torch.float32
    for column, (context, question) in enumerate(texts):
        counts = Counter(word.lower() for word in context)
        expected = [
            [
                word in question,
                word.lower() in [other.lower() for other in question],
                *([LEMMAS[word] in [LEMMAS[other] for other in question]] if has_lemmas else []),
                counts[word.lower()] / len(context),
            ]
            for word in context
        ]
        found = inputs.features[:, column]
        torch.testing.assert_close(found[: len(context)], torch.tensor(expected, dtype=torch.float32))
        assert not found[len(context) :].any()
        for row, mask, words in (
            (inputs.document, inputs.document_mask, context),
            (inputs.question, inputs.question_mask, question),
        ):
            assert row[: len(words), column].tolist() == [TABLE.rows[FORMS.index(word)] for word in words]
            assert not row[len(words) :, column].any()
            real = torch.arange(len(row)) < len(words)
            assert torch.equal(torch.ones_like(real) if mask is None else ~mask[:, column], real)


def test_linguistic_features_are_padded() -> None:
    batch = make_batch(examples([(["The", "cat", "sat"], ["cat"]), (["dog"], ["the", "dog"])]), TABLE)
    assert batch.inputs.tags is not None
    assert batch.inputs.tags.tolist() == [[11, 17], [13, 0], [16, 0]]
    assert batch.inputs.question_entities is not None
    assert batch.inputs.question_entities.tolist() == [[23, 22], [0, 27]]
    plain = make_batch(examples([(["The"], ["cat"])], features=False), TABLE)
    assert plain.inputs[5:] == (None,) * 4
    assert plain.inputs.features.shape == (1, 1, 3)


def test_answers_and_indices() -> None:
    batch = make_batch(examples([(["The", "cat"], ["cat"])] * 2), TABLE)
    assert (batch.start.tolist(), batch.end.tolist(), batch.index.tolist()) == ([0, 0], [0, 1], [7, 8])
    assert batch.inputs.document_mask is None


@pytest.mark.parametrize("word", ["[PAD]", "unheard"])
def test_text_is_never_read_as_padding(word: str) -> None:
    assert WordTable.of(["", word], TOKENIZER).rows.tolist() == [0, 1]
