"""Sampling from a decoder, many sentences at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sru_apps.decoding.hypotheses import Constraints, History, Hypothesis, StepModel, collect
from sru_apps.decoding.sampling import Sampler, Sampling
from sru_apps.nn import State, select_streams


@torch.inference_mode()
def draw_hypotheses(
    network: StepModel,
    memory: Any,
    state: State,
    constraints: Constraints,
    sampling: Sampling,
    *,
    seeds: Sequence[int],
    samples: int = 1,
    keep_attention: bool = False,
) -> list[list[Hypothesis]]:
    """Draw hypotheses for each of B sentences.

    Each sample has its own seed: SEED, SEED + 1, ... for the samples of a sentence. None depends on the
    others.

    Args:
        network: The decoder, in evaluation mode.
        memory: The encoder's output for the sentences, with B streams.
        state: The decoder's first state, of B streams.
        constraints: Which hypotheses are allowed.
        sampling: How symbols are chosen.
        seeds: One per sentence.
        samples: Hypotheses per sentence.
        keep_attention: Whether to return the attention of the hypotheses.

    Returns:
        The hypotheses of each sentence, in the order of their seeds. Their scores are the log-probabilities
        of the model itself, without `sampling` and constraints.

    Raises:
        ValueError: The model is in training mode.
    """
    if network.training:
        raise ValueError("draw_hypotheses: the model must be in evaluation mode; call eval() first")
    if not len(constraints):
        return []
    device = next(iter(network.parameters())).device
    sentences = torch.arange(len(constraints), device=device).repeat_interleave(samples)
    memory, state = select_streams(memory, sentences), select_streams(state, sentences)
    seeds = [seed + number for seed in seeds for number in range(samples)]
    draws = torch.arange(len(sentences), device=device)
    ids = torch.full_like(draws, constraints.bos_id)
    history, ends = History(len(draws), 1), torch.zeros_like(draws)
    is_cut = torch.zeros_like(draws, dtype=torch.bool)
    sampler = totals = None
    for step in range(constraints.steps):
        logits, attention, state = network.step(ids, state, memory)
        log_probs = logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
        # The sampler's penalty depends on the signs of the scores, which log-probabilities do not have.
        scores = logits.to(log_probs.dtype, copy=True).unsqueeze(1)
        if sampler is None or totals is None:
            sampler = Sampler(sampling, [()] * len(draws), seeds, vocab_size=logits.shape[1], device=device)
            totals = log_probs.new_zeros(len(draws))
        cut = constraints.apply(scores, step, sentences).squeeze(1)
        ids = sampler.choose(scores.squeeze(1))
        totals[draws] += log_probs.gather(1, ids.unsqueeze(1)).squeeze(1)
        weights = attention.unsqueeze(1) if keep_attention and attention is not None else None
        history.add(draws, torch.zeros_like(ids).unsqueeze(1), ids.unsqueeze(1), weights)
        is_end = ids == constraints.eos_id
        ends[draws[is_end]] = step
        is_cut[draws[is_end]] = cut[is_end]
        going = (~is_end).nonzero().squeeze(1)
        if not len(going):
            break
        if len(going) < len(ids):
            draws, sentences, ids = draws[going], sentences[going], ids[going]
            memory, state = select_streams(memory, going), select_streams(state, going)
            sampler.keep(going.tolist())
    assert totals is not None
    ends, is_cut, scores = ends.unsqueeze(1), is_cut.unsqueeze(1), totals.unsqueeze(1)
    slots = torch.zeros_like(ends)
    found = collect(history, ends=ends, slots=slots, scores=scores, log_probs=scores, cut=is_cut)
    firsts = range(0, len(found), samples)
    return [[drawn for (drawn,) in found[first : first + samples]] for first in firsts]
