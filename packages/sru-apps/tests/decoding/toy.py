"""A decoder small enough to try every sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FREE, BOS, EOS = 3, 3, 4
"""Sequences consist of the symbols below FREE."""


class Toy(nn.Module):
    """Scores that depend on all symbols so far and on the memory; records the arguments of its calls."""

    def __init__(self, seed: int, size: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
        self.symbols, self.mixing, self.output = draw(5, size), draw(size, size), draw(size, 5) * 1.5
        # So that hypotheses end at every length.
        self.output[:, EOS] /= 2
        self.weight = nn.Parameter(torch.zeros(1))
        self.calls: list[tuple[Tensor, object, object]] = []
        self.eval()

    def step(self, ids: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read a symbol of each hypothesis."""
        self.calls.append((ids, state, memory))
        per_sentence = len(ids) // memory.shape[1]
        own = memory[0].repeat_interleave(per_sentence, 0)
        h = torch.tanh(state[0] @ self.mixing + self.symbols[ids] + own)
        return h @ self.output, h.softmax(-1), h.unsqueeze(0)


def sentences(count: int, seed: int = 0, size: int = 4) -> tuple[Tensor, Tensor]:
    """Return the memory and the first state of some sentences, (1, B, size)."""
    generator = torch.Generator().manual_seed(seed)
    memory = torch.randn(1, count, size, generator=generator, dtype=torch.float64)
    return memory, torch.zeros_like(memory)
