"""Conversion of tokenized English to natural text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sru_data.datasets import classification
from sru_data.tokenizers import english
from sru_data.tokenizers.natural import naturalize


@pytest.mark.parametrize(
    ("tokenized", "natural"),
    [
        ("so it goes . so , it goes !", "So it goes. So, it goes!"),
        ("it 's so , i do n't and they 're", "It's so, I don't and they're"),
        ("i 've does n 't can 't i'm can not", "I've doesn't can't I'm cannot"),
        ("-lrb- so -rrb- and -lsb- so -rsb- ( so ) [so]", "(So) and [so] (so) [so]"),
        (r"writer\/director \*\*\* on / off", "Writer/director *** on/off"),
        ("`` so , '' he said , `` so ''", '"So," he said, "so"'),
        ('a " so " and " so "', 'A "so" and "so"'),
        ("` so it goes ' and ' so '", "'So it goes' and 'so'"),
        ("the characters ' lives and actors ' too", "The characters' lives and actors' too"),
        ("mr. doe of the u.s. , j. doe , i.e. so", "Mr. doe of the U.S., J. doe, i.e. so"),
        ("so ... so -- so : $ 5 , # 1 and 5 %", "So... so -- so: $5, #1 and 5%"),
        ("... so", "...So"),
        ("etc. . so no. .", "Etc. So no."),
        ("What does Scarlett O 'Hara say ?", "What does Scarlett O'Hara say?"),
        ("rock 'n' roll of the '70s , beat 'em", "Rock 'n' roll of the '70s, beat 'em"),
        ("what ?! 8 of 10 . élan !", "What?! 8 of 10. Élan!"),
        ("", ""),
    ],
)
def test_natural_text(tokenized, natural) -> None:
    assert naturalize(tokenized) == natural


WORDS = ["so", "film", "i", "can", "not", "mr.", "n't", "'s", "n", "'t", *".(/$)'`\"", "``", "''", "..."]


@given(st.lists(st.sampled_from(WORDS)))
def test_no_letter_is_lost(words) -> None:
    text = " ".join(words)
    kept = [c for c in naturalize(text).lower() if c.isalnum()]
    assert kept == [c for c in text if c.isalnum()]
    assert naturalize(text) == naturalize(f"  {text}\n")


@pytest.mark.parametrize(("name", "share"), [("sst2", 0.985), ("trec", 0.995), ("cr", 0.96), ("mr", 0.91)])
def test_real_text_is_cut_back_into_the_same_words(real_data, name, share) -> None:
    test = classification.load(name, data_dir=real_data).test
    same = sum(
        english.pieces(naturalize(one.text), lowercase=True) == english.pieces(one.text, lowercase=True)
        for one in test
    )
    assert same >= share * len(test)
