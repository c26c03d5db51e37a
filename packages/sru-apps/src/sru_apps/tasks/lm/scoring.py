"""The likelihood of a text, line by line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import chain, islice

import torch
from torch import Tensor

from sru_apps.decoding.completion import LINE_END, line_end
from sru_apps.nn import State
from sru_apps.tasks.lm.module import exp
from sru_apps.train.evaluate import Trained
from sru_data.loaders import IGNORE
from sru_data.loaders.buckets import pad_sequences
from sru_data.texts import TextSource
from sru_data.tokenizers import Tokenizer

# Steps scored at once, and symbols of lines side by side, padding included; these bound the memory.
_STEPS = 512
_AT_ONCE = 8192


@dataclass(frozen=True)
class Score:
    """The likelihood of a line, or of a whole text."""

    tokens: int = 0
    """Number of scored tokens."""
    nll: float = 0.0
    """Their negative log-likelihood, in nats."""
    characters: int = 0
    """Characters of the text, with the line ends if the vocabulary has them."""
    bytes: int = 0
    """Its bytes in UTF-8."""
    unknown: int = 0
    """Tokens of the text that are not in the vocabulary."""

    @property
    def perplexity(self) -> float:
        """exp(nll / tokens); NaN without a token."""
        return exp(self.nll / self.tokens if self.tokens else math.nan)

    def bits_per(self, count: int) -> float:
        """Mean bits per character or byte, of which there are `count`; NaN without any."""
        return self.nll / math.log(2) / count if count else math.nan

    def __add__(self, other: Score) -> Score:
        """The score of both texts."""
        return Score(*map(sum, zip(astuple(self), astuple(other), strict=True)))


def score_lines(model: Trained, source: TextSource, *, independent: bool = False) -> Iterator[Score]:
    """Score a text line by line.

    The first token is predicted from a line end; where the vocabulary has none it is not scored.

    Args:
        model: The trained model.
        source: The text, which may be larger than memory.
        independent: Score each line without the lines before it.

    Yields:
        One score per line, in their order.

    Raises:
        DataError: The text is missing, empty or not UTF-8.
    """
    tokenizer = model.tokenizer
    start = line_end(tokenizer)
    before, state = [] if start is None else [start], None
    for lines in _lines(source):
        texts = lines if start is not None else [line.rstrip(LINE_END) for line in lines]
        ids = [_encode(tokenizer, text) for text in texts]
        if independent:
            found = [cost for part in _batches(ids) for cost in _score_apart(model, part, before)]
        else:
            symbols = [*before, *chain.from_iterable(ids)]
            costs, state = _costs(model, [symbols], state)
            rest = iter([*([] if before else [None]), *costs[0].tolist()])
            found, before = [list(islice(rest, len(line))) for line in ids], symbols[-1:]
        for text, tokens, cost in zip(texts, ids, found, strict=True):
            scored = [nll for nll in cost if nll is not None]
            unknown = tokens.count(tokenizer.unk_id)
            yield Score(len(scored), math.fsum(scored), len(text), len(text.encode()), unknown)


def _lines(source: TextSource) -> Iterator[list[str]]:
    """Cut the blocks of a text into lines."""
    rest = ""
    for block in source.blocks():
        *lines, rest = (rest + block.decode()).split(LINE_END)
        yield [line + LINE_END for line in lines]
    if rest:
        yield [rest]


def _batches(lines: Iterable[list[int]]) -> Iterator[list[list[int]]]:
    """Group lines to be scored side by side."""
    part: list[list[int]] = []
    longest = 0
    for line in lines:
        longest = max(longest, len(line))
        if part and longest * (len(part) + 1) > _AT_ONCE:
            yield part
            part, longest = [], len(line)
        part.append(line)
    if part:
        yield part


def _score_apart(
    model: Trained, lines: Sequence[list[int]], before: list[int]
) -> Iterator[list[float | None]]:
    """Yield the losses of each line's tokens; None for a first token with nothing before it."""
    costs, _ = _costs(model, [[*before, *line] for line in lines], None)
    for line, cost in zip(lines, costs.tolist(), strict=True):
        yield (cost if before else [None, *cost])[: len(line)]


@torch.inference_mode()
def _costs(model: Trained, texts: Sequence[list[int]], state: State | None) -> tuple[Tensor, State | None]:
    """Compute the negative log-likelihood of all but the first symbol of each text.

    Padding after a shorter text changes nothing before it, so no mask is needed.

    Returns:
        costs: (B, T) float64, with T one less than the longest text; 0 after the end of a text.
        state: That of the longest text before its last symbol.
    """
    inputs = pad_sequences(texts, batch_first=False).ids
    targets = pad_sequences(texts, pad_id=IGNORE, batch_first=False).ids
    costs = [torch.zeros(0, len(texts), dtype=torch.float64)]
    for ids, wanted in zip(torch.split(inputs[:-1], _STEPS), torch.split(targets[1:], _STEPS), strict=True):
        if len(ids):
            nll, state = model.network.loss(ids, wanted, state)
            costs.append(nll.double())
    return torch.cat(costs).t(), state


def _encode(tokenizer: Tokenizer, text: str) -> list[int]:
    ids = tokenizer.encode(text)
    # A tokenizer returns the unknown symbol for an empty text.
    return [] if ids == [tokenizer.unk_id] and not text.strip() else ids
