"""Sampling with the state equals scoring the whole text again for each symbol."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from sru_apps.language_modelling.generate import generate
from sru_apps.language_modelling.model import RecurrentLanguageModel

PROMPT = [3, 1, 4, 1, 5]


@pytest.fixture(params=["sru", "lstm", "gru"])
def model(request):
    torch.manual_seed(0)
    return RecurrentLanguageModel(9, encoder=request.param, embedding_size=6, hidden_size=8).eval()


def test_greedy_equals_recomputing(model):
    text = list(PROMPT)
    for symbol in islice(generate(model, PROMPT, temperature=0), 12):
        logits, _ = model(torch.tensor(text).unsqueeze(1))
        assert symbol == int(logits[-1, 0].argmax())
        text.append(symbol)


def test_draws_follow_the_distribution(model):
    logits, _ = model(torch.tensor(PROMPT).unsqueeze(1))
    expected = torch.softmax(logits[-1, 0] / 0.5, -1)
    draws = [next(generate(model, PROMPT, temperature=0.5, seed=seed)) for seed in range(600)]
    actual = torch.bincount(torch.tensor(draws), minlength=9) / len(draws)
    torch.testing.assert_close(actual, expected, atol=0.06, rtol=0)


def test_the_seed_decides(model):
    def draw(seed: int) -> list[int]:
        return list(islice(generate(model, PROMPT, seed=seed), 30))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_each_symbol_costs_one_step(model):
    lengths = []
    model.embedding.register_forward_hook(lambda _, args, __: lengths.append(len(args[0])))
    list(islice(generate(model, PROMPT), 4))
    assert lengths == [5, 1, 1, 1]


def test_errors(model):
    with pytest.raises(ValueError, match="the prompt must hold at least one symbol, got none"):
        next(generate(model, []))
    with pytest.raises(ValueError, match="temperature must be at least 0, got -1"):
        next(generate(model, PROMPT, temperature=-1))
