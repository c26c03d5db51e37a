"""Choosing the next symbol from the scores of all symbols."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sru_apps.ranges import check_ranges, ranged

_DRAWN_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to choose a symbol: the most likely one, or a draw from a sharpened and truncated distribution.

    In this order: the scores of earlier symbols are lowered, all scores are divided by the temperature, and
    `top_k` and then `top_p` truncate the distribution that the symbol is drawn from.

    Raises:
        ValueError: A number is out of range.

    Source: Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020, for `top_p`; Keskar et
    al., "CTRL", 2019, section 4.1, for the penalty.
    """

    temperature: float = ranged(1.0, at_least=0)
    """Below 1 favours likely symbols; 0 takes the most likely one."""
    top_k: int | None = ranged(None, at_least=1)
    """Keep this many of the most likely symbols; None for all."""
    top_p: float | None = ranged(None, above=0, at_most=1)
    """Keep the most likely symbols that together have this probability; None for all."""
    repetition_penalty: float = ranged(1.0, above=0)
    """Divides positive scores of earlier symbols and multiplies negative ones; 1 changes nothing."""
    forbidden: tuple[int, ...] = ()
    """Symbols that are never chosen."""

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("temperature", "repetition_penalty"):
            if getattr(self, name) == math.inf:
                raise ValueError(f"{name} must be finite, got inf")

    def without(self, *symbols: int) -> Sampling:
        """Return a copy that never chooses these symbols either."""
        return replace(self, forbidden=(*self.forbidden, *symbols))


class Sampler:
    """Chooses symbols for several texts, each with its own seed, so that none depends on the others.

    Args:
        sampling: How to choose.
        texts: The texts so far, for the penalty.
        seeds: One per text.
        vocab_size: V.
        device: Where the scores are.
    """

    def __init__(
        self,
        sampling: Sampling,
        texts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        *,
        vocab_size: int,
        device: torch.device,
    ) -> None:
        self.sampling = sampling
        self._numbers = [_uniform(seed) for seed in seeds]
        self._seen: Tensor | None = None
        if sampling.repetition_penalty != 1:
            self._seen = torch.zeros(len(texts), vocab_size, dtype=torch.bool, device=device)
            for row, text in zip(self._seen, texts, strict=True):
                row[torch.tensor(text, dtype=torch.int64, device=device)] = True
        self._forbidden = torch.tensor(sampling.forbidden, dtype=torch.int64, device=device)

    def keep(self, index: Sequence[int]) -> None:
        """Keep only some of the texts.

        Args:
            index: The indices of the texts to keep, in their present order.
        """
        self._numbers = [self._numbers[i] for i in index]
        if self._seen is not None:
            self._seen = self._seen[list(index)]

    def choose(self, logits: Tensor) -> Tensor:
        """Choose the next symbol of each text.

        Args:
            logits: (B, V), not changed.

        Returns:
            (B,) int64.
        """
        if self._seen is not None:
            penalty = self.sampling.repetition_penalty
            # An extreme penalty must not produce infinities, whose difference is NaN.
            lowered = torch.where(logits > 0, logits / penalty, logits * penalty).nan_to_num()
            logits = torch.where(self._seen, lowered, logits)
        if len(self._forbidden):
            logits = logits.index_fill(1, self._forbidden, -torch.inf)
        chosen = logits.argmax(-1) if self.sampling.temperature == 0 else self._draw(logits)
        if self._seen is not None:
            self._seen.scatter_(1, chosen.unsqueeze(1), True)
        return chosen

    def _draw(self, logits: Tensor) -> Tensor:
        top_k, top_p = self.sampling.top_k, self.sampling.top_p
        order: Tensor | None = None
        if top_k is not None or top_p is not None:
            logits, order = logits.topk(min(top_k or logits.shape[1], logits.shape[1]))
        # The largest score is subtracted first: division by a small temperature could overflow.
        scores = (logits - logits.amax(1, keepdim=True)).double() / self.sampling.temperature
        probabilities = scores.softmax(1)
        below = probabilities.cumsum(1)
        bound: Tensor | int = below.shape[1] - 1
        mass = below[:, -1:]
        if top_p is not None:
            bound = ((below - probabilities) < top_p).sum(1, keepdim=True) - 1
            mass = below.gather(1, bound)
        drawn = torch.tensor([[next(numbers)] for numbers in self._numbers], dtype=torch.float64)
        # Rounding could make the product equal the whole probability mass.
        place = torch.searchsorted(below, drawn.to(below.device) * mass, right=True).clamp(max=bound)
        return (place if order is None else order.gather(1, place)).squeeze(1)


def _uniform(seed: int) -> Iterator[float]:
    """Yield numbers from [0, 1), drawn in blocks to amortise the cost of a call."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.rand(_DRAWN_AT_ONCE, dtype=torch.float64, generator=generator).tolist()
