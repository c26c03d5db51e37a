"""Rule-based tokens and their offsets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sru_data.annotation import annotator_of, make_annotator
from sru_data.annotation.plain import annotate


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't! I can't've; he's the characters' one", "Do n't ! I ca n't 've ; he 's the characters ' one"),
        ("It’s DON’T DIDN'T’VE o'clock", "It ’s DO N’T DID N'T ’VE o'clock"),
        ("O'Neill's Qur'an, rock'n'roll 'so'", "O'Neill 's Qur'an , rock'n'roll ' so '"),
        ("U.S. e.g., U.S.-based J. Doe", "U.S. e.g. , U.S. - based J . Doe"),
        ("10km, 5pm 3.5bn 1990s 5th 3D", "10 km , 5 pm 3.5 bn 1990s 5th 3D"),
        ("$1,000.50 50% 3:30 9/11 1939–45", "$ 1,000.50 50 % 3:30 9 / 11 1939 – 45"),
        ("AT&T Amazon.com end.The B12", "AT&T Amazon.com end . The B12"),
        ("well-known/so (so) [a] “so” ``so''", "well - known / so ( so ) [ a ] “ so ” `` so ''"),
        ("wait... a--b—c ***", "wait ... a -- b — c ***"),
        ("中文 हिन्दी cafe\u0301 naïve km² −5°C", "中 文 हिन्दी cafe\u0301 naïve km² − 5 ° C"),
        ("a\u200bb\ufeffc\u200ed", "a b c d"),
    ],
)
def test_words(text, words) -> None:
    assert annotate(text).words == words.split()


MARKS = ".,'\"`-()/*:&@_!?[]$%\u2019\u201c\u2013\u2026"
FRAGMENTS = [
    "n't",
    "'s",
    "U.S.",
    "10km",
    "1,000",
    "Amazon.com",
    "\u4e2d",
    "\u0301",
    "\u200b",
    *MARKS,
    " ",
    "a",
]
ANY = (
    st.text(f"aAnNtTsSkKmM109 {MARKS}\u00e9\u0301\u00a0\n\x1c\u200b\u4e2d", max_size=24)
    | st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=24)
    | st.text(st.characters(categories=["Cs", "Cc", "Cf", "Z"]), max_size=12)
)


@given(ANY)
def test_tokens_are_parts_of_the_text_in_order(text) -> None:
    words, starts, ends, *nothing = annotate(text)
    assert nothing == [None] * 3
    assert len(words) == len(starts) == len(ends)
    assert [text[start:end] for start, end in zip(starts, ends, strict=True)] == words
    assert all(words)
    assert not any(character.isspace() for word in words for character in word)
    borders = [border for pair in zip(starts, ends, strict=True) for border in pair]
    assert borders == sorted(borders)
    assert len(set(starts)) == len(starts)
    assert len(set(ends)) == len(ends)
    left_out = "".join(text[end:start] for end, start in zip([0, *ends], [*starts, len(text)], strict=True))
    assert not any(character.isprintable() and not character.isspace() for character in left_out)


@given(ANY, ANY)
def test_text_is_cut_at_spaces(first, second) -> None:
    assert annotate(f"{first} {second}").words == annotate(first).words + annotate(second).words


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "1",
        "'",
        "-",
        ".",
        "a.",
        "1.",
        "1,",
        "a'",
        "n't",
        "n'",
        "&",
        "a&",
        "'s",
        "\u0301",
        "k",
        "1k",
        " ",
        "_",
    ],
)
def test_anything_repeated_is_cut_in_linear_time(text) -> None:
    hostile = text * (50_000 // len(text))  # Quadratic time would take minutes.
    for ending in ("", "!", "n't", ".com", "km", "\n"):
        assert len(annotate(hostile + ending).words) <= 50_003


def test_texts_are_annotated_as_they_come() -> None:
    asked = []

    def texts():
        for text in ("one two", "", " \n"):
            asked.append(text)
            yield text

    annotated = make_annotator("none").annotate(texts())
    assert next(annotated) == (["one", "two"], [0, 4], [3, 7], None, None, None)
    assert asked == ["one two"]
    assert [one.words for one in annotated] == [[], []]


def test_its_description_makes_it_again() -> None:
    annotator = make_annotator("none")
    assert annotator.description == {"features": "none"}
    assert type(annotator_of(annotator.description)) is type(annotator)
