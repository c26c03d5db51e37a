"""Generating with the state equals scoring the whole text again for each symbol, alone or in a batch."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch import nn

from sru_apps.decoding.continuation import Continuation, generate, read_prompts
from sru_apps.decoding.sampling import Sampler, Sampling
from sru_apps.tasks.lm.model import LanguageModel, LanguageModelConfig

PROMPT = [3, 1, 4, 1, 5]
PROMPTS = [PROMPT, [2], [7, 6, 5, 4, 3, 2, 1, 0], [8, 8, 1, 2, 3]]
OPTIONS = {"srupp": {"memory_length": 4, "projection_size": 4}, "lstm": {"tie_weights": True}}
WAYS = [
    Sampling(temperature=0),
    Sampling(temperature=0.8, top_k=6, top_p=0.9, repetition_penalty=1.3, forbidden=(0,)),
]


@pytest.fixture(params=["sru", "srupp", "lstm", "gru", "mingru", "gated-linear"])
def model(request):
    torch.manual_seed(0)
    config = LanguageModelConfig(
        vocab_size=9,
        encoder=request.param,
        embedding_size=6,
        hidden_size=8,
        initial_range=2.0,
        **OPTIONS.get(request.param, {}),
    )
    model = LanguageModel(config).double().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("alpha"):
            nn.init.constant_(parameter, 0.7)
    return model


@torch.inference_mode()
def recompute(model, prompt, sampling, seed, count):
    text = list(prompt)
    sampler = Sampler(sampling, [prompt], [seed], vocab_size=9, device=torch.device("cpu"))
    for _ in range(count):
        logits, _ = model(torch.tensor(text).unsqueeze(1))
        text.append(int(sampler.choose(logits[-1])))
    return text[len(prompt) :]


@pytest.mark.parametrize("sampling", WAYS, ids=["greedy", "sampled"])
def test_equals_recomputing_alone_and_in_any_batch(model, sampling):
    seeds = [5, 6, 7, 8]
    wanted = [recompute(model, p, sampling, s, 12) for p, s in zip(PROMPTS, seeds, strict=True)]
    together = Continuation(model, PROMPTS, sampling=sampling, seeds=seeds)
    columns = list(zip(*islice(together, 12), strict=True))
    assert [list(column) for column in columns] == wanted
    alone = Continuation(model, [PROMPT], sampling=sampling, seeds=5)
    assert [symbol for (symbol,) in islice(alone, 12)] == wanted[0]


def test_some_texts_go_on_alone(model):
    wanted = [recompute(model, prompt, Sampling(), 3, 9) for prompt in PROMPTS]
    texts = Continuation(model, PROMPTS, seeds=3)
    found = list(zip(*islice(texts, 4), strict=True))
    texts.keep([3, 1])
    rest = list(zip(*islice(texts, 5), strict=True))
    assert [*found[3], *rest[0]] == wanted[3]
    assert [*found[1], *rest[1]] == wanted[1]


def test_generate_continues_from_a_state(model):
    wanted = list(islice(generate(model, PROMPT, temperature=0), 8))
    _, state = read_prompts(model, [PROMPT[:3]])
    assert list(islice(generate(model, PROMPT[3:], temperature=0, state=state), 8)) == wanted
    # The last chosen symbol has not been read yet.
    texts = Continuation(model, [PROMPT], sampling=Sampling(temperature=0))
    first = [symbol for (symbol,) in islice(texts, 3)]
    assert [*first, *islice(generate(model, first[-1:], temperature=0, state=texts.state), 5)] == wanted


def test_the_seed_decides(model):
    def draw(seed):
        return list(islice(generate(model, PROMPT, temperature=2.0, seed=seed), 30))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_each_symbol_costs_one_step(model):
    lengths = []
    model.embedding.register_forward_hook(lambda _, args, __: lengths.append(args[0].numel()))
    list(islice(generate(model, PROMPT), 4))
    assert lengths == [5, 1, 1, 1]


def test_errors(model):
    with pytest.raises(ValueError, match="the prompt must hold at least one symbol, got none"):
        next(generate(model, []))
    with pytest.raises(ValueError, match="the prompt must hold at least one symbol, got none"):
        Continuation(model, [PROMPT, []])
    with pytest.raises(ValueError, match="temperature must be at least 0, got -1"):
        next(generate(model, PROMPT, temperature=-1))
    with pytest.raises(ValueError, match="the model must be in evaluation mode; call eval"):
        next(generate(model.train(), PROMPT))
