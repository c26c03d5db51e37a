"""Drawn sequences depend only on their own seed and sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sru_apps.decoding.beam import Beam, beam_search
from sru_apps.decoding.draws import draw_hypotheses
from sru_apps.decoding.hypotheses import Constraints
from sru_apps.decoding.sampling import Sampler, Sampling

from .toy import BOS, EOS, Toy, sentences

LIMITS, PREFIXES = [6, 9, 3, 8], [[], [0, 1], [2], []]
SAMPLING = Sampling(temperature=1.3, top_p=0.95, repetition_penalty=1.2)


def constraints(rows: Any = range(4)) -> Constraints:
    return Constraints(
        bos_id=BOS,
        eos_id=EOS,
        max_lengths=[LIMITS[row] for row in rows],
        min_length=2,
        prefixes=[PREFIXES[row] for row in rows],
        forbidden=(1,),
    )


def draw(model: Toy, memory: Tensor, state: Tensor, rows: Any, **options: Any) -> Any:
    rows = list(rows)
    return draw_hypotheses(model, memory[:, rows], state[:, rows], constraints(rows), **options)


def alone(model: Toy, memory: Tensor, state: Tensor, row: int, seed: int) -> tuple[list[int], float]:
    """Draw symbol by symbol."""
    ids: list[int] = []
    total = 0.0
    sampler = Sampler(SAMPLING, [()], [seed], vocab_size=5, device=torch.device("cpu"))
    symbol, state = BOS, state[:, row : row + 1]
    while symbol != EOS:
        logits, _, state = model.step(torch.tensor([symbol]), state, memory[:, row : row + 1])
        only = [*PREFIXES[row], *[None] * 99][len(ids)] if len(ids) < LIMITS[row] else EOS
        barred = [1, BOS] if len(ids) >= 2 else [1, BOS, EOS]
        barred = barred if only is None else [index for index in range(5) if index != only]
        symbol = int(sampler.choose(logits.index_fill(1, torch.tensor(barred), -torch.inf)))
        total += float(logits.log_softmax(-1)[0, symbol])
        ids.append(symbol)
    return ids[:-1], total


def test_equals_drawing_alone_in_any_batch() -> None:
    model, (memory, state) = Toy(2), sentences(4, 2)
    seeds = [7, 7, 8, 11]
    found = draw(
        model, memory, state, range(4), sampling=SAMPLING, seeds=seeds, samples=3, keep_attention=True
    )
    for row, (hypotheses, seed) in enumerate(zip(found, seeds, strict=True)):
        for sample, hypothesis in enumerate(hypotheses):
            ids, total = alone(model, memory, state, row, seed + sample)
            assert hypothesis.ids == ids
            assert hypothesis.log_prob == hypothesis.score == pytest.approx(total, abs=1e-12)
            assert hypothesis.attention.shape == (len(ids) + 1, 4)
    again = draw(model, memory, state, [3, 1], sampling=SAMPLING, seeds=[11, 7])
    assert [hypotheses[0].ids for hypotheses in again] == [found[3][0].ids, found[1][0].ids]
    assert found[0][0].ids != found[0][1].ids


def test_a_symbol_costs_one_step() -> None:
    model, (memory, state) = Toy(2), sentences(4, 2)
    found = draw(model, memory, state, range(4), sampling=SAMPLING, seeds=[0] * 4, samples=2)
    lengths = [len(hypothesis.ids) for hypotheses in found for hypothesis in hypotheses]
    assert sum(len(ids) for ids, *_ in model.calls) == sum(lengths) + len(lengths)


def test_without_a_temperature_it_is_greedy() -> None:
    model, (memory, state) = Toy(4), sentences(4, 4)
    found = draw(model, memory, state, range(4), sampling=Sampling(temperature=0), seeds=[0] * 4)
    greedy = beam_search(model, memory, state, constraints(), Beam(size=1))
    assert [(h.ids, h.cut) for (h,) in found] == [(h.ids, h.cut) for (h,) in greedy]


def test_it_needs_evaluation_mode() -> None:
    with pytest.raises(ValueError, match="draw_hypotheses: the model must be in evaluation mode; call eval"):
        draw(Toy(0).train(), *sentences(4), range(4), sampling=SAMPLING, seeds=[0] * 4)
    assert draw(Toy(0), *sentences(4), [], sampling=SAMPLING, seeds=[]) == []
