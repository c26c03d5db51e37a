"""Beam search equals exhaustive search, and a plain implementation for one sentence."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sru_apps.decoding import beam as searching
from sru_apps.decoding.beam import Beam, beam_search
from sru_apps.decoding.hypotheses import Constraints

from .toy import BOS, EOS, FREE, Toy, sentences

PENALTIES = {
    "none": lambda length, alpha: 1,
    "average": lambda length, alpha: length**alpha,
    "gnmt": lambda length, alpha: ((5 + length) / 6) ** alpha,
}


class Alone:
    """The log-probabilities of what follows a sequence, for one sentence."""

    def __init__(self, model: Toy, memory: Tensor, state: Tensor) -> None:
        self._model, self._memory = model, memory
        self._known: dict[tuple[int, ...], tuple[list[float], list[float], Tensor]] = {}
        self._read((), BOS, state)

    def _read(self, text: tuple[int, ...], symbol: int, state: Tensor) -> None:
        logits, attention, state = self._model.step(torch.tensor([symbol]), state, self._memory)
        self._known[text] = logits[0].log_softmax(-1).tolist(), attention[0].tolist(), state

    def after(self, text: tuple[int, ...]) -> tuple[list[float], list[float]]:
        if text not in self._known:
            self.after(text[:-1])
            self._read(text, text[-1], self._known[text[:-1]][2])
        return self._known[text][:2]

    def log_prob(self, text: tuple[int, ...]) -> float:
        return sum(self.after(text[:place])[0][symbol] for place, symbol in enumerate((*text, EOS)))


class Limits:
    """The constraints of one sentence's hypotheses."""

    def __init__(self, most: int, least: int = 0, prefix: tuple[int, ...] = (), forbidden: Any = ()) -> None:
        self.most, self.least, self.prefix, self.forbidden = most, least, prefix, forbidden
        self.free = [symbol for symbol in range(FREE) if symbol not in forbidden]

    def allowed(self, text: tuple[int, ...]) -> list[int]:
        if len(text) < len(self.prefix):
            return [self.prefix[len(text)]]
        if len(text) == self.most:
            return [EOS]
        return [*self.free, EOS] if len(text) >= self.least else self.free


def everything(alone: Alone, beam: Beam, limits: Limits) -> list[tuple[float, tuple[int, ...]]]:
    """Score every sequence, the best first."""
    penalty = PENALTIES[beam.length_penalty]
    found = []
    for length in range(limits.most + 1):
        for text in product(range(FREE), repeat=length):
            if all(symbol in limits.allowed(text[:i]) for i, symbol in enumerate((*text, EOS))):
                found.append((alone.log_prob(text) / penalty(length + 1, beam.alpha), text))
    return sorted(found, reverse=True)


def written_out(alone: Alone, beam: Beam, limits: Limits) -> list[tuple[float, tuple[int, ...]]]:
    """Search as documented, without stopping early."""
    penalty = PENALTIES[beam.length_penalty]
    live, ended = [(0.0, ())], []
    for length in range(limits.most + 1):
        new = [
            (total + alone.after(text)[0][symbol], (*text, symbol))
            for total, text in live
            for symbol in limits.allowed(text)
        ]
        new = sorted(new, reverse=True)[: 2 * beam.size]
        ended += [
            (total / penalty(length + 1, beam.alpha), text[:-1])
            for total, text in new[: beam.size]
            if text[-1] == EOS
        ]
        live = [row for row in new if row[1][-1] != EOS][: beam.size]
        if len(ended) >= beam.size:
            break
    return sorted(ended, reverse=True)[: beam.n_best]


def search(
    model: Toy, memory: Tensor, state: Tensor, beam: Beam, limits: list[Limits], **options: Any
) -> Any:
    constraints = Constraints(
        bos_id=BOS,
        eos_id=EOS,
        max_lengths=[limit.most for limit in limits],
        min_length=limits[0].least,
        prefixes=[limit.prefix for limit in limits],
        forbidden=limits[0].forbidden,
    )
    return beam_search(model, memory, state, constraints, beam, **options)


def check(found: Any, expected: list[tuple[float, tuple[int, ...]]], alone: Alone, limits: Limits) -> None:
    assert [tuple(hypothesis.ids) for hypothesis in found] == [text for _, text in expected]
    for hypothesis, (score, text) in zip(found, expected, strict=True):
        assert hypothesis.score == pytest.approx(score, abs=1e-12)
        assert hypothesis.log_prob == pytest.approx(alone.log_prob(text), abs=1e-12)
        after = alone.after(text)[0]
        best = max(after[symbol] for symbol in (*limits.free, EOS))
        assert hypothesis.cut == (len(text) == limits.most and best != after[EOS])


rankings = st.builds(
    Beam,
    size=st.just(60),
    n_best=st.sampled_from([1, 3, 60]),
    length_penalty=st.sampled_from(sorted(PENALTIES)),
    alpha=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
)


@given(
    rankings,
    st.integers(0, 99),
    st.lists(st.integers(2, 3), min_size=2, max_size=3),
    st.integers(0, 2),
    st.lists(st.integers(0, FREE - 1), max_size=2),
    st.sampled_from([(), (1,)]),
)
@settings(max_examples=30, deadline=None)
def test_a_wide_beam_equals_trying_everything(
    beam: Beam, seed: int, most: list[int], least: int, prefix: list[int], forbidden: tuple[int, ...]
) -> None:
    model = Toy(seed)
    memory, state = sentences(len(most), seed)
    # Each sentence has a different prefix.
    limits = [Limits(limit, least, tuple(prefix[:row]), forbidden) for row, limit in enumerate(most)]
    found = search(model, memory, state, beam, limits)
    for row, limit in enumerate(limits):
        alone = Alone(model, memory[:, row : row + 1], state[:, row : row + 1])
        check(found[row], everything(alone, beam, limit)[: beam.n_best], alone, limit)


beams = st.integers(1, 5).flatmap(
    lambda size: st.builds(
        Beam,
        size=st.just(size),
        n_best=st.integers(1, size),
        length_penalty=st.sampled_from(sorted(PENALTIES)),
        alpha=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
    )
)


@given(beams, st.integers(0, 99), st.permutations(range(5)), st.integers(1, 5), st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_a_narrow_beam_equals_the_search_of_each_sentence_alone(
    beam: Beam, seed: int, order: list[int], count: int, least: int
) -> None:
    model, rows = Toy(seed), order[:count]
    memory, state = (part[:, rows] for part in sentences(5, seed))
    limits = [Limits(2 + 2 * row, least, (0, 1)[: row % 3]) for row in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "_BLOCK", 2)
        found = search(model, memory, state, beam, limits)
    for place, limit in enumerate(limits):
        alone = Alone(model, memory[:, place : place + 1], state[:, place : place + 1])
        check(found[place], written_out(alone, beam, limit), alone, limit)


def test_the_best_of_many_symbols_are_found_wherever_they_are() -> None:
    generator = torch.Generator().manual_seed(0)
    totals = torch.randn(40, 2, 101, generator=generator)
    best, hypotheses, symbols = searching._best(totals, 2)
    torch.testing.assert_close(best, totals.flatten(1).topk(2).values, rtol=0, atol=0)
    rows = torch.arange(40).unsqueeze(1)
    torch.testing.assert_close(totals[rows, hypotheses, symbols], best, rtol=0, atol=0)
    # Also after the last whole block.
    assert (hypotheses * 101 + symbols).max() >= 3 * searching._BLOCK


def test_attention_is_that_of_the_hypothesis() -> None:
    model, (memory, state) = Toy(3), sentences(4, 3)
    limits = [Limits(most) for most in (3, 5, 2, 6)]
    found = search(model, memory, state, Beam(size=4, n_best=4), limits, keep_attention=True)
    for row, hypotheses in enumerate(found):
        alone = Alone(model, memory[:, row : row + 1], state[:, row : row + 1])
        for hypothesis in hypotheses:
            text = tuple(hypothesis.ids)
            expected = [alone.after(text[:place])[1] for place in range(len(text) + 1)]
            torch.testing.assert_close(hypothesis.attention.tolist(), expected)
    assert search(model, memory, state, Beam(), limits)[0][0].attention is None


def test_a_symbol_costs_one_step_and_a_finished_sentence_none() -> None:
    model, (memory, state) = Toy(5), sentences(6, 5)
    limits = [Limits(most) for most in (9, 1, 4, 9, 2, 6)]
    found = search(model, memory, state, Beam(size=1), limits)
    sizes = [len(ids) for ids, *_ in model.calls]
    lengths = [len(hypotheses[0].ids) for hypotheses in found]
    # One step more than symbols: the last one finds the end.
    assert sizes == [sum(length >= step for length in lengths) for step in range(max(lengths) + 1)]
    assert len(set(lengths)) > 2
    model.calls.clear()
    search(model, memory, state, Beam(size=3), limits)
    assert [len(ids) for ids, *_ in model.calls][:2] == [6, 3 * 6]
    for ids, states, kept in model.calls[1:]:
        assert len(ids) == states.shape[1] == 3 * kept.shape[1]


def test_states_and_memory_are_moved_only_where_they_must_be() -> None:
    model, (memory, state) = Toy(5), sentences(6, 5)
    returned, step = [], model.step
    model.step = lambda *args: returned.append(step(*args)) or returned[-1]
    found = search(model, memory, state, Beam(size=1), [Limits(most) for most in (9, 1, 4, 9, 2, 6)])
    lengths = [len(hypotheses[0].ids) for hypotheses in found]
    for number, (before, after) in enumerate(zip(returned, model.calls[1:], strict=False)):
        stays = number not in lengths
        assert (after[1] is before[2]) == stays
        assert (after[2] is model.calls[number][2]) == stays


def test_it_ends_where_nothing_better_can_come(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {}
    for stops in (True, False):
        with monkeypatch.context() as patch:
            if not stops:
                patch.setattr(
                    searching._Ended, "is_settled", lambda self, rows, best: torch.zeros_like(rows).bool()
                )
            model, found = Toy(8), []
            for penalty in PENALTIES:
                memory, state = sentences(5, 8)
                beam = Beam(size=5, n_best=2, length_penalty=penalty)
                found.append(search(model, memory, state, beam, [Limits(8)] * 5))
        calls[stops] = (sum(len(ids) for ids, *_ in model.calls), found)
    assert calls[True][1] == calls[False][1]
    assert calls[True][0] < calls[False][0]


def test_a_hypothesis_that_never_ends_is_cut() -> None:
    model, (memory, state) = Toy(1), sentences(2, 1)
    model.step = _never(model.step)
    (first,), (second,) = search(model, memory, state, Beam(size=3), [Limits(4), Limits(7)])
    assert (len(first.ids), first.cut, len(second.ids), second.cut) == (4, True, 7, True)
    # A hypothesis of the maximum length that would end there anyway is not cut.
    model = Toy(1)
    free = search(model, memory, state, Beam(size=1), [Limits(50)] * 2)
    exact = search(model, memory, state, Beam(size=1), [Limits(len(best.ids)) for (best,) in free])
    assert exact == free
    assert not any(best.cut for (best,) in free)


def _never(step: Any) -> Any:
    def without_end(*args: Any) -> Any:
        logits, *rest = step(*args)
        logits[:, EOS] = -50
        return (logits, *rest)

    return without_end


def test_no_finite_score_is_no_hypothesis() -> None:
    model, (memory, state) = Toy(1), sentences(2, 1)
    memory[:, 1] = float("nan")
    (first,), (second,) = search(model, memory, state, Beam(size=3), [Limits(4)] * 2)
    assert first.score < 0
    assert (second.ids, second.cut) == ([], False)
    assert second.score != second.score
    assert (
        beam_search(model, memory[:, :0], state[:, :0], Constraints(bos_id=3, eos_id=4, max_lengths=[])) == []
    )


def test_errors() -> None:
    with pytest.raises(ValueError, match="n_best must be at most the size of the beam, 2, got 3"):
        Beam(size=2, n_best=3)
    with pytest.raises(ValueError, match="length_penalty must be one of average, gnmt, none, got 'wu'"):
        Beam(length_penalty="wu")
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        Beam(size=0)
    for alpha in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"alpha must be at least 0 and at most 10, got {alpha}"):
            Beam(alpha=alpha)
    sides: dict[str, Any] = {"bos_id": BOS, "eos_id": EOS}
    with pytest.raises(ValueError, match="max_length must be at least min_length = 3, got 2"):
        Constraints(**sides, max_lengths=[5, 2], min_length=3)
    with pytest.raises(ValueError, match="max_length must be at least the prefix, 2, got 1"):
        Constraints(**sides, max_lengths=[1], prefixes=[[0, 1]])
    model, (memory, state) = Toy(0), sentences(1)
    with pytest.raises(ValueError, match="beam_search: the model must be in evaluation mode; call eval"):
        beam_search(model.train(), memory, state, Constraints(**sides, max_lengths=[1]))
