"""Choices follow the distribution that the options describe."""

from __future__ import annotations

import math
from itertools import repeat

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_apps.decoding.sampling import Sampler, Sampling

LOGITS = torch.tensor([0.3, -1.0, 2.0, 0.0, 1.0, -0.5])


def sampler(texts=((),), seeds=(0,), **options):
    return Sampler(Sampling(**options), texts, seeds, vocab_size=6, device=torch.device("cpu"))


def frequencies(draws=3000, **options):
    one = sampler(**options)
    symbols = torch.cat([one.choose(LOGITS.unsqueeze(0)) for _ in range(draws)])
    return torch.bincount(symbols, minlength=6) / draws


def test_draws_follow_the_distribution():
    wanted = torch.softmax(LOGITS / 0.7, -1)
    torch.testing.assert_close(frequencies(temperature=0.7), wanted, atol=0.04, rtol=0)


def test_top_k_keeps_the_likeliest():
    wanted = torch.zeros(6)
    wanted[[2, 4]] = torch.softmax(LOGITS[[2, 4]], -1)
    torch.testing.assert_close(frequencies(top_k=2), wanted, atol=0.04, rtol=0)
    assert frequencies(draws=50, top_k=1)[2] == 1
    assert sampler(top_k=100).choose(LOGITS.unsqueeze(0)).shape == (1,)


@settings(max_examples=20)
@given(top_p=st.floats(0.01, 1.0))
def test_top_p_keeps_the_smallest_set_with_that_probability(top_p):
    probabilities = torch.softmax(LOGITS.double(), -1)
    order = probabilities.argsort(descending=True).tolist()
    kept, mass = [], 0.0
    for symbol in order:
        if mass >= top_p:
            break
        kept.append(symbol)
        mass += float(probabilities[symbol])
    drawn = frequencies(draws=100, top_p=top_p).nonzero().flatten().tolist()
    assert set(drawn) <= set(kept)
    assert kept[0] in drawn


@pytest.mark.parametrize(
    ("options", "first", "last"), [({}, 0, 5), ({"top_k": 3}, 2, 0), ({"top_p": 0.7}, 2, 4)]
)
def test_the_end_of_the_distribution_is_reached_but_not_passed(options, first, last):
    one = sampler(**options)
    for number, symbol in ((1 - 2**-53, last), (0.0, first)):
        one._numbers[0] = repeat(number)
        assert int(one.choose(LOGITS.unsqueeze(0))) == symbol


def test_repetition_penalty_is_that_of_ctrl():
    logits = torch.tensor([[1.0, -1.0, 2.0, -3.0, 0.5, -0.9]])
    # Symbol 2 is in the text: 2.0 / 3 < 1.0. Then symbol 0 is too: 1.0 / 3 < 2.0 / 3.
    one = sampler(texts=((2,),), temperature=0, repetition_penalty=3.0)
    assert [int(one.choose(logits)) for _ in range(3)] == [0, 2, 2]
    negative = torch.tensor([[-9.0, -1.0, -9.0, -9.0, -9.0, -2.5]])
    one = sampler(texts=((1,),), temperature=0, repetition_penalty=3.0)
    assert int(one.choose(negative)) == 5


@pytest.mark.parametrize("penalty", [1e-300, 1e300])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_an_extreme_penalty(penalty, temperature):
    one = sampler(texts=((2, 1),), temperature=temperature, repetition_penalty=penalty, forbidden=(0,))
    found = {int(one.choose(LOGITS.unsqueeze(0))) for _ in range(20)}
    # As good as zero or infinite, it leaves one order: the positive symbols last, or first and then alone.
    assert found == ({2} if penalty < 1 else found - {0, 1})


def test_forbidden_symbols_are_never_chosen():
    assert int(sampler(temperature=0, forbidden=(2,)).choose(LOGITS.unsqueeze(0))) == 4
    assert frequencies(draws=200, forbidden=(2, 4))[[2, 4]].sum() == 0
    assert Sampling(forbidden=(1,)).without(2).forbidden == (1, 2)


def test_logits_are_left_as_they_are():
    logits = LOGITS.clone().unsqueeze(0)
    sampler(texts=((2,),), repetition_penalty=2.0, forbidden=(0,), top_p=0.5).choose(logits)
    assert torch.equal(logits[0], LOGITS)


def test_each_text_has_its_own_seed():
    logits = LOGITS.expand(3, 6)
    together = sampler(texts=((), (), ()), seeds=(5, 6, 5))
    rows = torch.stack([together.choose(logits) for _ in range(100)])
    assert torch.equal(rows[:, 0], rows[:, 2])
    assert not torch.equal(rows[:, 0], rows[:, 1])
    alone = sampler(seeds=(6,))
    assert torch.equal(torch.cat([alone.choose(logits[:1]) for _ in range(100)]), rows[:, 1])


def test_keep():
    one = sampler(texts=((0,), (1,), (2,)), seeds=(0, 1, 2), temperature=0, repetition_penalty=1e9)
    one.keep([2, 0])
    assert one.choose(torch.tensor([[0.5, 0.1, 1.0, 0, 0, 0]] * 2)).tolist() == [0, 2]


def test_a_tiny_temperature_is_greedy():
    assert frequencies(draws=20, temperature=1e-300)[2] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be at least 0, got -1.0"),
        ({"temperature": math.inf}, "temperature must be finite, got inf"),
        ({"repetition_penalty": math.inf}, "repetition_penalty must be finite, got inf"),
        ({"temperature": math.nan}, "temperature must be at least 0, got nan"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1, got 1.5"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be above 0, got 0.0"),
    ],
)
def test_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**options)
