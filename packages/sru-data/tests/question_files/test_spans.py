from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_data.annotation.plain import annotate
from sru_data.datasets.squad import Answer
from sru_data.question_files import find_span

TEXTS = st.lists(
    st.sampled_from(["rain", "can't", "U.S.", "3.5", " ", "\n", "é", "-", "(", "the "]), max_size=12
)


@settings(max_examples=50)
@given(TEXTS.map("".join), st.data(), st.sampled_from(["", " ", "\n\t "]), st.sampled_from(["", "  "]))
def test_every_run_of_tokens_is_found_with_white_space_around_it(context, data, before, after) -> None:
    tokens = annotate(context)
    last = len(tokens.words) - 1
    if last < 0:
        return
    end = data.draw(st.integers(0, last))
    start = data.draw(st.integers(0, end))
    first = tokens.starts[start]
    answer = Answer(before + context[first : tokens.ends[end]] + after, first)
    assert find_span(context, answer, tokens) == (start, end)


@given(TEXTS.map("".join), TEXTS.map("".join), st.integers(-2, 30))
def test_the_span_found_is_the_answer(context, text, start) -> None:
    tokens = annotate(context)
    span = find_span(context, Answer(text, start), tokens)
    if isinstance(span, str):
        borders = [tokens.starts, tokens.ends]
        place = context.find(text.strip(), max(start, 0))
        exact = place == start and [place, place + len(text.strip())]
        assert not (text.strip() and exact and all(at in of for at, of in zip(exact, borders, strict=True)))
        return
    assert context[tokens.starts[span.start] : tokens.ends[span.end]] == text.strip()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (("rain", 4), (1, 1)),
        ((" rain ", 3), (1, 1)),
        (("rain", 3), (1, 1)),
        (("rain", 5), "answer not at its offset"),
        (("rain", -12), "answer not at its offset"),
        (("rain", 10**30), "answer not at its offset"),
        (("rai", 4), "answer not on token borders"),
        (("ain", 5), "answer not on token borders"),
        ((" ", 3), "no answer"),
    ],
)
def test_why_there_are_no_tokens_for_an_answer(answer, expected) -> None:
    assert find_span("The rain falls.", Answer(*answer), annotate("The rain falls.")) == expected
