from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.tokenizers import TextForm, text_forms

ENGLISH, GERMAN = TextForm(moses="en", lowercase=True), TextForm(moses="de", lowercase=True)


@pytest.fixture(autouse=True)
def _sacremoses() -> None:
    pytest.importorskip("sacremoses", reason="it implements Moses' tokenization")


@pytest.mark.parametrize(
    ("form", "raw", "tokens", "readable"),
    [
        (ENGLISH, "A dog's toy, isn't it?", "a dog &apos;s toy , isn &apos;t it ?", "a dog's toy, isn't it?"),
        (ENGLISH, "Mr. Lee paid $5.50 (now).", "mr. lee paid $ 5.50 ( now ) .", "mr. lee paid $5.50 (now)."),
        (ENGLISH, "“Stop”, he said…", "&quot; stop , &quot; he said ...", '"stop," he said...'),
        (ENGLISH, "AT&T <b> 50|50", "at &amp; t &lt; b &gt; 50 &#124; 50", "at & t < b > 50 | 50"),
        (
            GERMAN,
            "Der „Ball“: schwarz-weiß!",
            "der &quot; ball &quot; : schwarz-weiß !",
            'der "ball": schwarz-weiß!',
        ),
        (TextForm(moses="en"), "It's  Me .", "It &apos;s Me .", "It's Me."),
        (TextForm(lowercase=True), "It's  Me .", "it's  me .", "it's  me ."),
        (TextForm(), "It's  Me .", "It's  Me .", "It's  Me ."),
        (ENGLISH, " \t", "", ""),
    ],
)
def test_both_directions(form: TextForm, raw: str, tokens: str, readable: str) -> None:
    assert form.apply(raw) == tokens
    assert form.apply(tokens) == tokens
    assert form.undo(tokens) == readable


WORDS = """A dog isn't it's 5.50 3,000 e.g. Mr. z.B. (so) "quoted" well-known 10% $5 a/b can't dogs'"""


@pytest.mark.parametrize("form", [ENGLISH, GERMAN, TextForm(moses="xx")], ids=["en", "de", "xx"])
@given(
    clauses=st.lists(
        st.tuples(st.lists(st.sampled_from(WORDS.split()), max_size=6), st.sampled_from(",.?!;:"))
    )
)
def test_tokenized_text_is_unchanged(form: TextForm, clauses: list[tuple[list[str], str]]) -> None:
    tokens = form.apply(" ".join(" ".join([*words, "end"]) + mark for words, mark in clauses))
    assert form.apply(tokens) == tokens


def test_any_text_is_taken() -> None:
    for text in ("\ud800 a\x00b", "a\nb\u2028c", "😀" * 3, "&#x110000; &#99999999;"):
        assert isinstance(ENGLISH.undo(ENGLISH.apply(text)), str)


@pytest.mark.parametrize("moses", ["", "english", "EN", "e"])
def test_the_language_is_a_code(moses: str) -> None:
    with pytest.raises(ValueError, match=rf"TextForm: moses must be a language code of .*, got '{moses}'"):
        TextForm(moses=moses)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    text_forms._rules.cache_clear()
    with pytest.raises(DataError, match=r'run `python -m pip install "sru-data\[moses\]"`'):
        ENGLISH.apply("a")
    assert TextForm(lowercase=True).apply("A") == "a"
