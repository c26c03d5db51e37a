"""Continuing texts with a language model: a text is read once, and each symbol after it costs one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sru_apps.encoders import State, concatenate_states, select_streams
from sru_apps.language_modelling.model import LanguageModel
from sru_apps.language_modelling.sampling import Sampler, Sampling


class Continuation:
    """Texts that go on symbol by symbol, side by side, for as long as the caller asks.

    No text depends on the others in the batch, whatever their lengths: they are read without padding, and
    each has a seed of its own.

    Args:
        network: The model, in evaluation mode.
        prompts: The symbols of each text, at least one.
        sampling: How symbols are chosen.
        seeds: One seed for each text, or one for all.
        state: What the network has read before, if anything.

    Attributes:
        state: What the network has read: all but the symbols of the last call of `next`.

    Raises:
        ValueError: When a prompt is empty, or the model is in training mode.
    """

    def __init__(
        self,
        network: LanguageModel,
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
        device = next(network.parameters()).device
        logits, self.state = read_prompts(network, prompts, state)
        self._sampler = Sampler(
            sampling or Sampling(),
            prompts,
            [seeds] * len(prompts) if isinstance(seeds, int) else seeds,
            vocab_size=network.config.vocab_size,
            device=device,
        )
        # A symbol is read when the one after it is asked for: the last one need not be read.
        self._logits: Tensor | None = logits
        self._symbols = torch.empty(0)

    def __iter__(self) -> Iterator[list[int]]:
        """Return itself; there is no end."""
        return self

    @torch.inference_mode()
    def __next__(self) -> list[int]:
        """Return the next symbol of each text."""
        if self._logits is None:
            self._logits, self.state = self.network.step(self._symbols, self.state)
        self._symbols = self._sampler.choose(self._logits)
        self._logits = None
        return self._symbols.tolist()

    @torch.inference_mode()
    def keep(self, index: Sequence[int]) -> None:
        """Go on with some of the texts.

        Args:
            index: Which, at least one, in their present order.
        """
        chosen = torch.tensor(index, device=self._symbols.device)
        self.state = select_streams(self.state, chosen)
        self._symbols = self._symbols[chosen]
        self._sampler.keep(index)


def generate(
    model: LanguageModel,
    prompt: Sequence[int],
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    seed: int = 0,
    state: State | None = None,
) -> Iterator[int]:
    """Continue a text, symbol by symbol, for as long as the caller reads.

    Args:
        model: The model, in evaluation mode.
        prompt: At least one symbol.
        temperature: As in `Sampling`; 0 takes the likeliest symbol.
        top_k: As in `Sampling`.
        top_p: As in `Sampling`.
        repetition_penalty: As in `Sampling`.
        seed: Of the draws.
        state: What the model has read before the prompt, if anything.

    Yields:
        The next symbol.

    Raises:
        ValueError: When the prompt is empty, a number is outside its range, or the model is in training mode.
    """
    sampling = Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=repetition_penalty
    )
    for (symbol,) in Continuation(model, [prompt], sampling=sampling, seeds=seed, state=state):
        yield symbol


@torch.inference_mode()
def read_prompts(
    network: LanguageModel, prompts: Sequence[Sequence[int]], state: State | None = None
) -> tuple[Tensor, State]:
    """Read texts of any lengths side by side, without padding.

    Up to the end of the shortest one all are read, then those that are longer up to the end of the next, and
    so on.

    Args:
        network: The model, in evaluation mode.
        prompts: B texts of at least one symbol.
        state: What was read before.

    Returns:
        logits: (B, V), the scores of the symbol after each text.
        state: Of the B streams.
    """
    device = next(network.parameters()).device
    waiting = list(range(len(prompts)))
    order: list[int] = []
    logits: list[Tensor] = []
    states: list[State] = []
    start = 0
    for end in sorted({len(prompt) for prompt in prompts}):
        ids = torch.tensor([list(prompts[b][start:end]) for b in waiting], device=device).t()
        scores, state = network.read(ids, state)
        done = [row for row, b in enumerate(waiting) if len(prompts[b]) == end]
        if len(done) == len(waiting) == len(prompts):
            return scores, state
        rows = torch.tensor(done, device=device)
        logits.append(scores[rows])
        states.append(select_streams(state, rows))
        order += [waiting[row] for row in done]
        longer = [row for row, b in enumerate(waiting) if len(prompts[b]) > end]
        if longer:
            state = select_streams(state, torch.tensor(longer, device=device))
        waiting, start = [waiting[row] for row in longer], end
    place = torch.tensor(order, device=device).argsort()
    return torch.cat(logits)[place], select_streams(concatenate_states(states), place)
