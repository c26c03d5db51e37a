"""Continuing texts with a language model: a text is read once, and each further symbol costs one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from sru_apps.decoding.sampling import Sampler, Sampling
from sru_apps.nn import State, concatenate_states, select_streams

Network = Any
"""A language model with `read`, `step` and `config.vocab_size`: `sru_apps.tasks.lm.model.LanguageModel`."""


class Continuation(Iterator[list[int]]):
    """Texts continued symbol by symbol, as a batch, for as long as the caller iterates.

    No text depends on the others in the batch, whatever their lengths: they are read without padding, and
    each has its own seed.

    Args:
        network: The model, in evaluation mode.
        prompts: The symbols of each text, at least one.
        sampling: How symbols are chosen.
        seeds: One seed per text, or one for all.
        state: State from an earlier text, if any.

    Attributes:
        state: State after all symbols except those returned by the last call of `next`.

    Raises:
        ValueError: A prompt is empty, or the model is in training mode.
    """

    def __init__(
        self,
        network: Network,
        prompts: Sequence[Sequence[int]],
        *,
        sampling: Sampling | None = None,
        seeds: int | Sequence[int] = 0,
        state: State | None = None,
    ) -> None:
        if not prompts or not all(map(len, prompts)):
            raise ValueError("generate: the prompt must hold at least one symbol, got none")
        if network.training:
            raise ValueError("generate: the model must be in evaluation mode; call eval() first")
        self.network = network
        # A symbol is read when the next one is requested, so the last one need not be read.
        self._logits, self.state = read_prompts(network, prompts, state)
        self._sampler = Sampler(
            sampling or Sampling(),
            prompts,
            [seeds] * len(prompts) if isinstance(seeds, int) else seeds,
            vocab_size=network.config.vocab_size,
            device=self._logits.device,
        )
        self._symbols = torch.empty(0)

    @torch.inference_mode()
    def __next__(self) -> list[int]:
        """Return the next symbol of each text; the iterator never ends."""
        if len(self._symbols):
            self._logits, self.state = self.network.step(self._symbols, self.state)
        self._symbols = self._sampler.choose(self._logits)
        return self._symbols.tolist()

    @torch.inference_mode()
    def keep(self, index: Sequence[int]) -> None:
        """Keep only some of the texts.

        Args:
            index: The indices of the texts to keep, at least one, in their present order.
        """
        chosen = torch.tensor(index, device=self._symbols.device)
        self.state = select_streams(self.state, chosen)
        self._symbols = self._symbols[chosen]
        self._sampler.keep(index)


def generate(
    model: Network,
    prompt: Sequence[int],
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    seed: int = 0,
    state: State | None = None,
) -> Iterator[int]:
    """Continue a text, symbol by symbol, for as long as the caller iterates.

    Args:
        model: The model, in evaluation mode.
        prompt: At least one symbol.
        temperature: As in `Sampling`; 0 takes the most likely symbol.
        top_k: As in `Sampling`.
        top_p: As in `Sampling`.
        repetition_penalty: As in `Sampling`.
        seed: Seed of the sampling.
        state: State from before the prompt, if any.

    Yields:
        The next symbol.

    Raises:
        ValueError: The prompt is empty, a number is out of its range, or the model is in training mode.
    """
    sampling = Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=repetition_penalty
    )
    for (symbol,) in Continuation(model, [prompt], sampling=sampling, seeds=seed, state=state):
        yield symbol


@torch.inference_mode()
def read_prompts(
    network: Network, prompts: Sequence[Sequence[int]], state: State | None = None
) -> tuple[Tensor, State]:
    """Read texts of any lengths without padding, batching those of equal length.

    Args:
        network: The model, in evaluation mode.
        prompts: B texts of at least one symbol.
        state: State from earlier texts, if any.

    Returns:
        logits: (B, V), the scores of the next symbol of each text.
        state: Of the B streams.
    """
    device = next(network.parameters()).device
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    read = []
    for _, group in groupby(order, key=lambda row: len(prompts[row])):
        rows = torch.tensor(list(group), device=device)
        ids = torch.tensor([list(prompts[row]) for row in rows], device=device).t()
        read.append(network.read(ids, select_streams(state, rows)))
    logits, states = zip(*read, strict=True)
    place = torch.tensor(order, device=device).argsort()
    return torch.cat(logits)[place], select_streams(concatenate_states(states), place)
