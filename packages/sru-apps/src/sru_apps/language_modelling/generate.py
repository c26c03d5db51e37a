"""Sampling text from a language model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from sru_apps.language_modelling.model import RecurrentLanguageModel


@torch.inference_mode()
def generate(
    model: RecurrentLanguageModel, prompt: Sequence[int], *, temperature: float = 1.0, seed: int = 0
) -> Iterator[int]:
    """Continue a prompt, symbol by symbol, for as long as the caller reads.

    The prompt is read once; each symbol after it costs one step of the recurrence, whatever stands before it.

    Args:
        model: The model, in evaluation mode.
        prompt: At least one symbol.
        temperature: Divides the logits: below 1 prefers the likely symbols; 0 takes the likeliest.
        seed: Of the draws.

    Yields:
        The next symbol.

    Raises:
        ValueError: When the prompt is empty or the temperature negative.
    """
    if not prompt:
        raise ValueError("generate: the prompt must hold at least one symbol, got none")
    if temperature < 0:
        raise ValueError(f"generate: temperature must be at least 0, got {temperature}")
    generator = torch.Generator().manual_seed(seed)
    ids, state = torch.tensor(prompt).unsqueeze(1), None
    while True:
        logits, state = model(ids, state)
        last = logits[-1, 0]
        if temperature == 0:
            symbol = last.argmax()
        else:
            symbol = torch.multinomial(torch.softmax(last / temperature, -1), 1, generator=generator)
        ids = symbol.view(1, 1)
        yield int(symbol)
