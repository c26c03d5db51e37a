"""Spans, their probabilities, and the official metrics."""

from __future__ import annotations

import math
import pickle
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.text import squad

from sru_apps.tasks.squad.answers import (
    answer_of,
    best_spans,
    no_answer_probability,
    no_answer_score,
    span_probabilities,
)
from sru_apps.tasks.squad.figures import AnswerFigures
from sru_apps.tasks.squad.metrics import best_threshold, exact_match, f1, normalize_answer


def all_spans(start: torch.Tensor, end: torch.Tensor, max_length: int) -> list[tuple[float, int, int]]:
    """Return every span of one passage, best first; ties are broken by earlier start, then shorter length."""
    spans = [
        (float(-(start[i] + end[j])), i, j)
        for i in range(len(start))
        for j in range(i, min(i + max_length, len(start)))
        if bool(start[i].isfinite() & end[j].isfinite())
    ]
    return sorted(spans)


# Few values, so that there are ties; sums with the large value are rounded.
LOGITS = st.sampled_from([-math.inf, -2.0, -0.1, 0.0, 0.3, 1.0, 1e8, math.nan])


@given(
    data=st.data(),
    batch=st.integers(1, 3),
    tokens=st.integers(1, 9),
    max_length=st.integers(1, 12),
    k=st.integers(1, 12),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_best_spans_equal_exhaustive_search(
    data: st.DataObject, batch: int, tokens: int, max_length: int, k: int, dtype: torch.dtype
) -> None:
    lists = st.lists(LOGITS, min_size=batch * tokens, max_size=batch * tokens)
    start, end = (torch.tensor(data.draw(lists), dtype=dtype).view(batch, tokens) for _ in range(2))
    found = best_spans(start, end, max_length=max_length, k=k)
    probabilities = span_probabilities(found, start, end, max_length=max_length)
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    assert found.scores.dtype == probabilities.dtype == exact
    for row in range(batch):
        spans = all_spans(start[row].to(exact), end[row].to(exact), max_length)
        best = list(islice(spans, k))
        none = [(math.inf, -1, -1)] * (k - len(best))
        columns = zip((-found.scores[row]).tolist(), *(x[row].tolist() for x in found[1:]), strict=True)
        assert list(columns) == best + none
        total = torch.tensor([-score for score, _, _ in spans], dtype=torch.float64)
        shares = [*total.softmax(0)[:k].tolist(), *[0.0] * len(none)]
        assert probabilities[row].tolist() == pytest.approx(shares, abs=1e-5)


def test_probabilities_of_all_spans_and_no_answer_sum_to_one() -> None:
    generator = torch.Generator().manual_seed(0)
    start, end = (torch.randn(4, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    none = torch.tensor([-1.0, 0.0, 3.0, 50.0])
    found = best_spans(start, end, max_length=3, k=7 * 3)
    shares = span_probabilities(found, start, end, max_length=3, none=none)
    of_none = no_answer_probability(start, end, none, max_length=3)
    odds = of_none.log() - shares[:, 0].log()
    torch.testing.assert_close(no_answer_score(found, none), odds.to(torch.float64))
    torch.testing.assert_close(shares.sum(1) + of_none, torch.ones(4, dtype=torch.float64))
    assert (shares.diff(dim=1) <= 0).all()


def test_the_answer_at_a_span() -> None:
    text: Any = SimpleNamespace(context="Oh, the  rain.", starts=[0, 2, 4, 9, 13], ends=[2, 3, 7, 13, 14])
    assert answer_of(text, 2, 3) == ("the  rain", 4, 13)
    assert answer_of(text, -1, -1) == ("", None, None)


def test_invalid_scores() -> None:
    scores = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"same shape \(B, T\) with T > 0, got \(2, 3\) and \(2, 2\)"):
        best_spans(scores, scores[:, 1:], max_length=3)
    with pytest.raises(ValueError, match=r"got \(2, 0\) and \(2, 0\)"):
        best_spans(scores[:, :0], scores[:, :0], max_length=3)
    with pytest.raises(ValueError, match="max_length must be at least 1, got 0"):
        best_spans(scores, scores, max_length=0)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        best_spans(scores, scores, max_length=1, k=0)


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("The  Denver Broncos", "denver broncos"),
        ("a theatre, an anthem; THE end.", "theatre anthem end"),
        ("$1,000.50", "100050"),
        ("twenty-four", "twentyfour"),
        ("a-b", "ab"),
        ("the–a “an”", "– “ ”"),
        ("\u00c9cole\u00a0d'\u00c9t\u00e9\n", "\u00e9cole d\u00e9t\u00e9"),
        ("\u0130stanbul", "i\u0307stanbul"),
        ("東京 の塔", "東京 の塔"),
        ("the", ""),
        (" . ", ""),
    ],
)
def test_normalised_answers(text: str, normalised: str) -> None:
    assert normalize_answer(text) == normalised


@pytest.mark.parametrize(
    ("prediction", "references", "exact", "overlap"),
    [
        ("the Broncos", ["Denver Broncos", "broncos!"], 1.0, 1.0),
        ("in the year 1973", ["1973", "October 1973"], 0.0, 0.5),
        ("October 1973", ["1973", "in October of 1973"], 0.0, 2 / 3),
        ("to be or not to be", ["to be"], 0.0, 0.5),
        ("be be be", ["to be"], 0.0, 2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2)),
        ("Zürich", ["Zurich"], 0.0, 0.0),
        ("1990–91", ["1990-91"], 0.0, 0.0),
        ("", ["Denver"], 0.0, 0.0),
    ],
)
def test_metrics_equal_torchmetrics_where_both_versions_agree(
    prediction: str, references: list[str], exact: float, overlap: float
) -> None:
    for version in ("1.1", "2.0"):
        assert exact_match(prediction, references, version=version) == exact
        assert f1(prediction, references, version=version) == pytest.approx(overlap, rel=1e-15)
    theirs = squad(
        [{"id": "x", "prediction_text": prediction}],
        [{"id": "x", "answers": {"text": references, "answer_start": [0] * len(references)}}],
    )
    assert theirs["exact_match"].item() == 100 * exact
    assert theirs["f1"].item() == pytest.approx(100 * overlap, rel=1e-6)


@pytest.mark.parametrize(
    ("prediction", "references", "first", "second"),
    [
        # The dev set has references such as "."; an empty normalised prediction equals them in 1.1.
        ("the", [".", "oil"], (1.0, 0.0), (0.0, 0.0)),
        (".", ["the"], (1.0, 0.0), (1.0, 1.0)),
        ("oil", ["."], (0.0, 0.0), (0.0, 0.0)),
        ("", [], (1.0, 1.0), (1.0, 1.0)),
        ("oil", [], (0.0, 0.0), (0.0, 0.0)),
    ],
)
def test_metrics_of_empty_answers(
    prediction: str, references: list[str], first: tuple[float, float], second: tuple[float, float]
) -> None:
    assert (exact_match(prediction, references), f1(prediction, references)) == first
    by_the_second = (
        exact_match(prediction, references, version="2.0"),
        f1(prediction, references, version="2.0"),
    )
    assert by_the_second == second


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0]),
            st.sampled_from([0.0, 0.25, 0.5, 1.0]),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_the_best_threshold(rows: list[tuple[float, float, bool]]) -> None:
    rows = [(doubt, score if answerable else 0.0, answerable) for doubt, score, answerable in rows]

    def score(threshold: float) -> float:
        kept = [s if doubt <= threshold else float(not answerable) for doubt, s, answerable in rows]
        return sum(kept) / len(rows)

    doubts = [row[0] for row in rows]
    found = best_threshold(*zip(*rows, strict=True))
    assert found.score == pytest.approx(score(found.value))
    assert found.score == pytest.approx(max(map(score, [-math.inf, *doubts])))
    assert found.value == min(doubts) or found.value < min(doubts) or found.value in doubts
    assert all(score(doubt) < found.score - 1e-12 for doubt in doubts if doubt < found.value)


def test_figures_of_batches() -> None:
    figures = AnswerFigures()
    figures.update(["the Broncos", "1973"], [["Broncos"], ["October 1973", "in 1974"]])
    figures.update(["oil"], [["gas"]])
    found = pickle.loads(pickle.dumps(figures)).compute()
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {"exact_match": 1 / 3, "f1": (1 + 2 / 3) / 3}
    )
    figures.reset()
    figures.update(["oil"], [["oil"]])
    assert figures.compute()["exact_match"] == 1


def test_figures_with_unanswerable_questions() -> None:
    figures = AnswerFigures("2.0")
    doubts = torch.tensor([-3.0, 2.0, -1.0, 0.5])
    figures.update(["oil", "gas", "coal", "wind power"], [["oil"], [], [], ["wind"]], doubts)
    found = {name: value.item() for name, value in figures.compute().items()}
    # The best threshold answers only the first question. Answering also the third and fourth would lose one
    # point and gain two thirds of a point.
    assert found == {"exact_match": 0.75, "f1": 0.75, "threshold": -3.0}
