"""CTC decoders against the sum over all paths."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sru_apps.decoding.arpa import NGramModel
from sru_apps.decoding.ctc import Decoder, Greedy, PrefixBeam, TokenText, WordScorer

EVERYTHING = 10**6
# Blank, white space, two letters.
LETTERS = [TokenText(""), TokenText("", begins=True), TokenText("a"), TokenText("b")]
PIECES = [TokenText(""), TokenText("a", begins=True), TokenText("b"), TokenText("ab", begins=True)]
WORDS = [TokenText(""), *(TokenText(word, begins=True, ends=True) for word in ("a", "b", "ab"))]
NGRAMS = NGramModel(
    {"<s>": 0, "</s>": 1, "a": 2, "ab": 3, "<unk>": 4},
    {
        (0,): (-99.0, -0.3),
        (1,): (-0.9, 0.0),
        (2,): (-0.4, -0.2),
        (3,): (-1.1, 0.1),
        (4,): (-2.0, 0.0),
        (0, 3): (-0.1, 0.0),
        (2, 2): (-0.05, 0.0),
        (3, 1): (-0.2, 0.0),
    },
    order=2,
)


def outputs(seed: int, length: int, symbols: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(length, symbols, generator=generator)).log_softmax(-1)


def by_all_paths(log_probs: Tensor) -> dict[tuple[int, ...], float]:
    """Sum up the paths of each sequence of tokens."""
    total: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        probability = math.exp(sum(float(row[token]) for row, token in zip(log_probs, path, strict=True)))
        total[tuple(token for token, _ in itertools.groupby(path) if token)] += probability
    return total


@pytest.mark.parametrize("seed", range(3))
def test_a_beam_of_everything_finds_the_probability_of_every_sequence(seed: int) -> None:
    log_probs = outputs(seed, 5, 4)
    expected = by_all_paths(log_probs)
    beam = PrefixBeam(EVERYTHING, margin=math.inf)
    beam.feed(log_probs)
    found = {hypothesis.tokens: math.exp(hypothesis.log_prob) for hypothesis in beam.hypotheses()}
    assert found == pytest.approx(expected)
    assert sum(found.values()) == pytest.approx(1)
    best = max(expected, key=lambda tokens: expected[tokens])
    assert beam.hypotheses()[0].tokens == best


def words_of(tokens: tuple[int, ...], texts: list[TokenText]) -> list[str]:
    marked = "".join(f"{' ' * t.begins}{t.text}{' ' * t.ends}" for t in (texts[token] for token in tokens))
    return marked.split()


@pytest.mark.parametrize("texts", [LETTERS, PIECES, WORDS], ids=["letters", "pieces", "words"])
def test_a_language_model_adds_the_probability_of_the_words(texts: list[TokenText]) -> None:
    log_probs, weight, bonus, unknown = outputs(7, 5, 4), 0.8, 0.6, -1.5
    expected = {}
    for tokens, probability in by_all_paths(log_probs).items():
        words, context, score = words_of(tokens, texts), NGRAMS.start(), 0.0
        for word in words:
            log_prob, context = NGRAMS.score(context, word)
            score += log_prob
        score = weight * (score + NGRAMS.end(context)) + bonus * len(words)
        score += unknown * sum(word not in ("a", "ab") for word in words)
        expected[tokens] = math.log(probability) + score
    beam = PrefixBeam(
        EVERYTHING,
        scorer=WordScorer(NGRAMS, texts, weight=weight, bonus=bonus, unknown=unknown),
        margin=math.inf,
    )
    beam.feed(log_probs)
    assert {found.tokens: found.score for found in beam.hypotheses()} == pytest.approx(expected)
    assert beam.hypotheses()[0].tokens == max(expected, key=lambda tokens: expected[tokens])
    assert beam.finish() == list(beam.hypotheses()[0].tokens)


def test_a_prefix_of_no_known_word_is_dropped_at_once() -> None:
    closed = NGramModel({"</s>": 0, "ab": 1}, {(0,): (-0.3, 0.0), (1,): (-0.3, 0.0)}, order=1)
    log_probs = torch.tensor([[0.04, 0.01, 0.05, 0.9]] * 2 + [[0.04, 0.01, 0.9, 0.05]]).log()
    beam = PrefixBeam(2, scorer=WordScorer(closed, LETTERS, weight=1.0))
    assert set(words_of(tuple(beam.feed(log_probs) + beam.finish()), LETTERS)) <= {"ab"}


def test_a_beam_sums_up_paths_where_the_best_path_misleads() -> None:
    # The best path is two blanks, 0.36; the paths that spell one token sum to 0.64.
    log_probs = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()
    assert Greedy().feed(log_probs) == []
    beam = PrefixBeam(2)
    assert beam.feed(log_probs) + beam.finish() == [1]


def test_the_best_path_loses_repetitions_and_blanks() -> None:
    path = [0, 1, 1, 0, 1, 2, 2, 0, 0, 2]
    assert Greedy().feed(torch.eye(3)[path]) == [1, 1, 2, 2]


DECODERS = {
    "greedy": Greedy,
    "beam": lambda: PrefixBeam(4),
    "words": lambda: PrefixBeam(4, scorer=WordScorer(NGRAMS, LETTERS, weight=0.7)),
}


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=15)
@given(seed=st.integers(0, 99), cuts=st.lists(st.integers(0, 30), max_size=6))
def test_pieces_of_any_size_give_the_tokens_of_the_whole(name: str, seed: int, cuts: list[int]) -> None:
    log_probs = outputs(seed, 30, 4)
    whole: Decoder = DECODERS[name]()
    pieces: Decoder = DECODERS[name]()
    expected = whole.feed(log_probs) + whole.finish()
    places = [0, *sorted(cuts), 30]
    found = [
        token
        for first, last in itertools.pairwise(places)
        if first < last
        for token in pieces.feed(log_probs[first:last])
    ]
    assert found + pieces.finish() == expected


def test_tokens_are_decided_where_all_hypotheses_agree() -> None:
    sure = torch.tensor([[0.01, 0.98, 0.01], [0.98, 0.01, 0.01]]).log()
    open_end = torch.tensor([[0.3, 0.3, 0.4]]).log()
    beam = PrefixBeam(8, margin=3.0)
    assert beam.feed(sure) == [1]
    assert beam.feed(open_end) == []
    assert beam.finish() == [2]
