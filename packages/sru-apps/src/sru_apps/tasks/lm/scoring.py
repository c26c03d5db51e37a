"""The likelihood of a text, line by line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import chain, islice
from typing import NamedTuple

import torch

from sru_apps.decoding.batches import side_by_side
from sru_apps.decoding.completion import LINE_END, line_end
from sru_apps.decoding.unknown import UnknownParts, encode
from sru_apps.inference.trained import Trained
from sru_apps.nn import State
from sru_apps.nn.cross_entropy import exp
from sru_apps.utf8 import MAX_LINE
from sru_data import DataError
from sru_data.loaders import IGNORE
from sru_data.loaders.buckets import pad_sequences
from sru_data.texts import TextSource

# Steps scored at once, and symbols per batch of lines, including padding; both bound memory use.
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
        """exp(nll / tokens); NaN without tokens."""
        return exp(self.nll / self.tokens if self.tokens else math.nan)

    def bits_per(self, count: int) -> float:
        """Return the mean bits per character or byte, given their number; NaN if it is 0."""
        return self.nll / math.log(2) / count if count else math.nan

    def __add__(self, other: Score) -> Score:
        """Return the score of both texts together."""
        return Score(*map(sum, zip(astuple(self), astuple(other), strict=True)))


def score_lines(
    model: Trained, source: TextSource, *, independent: bool = False, separator: int | None = None
) -> Iterator[Score]:
    """Score a text line by line.

    The first token is predicted from a line end; if the vocabulary has none, it is not scored.

    Args:
        model: The trained model.
        source: The text, which may be larger than memory.
        independent: Score each line without the lines before it.
        separator: The id of the token that ends a document; tokens before it do not affect those after it.
            None if the text is one document.

    Yields:
        One score per line, in order.

    Raises:
        DataError: The text is missing, empty or not UTF-8, or has a line of more than `MAX_LINE` characters.
    """
    yield from score_groups(
        model, _lines(source), UnknownParts(model.tokenizer), independent=independent, separator=separator
    )


def score_groups(
    model: Trained,
    groups: Iterable[list[str]],
    unknown: UnknownParts | None = None,
    *,
    independent: bool,
    separator: int | None = None,
) -> Iterator[Score]:
    """Score lines that come in groups.

    Args:
        model: The trained model.
        groups: Lines, with their line ends.
        unknown: Counts the unknown tokens.
        independent: As for `score_lines`.
        separator: As for `score_lines`.

    Yields:
        One score per line, in order.
    """
    tokenizer = model.tokenizer
    start = line_end(tokenizer)
    before, place = [] if start is None else [start], _Place()
    for lines in groups:
        texts = lines if start is not None else [line.rstrip(LINE_END) for line in lines]
        ids = [encode(tokenizer, text) for text in texts]
        if unknown is not None:
            unknown.report(zip(texts, ids, strict=True))
        if independent:
            costs = chain.from_iterable(
                _costs(model, part, before, place, separator)[0] for part in side_by_side(ids, _AT_ONCE)
            )
        else:
            joined = list(chain.from_iterable(ids))
            found, place = _costs(model, [joined], before, place, separator)
            costs, before = chain(found), [*before, *joined][-1:]
        for text, tokens in zip(texts, ids, strict=True):
            scored = [nll for nll in islice(costs, len(tokens)) if nll is not None]
            yield Score(
                len(scored),
                math.fsum(scored),
                len(text),
                len(text.encode()),
                tokens.count(tokenizer.unk_id),
            )


def _lines(source: TextSource) -> Iterator[list[str]]:
    """Cut the blocks of a text into lines."""
    rest, done = "", 0
    for block in source.blocks():
        *lines, rest = (rest + block.decode()).split(LINE_END)
        for number, line in enumerate([*lines, rest], done + 1):
            if len(line) > MAX_LINE:
                raise DataError.at(
                    source.name,
                    number,
                    f"expected a line of at most {MAX_LINE:,} characters, got a longer one; break it up, or "
                    "measure the whole text with `sru lm test`",
                )
        done += len(lines)
        yield [line + LINE_END for line in lines]
    if rest:
        yield [rest]


class _Place(NamedTuple):
    """The place where reading continues: before a symbol that has been scored but not read."""

    state: State | None = None
    """The state before the symbol."""
    begins: bool = False
    """Whether the symbol is the first of a document."""


@torch.inference_mode()
def _costs(
    model: Trained,
    lines: Sequence[Sequence[int]],
    before: list[int],
    place: _Place,
    separator: int | None,
) -> tuple[list[float | None], _Place]:
    """Compute the negative log-likelihood of each symbol, line by line.

    Padding after a shorter line changes nothing before it, so no mask is needed.

    Args:
        model: The trained model.
        lines: The symbols of the lines, which are read as one batch.
        before: The symbol before each line, if any; without one, the cost of a line's first symbol is None.
        place: The place of the symbol before each line.
        separator: As for `score_lines`.

    Returns:
        costs: One per symbol.
        place: The place of the last symbol of the longest line.
    """
    texts = [[*before, *line] for line in lines]
    inputs = pad_sequences(texts, batch_first=False).ids
    targets = pad_sequences(texts, pad_id=IGNORE, batch_first=False).ids
    first = torch.full_like(inputs[:1], place.begins, dtype=torch.bool)
    begins = torch.cat([first, inputs[:-1] == (-1 if separator is None else separator)])
    state, parts = place.state, [torch.zeros(0, len(texts), dtype=torch.float64)]
    for ids, wanted, reset in zip(
        *(torch.split(part, _STEPS) for part in (inputs[:-1], targets[1:], begins[:-1])), strict=True
    ):
        if len(ids):
            marks = None if separator is None else reset.to(model.device)
            nll, state = model.network.loss(ids.to(model.device), wanted.to(model.device), state, marks)
            parts.append(nll.cpu().double())
    rows = zip(lines, torch.cat(parts).t().tolist(), strict=True)
    unscored = [] if before else [None]
    costs = [cost for line, row in rows for cost in [*unscored, *row][: len(line)]]
    return costs, _Place(state, bool(begins[-1, 0]) if len(begins) else place.begins)
