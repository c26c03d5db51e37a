"""The output sequences of a decoder: constraints on them, and their reconstruction from search steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from sru_apps.nn import State

_FREE = -1


class StepModel(Protocol):
    """A decoder that reads one symbol of each stream at a time."""

    training: bool

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters, at least one; their device is used."""

    def step(self, ids: Tensor, state: State, memory: Any) -> tuple[Tensor, Tensor | None, State]:
        """Read one symbol of each of N = B·K hypotheses, K per sentence, grouped by sentence.

        Args:
            ids: (N,) int64.
            state: Of N streams.
            memory: Of B streams, the encoder's output for the sentences.

        Returns:
            logits: (N, V), the scores of the next symbol.
            attention: (N, S), the weights of the source positions, or None.
            state: After the symbols.
        """


class Hypothesis(NamedTuple):
    """A sequence that a search has found."""

    ids: list[int]
    """Its symbols, with the prefix and without begin and end."""
    score: float
    """The score for ranking: the log-probability divided by the length penalty."""
    log_prob: float
    """The log-probability of its symbols and of its end, in nats."""
    cut: bool = False
    """Whether it was cut at the length limit: the model scored another symbol above the end."""
    attention: Tensor | None = None
    """(len(ids) + 1, S), the weights of the source positions for each symbol and for the end, if kept."""


class Constraints:
    """Which symbols a hypothesis may contain; the begin symbol is never chosen.

    Args:
        bos_id: The symbol that the decoder reads first.
        eos_id: The symbol that ends a hypothesis.
        max_lengths: The maximum number of symbols in a hypothesis for each of B sentences, not counting the
            end. A hypothesis of this length ends there, whatever the model's score for the end.
        min_length: The minimum number of symbols.
        prefixes: The symbols that the hypotheses of each sentence begin with; default: none. They may include
            forbidden symbols, but not the end.
        forbidden: Further symbols that are never chosen.

    Raises:
        ValueError: A limit is negative, or less than `min_length` or the length of the prefix.
    """

    def __init__(
        self,
        *,
        bos_id: int,
        eos_id: int,
        max_lengths: Sequence[int],
        min_length: int = 0,
        prefixes: Sequence[Sequence[int]] | None = None,
        forbidden: Sequence[int] = (),
    ) -> None:
        prefixes = [()] * len(max_lengths) if prefixes is None else prefixes
        for most, prefix in zip(max_lengths, prefixes, strict=True):
            if most < max(min_length, 0):
                raise ValueError(f"max_length must be at least min_length = {max(min_length, 0)}, got {most}")
            if most < len(prefix):
                raise ValueError(f"max_length must be at least the prefix, {len(prefix)}, got {most}")
        self.bos_id, self.eos_id, self.min_length = bos_id, eos_id, min_length
        self.max_lengths = torch.tensor(max_lengths, dtype=torch.int64)
        self._forbidden = torch.tensor([bos_id, *forbidden], dtype=torch.int64)
        # The only symbol allowed at each step, if there is only one.
        self._only = torch.full((max(max_lengths, default=0) + 1, len(max_lengths)), _FREE)
        for column, (most, prefix) in enumerate(zip(max_lengths, prefixes, strict=True)):
            self._only[: len(prefix), column] = torch.tensor(prefix, dtype=torch.int64)
            self._only[most, column] = eos_id

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self.max_lengths)

    @property
    def steps(self) -> int:
        """The maximum number of search steps: those of the longest hypothesis and its end."""
        return len(self._only)

    def apply(self, scores: Tensor, step: int, sentences: Tensor) -> Tensor:
        """Set the scores of symbols that may not come next to -∞, in place.

        Args:
            scores: (A, K, V), of the K hypotheses of A sentences.
            step: The number of symbols of each so far.
            sentences: (A,) int64, which sentences these are.

        Returns:
            (A, K) bool, which hypotheses have the maximum length and would continue.
        """
        device = sentences.device
        only = self._only[step].to(device)[sentences]
        rows = (only != _FREE).nonzero().squeeze(1)
        kept = scores[rows, :, only[rows]]
        scores.index_fill_(2, self._forbidden.to(device), -torch.inf)
        if step < self.min_length:
            scores[..., self.eos_id] = -torch.inf
        cut = torch.zeros(scores.shape[:2], dtype=torch.bool, device=device)
        if len(rows):
            last = self.max_lengths.to(device)[sentences[rows]] == step
            cut[rows] = last.unsqueeze(1) & (scores[rows].argmax(-1) != self.eos_id)
            scores[rows] = -torch.inf
            scores[rows, :, only[rows]] = kept
        return cut


class History:
    """The symbols chosen at every step of a search, and the hypothesis that each continues.

    Args:
        sentences: B.
        width: K, the hypotheses of each sentence.
    """

    def __init__(self, sentences: int, width: int) -> None:
        self._shape = (sentences, width)
        self._parents: list[Tensor] = []
        self._symbols: list[Tensor] = []
        self._attention: list[Tensor] = []

    def add(
        self, sentences: Tensor, parents: Tensor, symbols: Tensor, attention: Tensor | None = None
    ) -> None:
        """Add a step of some of the sentences.

        Args:
            sentences: (A,) int64, their indices.
            parents: (A, K) int64, the hypotheses of the sentence that are continued.
            symbols: (A, K) int64, the symbols they are continued with.
            attention: (A, K', S), of the hypotheses before they are continued; None if it is not kept.
        """
        for past, now in ((self._parents, parents), (self._symbols, symbols)):
            past.append(now.new_zeros(self._shape).index_copy_(0, sentences, now))
        if attention is not None:
            full = attention.new_zeros(*self._shape, attention.shape[-1])
            full[sentences, : attention.shape[1]] = attention
            self._attention.append(full)

    def read(self, ends: Tensor, slots: Tensor) -> tuple[Tensor, Tensor | None]:
        """Follow hypotheses back from their ends.

        Args:
            ends: (B, n) int64, the number of symbols of each.
            slots: (B, n) int64, the slot of each within its sentence before it ended.

        Returns:
            symbols: (B, n, T) int64, with arbitrary numbers after the end.
            attention: (B, n, T, S), or None.
        """
        sentences = torch.arange(self._shape[0], device=slots.device).unsqueeze(1)
        symbols, attention = [], []
        for step in reversed(range(len(self._symbols))):
            chosen = self._symbols[step][sentences, slots]
            slots = torch.where(step < ends, self._parents[step][sentences, slots], slots)
            symbols.append(chosen)
            if self._attention:
                attention.append(self._attention[step][sentences, slots])
        weights = torch.stack(attention[::-1], 2) if attention else None
        return torch.stack(symbols[::-1], 2), weights


def collect(
    history: History,
    *,
    ends: Tensor,
    slots: Tensor,
    scores: Tensor,
    log_probs: Tensor,
    cut: Tensor,
) -> list[list[Hypothesis]]:
    """Return finished hypotheses, those of each sentence in order.

    A sentence without any, because no score is finite, gets an empty one whose score is NaN.

    Args:
        history: The steps.
        ends: (B, n) int64, as for `History.read`.
        slots: (B, n) int64, as for `History.read`.
        scores: (B, n); a score that is not finite means that there is no hypothesis.
        log_probs: (B, n).
        cut: (B, n) bool.
    """
    symbols, attention = history.read(ends, slots)
    nothing = Hypothesis([], math.nan, math.nan)
    found: list[list[Hypothesis]] = []
    columns = (symbols.cpu(), ends, scores, log_probs, cut, scores.isfinite())
    for row, sentence in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        found.append([])
        for place, (ids, end, score, log_prob, is_cut, exists) in enumerate(zip(*sentence, strict=True)):
            weights = None if attention is None else attention[row, place, : end + 1]
            if exists:
                found[-1].append(Hypothesis(ids[:end], score, log_prob, is_cut, weights))
    return [hypotheses or [nothing] for hypotheses in found]
