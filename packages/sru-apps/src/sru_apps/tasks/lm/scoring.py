"""How likely a model finds a text, line by line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sru_apps.decoding.completion import LINE_END, line_end
from sru_apps.nn import State
from sru_apps.tasks.lm.load import TrainedLanguageModel
from sru_data.loaders import IGNORE
from sru_data.texts import TextSource
from sru_data.tokenizers import Tokenizer

# Steps that are scored at once, and symbols of lines side by side with their padding: this bounds the memory.
_STEPS = 512
_AT_ONCE = 8192


@dataclass
class Score:
    """What a line, or a whole text, costs."""

    tokens: int = 0
    """Tokens that were scored."""
    nll: float = 0.0
    """Their negative log-likelihood, in nats."""
    characters: int = 0
    """Characters of the text, line ends included where the model knows them."""
    bytes: int = 0
    """Bytes of the same, in UTF-8."""
    unknown: int = 0
    """Tokens among those of the text that the model does not know."""

    @property
    def perplexity(self) -> float:
        """exp(nll / tokens); NaN without a token."""
        if not self.tokens:
            return math.nan
        mean = self.nll / self.tokens
        # Infinite where math.exp would raise.
        return math.exp(mean) if mean < 700 else math.inf

    @property
    def bits_per_character(self) -> float:
        """Bits that the characters cost on average; NaN without a character."""
        return self.nll / math.log(2) / self.characters if self.characters else math.nan

    @property
    def bits_per_byte(self) -> float:
        """Bits that the bytes cost on average; NaN without a byte."""
        return self.nll / math.log(2) / self.bytes if self.bytes else math.nan

    def add(self, other: Score) -> None:
        """Add what comes after it."""
        self.tokens += other.tokens
        self.nll += other.nll
        self.characters += other.characters
        self.bytes += other.bytes
        self.unknown += other.unknown


class _Piece(NamedTuple):
    """A line, or a piece of one that is longer than a block of text."""

    text: str
    begins: bool
    ends: bool


def score_lines(
    model: TrainedLanguageModel, source: TextSource, *, independent: bool = False
) -> Iterator[Score]:
    """Score a text line by line.

    The first token is predicted from a line end, and where the model knows none it is not scored.

    Args:
        model: The trained model.
        source: The text, which may be larger than memory.
        independent: Whether each line is read as if nothing stood before it.

    Yields:
        One score a line, in their order.

    Raises:
        DataError: When the text is missing, empty or not UTF-8.
    """
    whole = Score()
    for piece, score in _score_pieces(model, _pieces(source), independent):
        whole.add(score)
        if piece.ends:
            yield whole
            whole = Score()


def _score_pieces(
    model: TrainedLanguageModel, blocks: Iterable[list[_Piece]], independent: bool
) -> Iterator[tuple[_Piece, Score]]:
    tokenizer = model.tokenizer
    start = line_end(tokenizer)
    stream = _Stream(model, start)
    for pieces in blocks:
        texts = [piece.text if start is not None else piece.text.rstrip(LINE_END) for piece in pieces]
        ids = [_encode(tokenizer, text) for text in texts]
        scores = _score_apart(model, stream, pieces, ids, start) if independent else stream.score(ids)
        for piece, text, tokens, (count, nll) in zip(pieces, texts, ids, scores, strict=True):
            unknown = tokens.count(tokenizer.unk_id)
            yield piece, Score(count, nll, len(text), len(text.encode()), unknown)


def _score_apart(
    model: TrainedLanguageModel,
    stream: _Stream,
    pieces: Sequence[_Piece],
    ids: Sequence[list[int]],
    start: int | None,
) -> Iterator[tuple[int, float]]:
    """Score whole lines side by side, and pieces of longer ones one after the other."""
    place = 0
    while place < len(pieces):
        if not (pieces[place].begins and pieces[place].ends):
            if pieces[place].begins:
                stream.begin()
            yield from stream.score([ids[place]])
            place += 1
            continue
        end, longest = place + 1, len(ids[place])
        while end < len(pieces) and pieces[end].begins and pieces[end].ends:
            longest = max(longest, len(ids[end]))
            if longest * (end + 1 - place) > _AT_ONCE:
                break
            end += 1
        yield from _score_side_by_side(model, ids[place:end], start)
        place = end


class _Stream:
    """A text that is read piece by piece, with the state carried on."""

    def __init__(self, model: TrainedLanguageModel, start: int | None) -> None:
        self._model = model
        self._start = start
        self.begin()

    def begin(self) -> None:
        """Forget what was read."""
        self._state: State | None = None
        self._last = self._start

    def score(self, pieces: Sequence[list[int]]) -> Iterator[tuple[int, float]]:
        """Yield for each piece how many tokens were scored, and what they cost."""
        symbols = [symbol for piece in pieces for symbol in piece]
        text = symbols if self._last is None else [self._last, *symbols]
        # What nothing stands before is not scored.
        unscored = len(symbols) + 1 - len(text) if symbols else 0
        costs, self._state = _costs(self._model, [text], self._state)
        self._last = text[-1] if text else None
        sums = [0.0] * unscored + costs[0].tolist()
        place = 0
        for piece in pieces:
            part = sums[place : place + len(piece)]
            place += len(piece)
            skipped = min(unscored, len(piece))
            yield len(piece) - skipped, math.fsum(part)
            unscored -= skipped


def _score_side_by_side(
    model: TrainedLanguageModel, lines: Sequence[list[int]], start: int | None
) -> Iterator[tuple[int, float]]:
    texts = [line if start is None else [start, *line] for line in lines]
    costs, _ = _costs(model, texts, None)
    for text, cost in zip(texts, costs, strict=True):
        count = max(0, len(text) - 1)
        yield count, math.fsum(cost[:count].tolist())


@torch.inference_mode()
def _costs(
    model: TrainedLanguageModel, texts: Sequence[list[int]], state: State | None
) -> tuple[Tensor, State | None]:
    """Compute the negative log-likelihood of all but the first symbol of each text.

    What follows a shorter text changes nothing of what is before it, so it needs no mask.

    Returns:
        costs: (B, T) float64, with T one less than the longest text; 0 after the end of a text.
        state: That of the longest text before its last symbol.
    """
    longest = max(map(len, texts))
    ids = torch.zeros(longest, len(texts), dtype=torch.int64)
    targets = torch.full((longest, len(texts)), IGNORE)
    for column, text in enumerate(texts):
        symbols = torch.tensor(text, dtype=torch.int64)
        ids[: len(text), column] = symbols
        targets[: len(text), column] = symbols
    costs = [torch.zeros(0, len(texts), dtype=torch.float64)]
    for begin in range(0, longest - 1, _STEPS):
        end = min(begin + _STEPS, longest - 1)
        nll, state = model.network.loss(ids[begin:end], targets[begin + 1 : end + 1], state)
        costs.append(nll.double())
    return torch.cat(costs).t(), state


def _encode(tokenizer: Tokenizer, text: str) -> list[int]:
    ids = tokenizer.encode(text)
    # A tokenizer gives the unknown symbol where there is nothing.
    return [] if ids == [tokenizer.unk_id] and not text.strip() else ids


def _pieces(source: TextSource) -> Iterator[list[_Piece]]:
    """Cut the blocks of a text into lines."""
    begins = True
    rest = ""
    for block in source.blocks():
        pieces = []
        if rest:
            pieces.append(_Piece(rest, begins, False))
            begins = False
        *lines, rest = block.decode().split(LINE_END)
        for line in lines:
            pieces.append(_Piece(line + LINE_END, begins, True))
            begins = True
        yield pieces
    if rest:
        yield [_Piece(rest, begins, True)]
