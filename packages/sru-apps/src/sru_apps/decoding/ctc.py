"""Tokens from the outputs of a network trained by connectionist temporal classification (CTC).

Every decoder takes the log-probabilities of an utterance in pieces of any size (one piece for a whole
utterance) and returns tokens as soon as later input cannot change them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from sru_apps.decoding.arpa import Context, NGramModel

BLANK = 0
"""The output that stands for no token."""


class Decoder(Protocol):
    """Decodes one utterance."""

    def feed(self, log_probs: Tensor) -> list[int]:
        """Take the next outputs, (T, V) log-probabilities, and return the tokens that are now final."""

    def finish(self) -> list[int]:
        """Return the remaining tokens; call this after the last outputs."""


class Greedy:
    """The most probable path, without its repetitions and blanks: every token is final at once."""

    def __init__(self) -> None:
        self._last = BLANK

    def feed(self, log_probs: Tensor) -> list[int]:
        """Take the next outputs, (T, V), and return their tokens."""
        found = []
        for token in log_probs.argmax(-1).tolist():
            if token not in (BLANK, self._last):
                found.append(token)
            self._last = token
        return found

    def finish(self) -> list[int]:
        """Return no tokens; all are already final."""
        return []


class TokenText(NamedTuple):
    """How a token contributes to words."""

    text: str
    """The text it adds to its word."""
    begins: bool = False
    """Whether it ends the previous word; a white-space token has no text."""
    ends: bool = False
    """Whether its word ends with it."""


class WordState(NamedTuple):
    """The words of a hypothesis so far."""

    context: Context
    """The last words, as many as the language model needs."""
    begun: str
    """The letters of the incomplete word."""
    added: float
    """The score of the complete words."""
    ahead: float
    """The score of the incomplete word, once no word of the vocabulary begins with it; 0 before that."""

    @property
    def score(self) -> float:
        """The score of all words, as far as it is known."""
        return self.added + self.ahead


class WordScorer:
    """Adds a language model of words to the score of a hypothesis, word by word.

        score = weight · Σ ln p(word | words before) + bonus · words + unknown · words outside the vocabulary

    and, at its end, weight · ln p(end | words).

    Args:
        model: The language model.
        tokens: The text of each token.
        weight: The weight of the language model.
        bonus: Added for each word.
        unknown: Also added for each word outside the vocabulary.
    """

    def __init__(
        self,
        model: NGramModel,
        tokens: Sequence[TokenText],
        *,
        weight: float,
        bonus: float = 0.0,
        unknown: float = 0.0,
    ) -> None:
        self._model, self._tokens = model, tokens
        self._weight, self._bonus, self._unknown = weight, bonus, unknown

    def start(self) -> WordState:
        """Return the state before the first token."""
        return WordState(self._model.start(), "", 0.0, 0.0)

    def extend(self, state: WordState, token: int) -> WordState:
        """Return the state after one more token."""
        text, begins, ends = self._tokens[token]
        state = self._complete(state) if begins else state
        state = state._replace(begun=state.begun + text)
        if ends:
            return self._complete(state)
        if not text or self._model.begins(state.begun):
            return state
        # However it continues, the word is unknown. Score it now, so that such words do not fill the beam.
        return state._replace(ahead=self._complete(state).added - state.added)

    def total(self, state: WordState) -> float:
        """Return the score of the words of a hypothesis if it ends here."""
        state = self._complete(state)
        return state.added + self._weight * self._model.end(state.context)

    def _complete(self, state: WordState) -> WordState:
        if not state.begun:
            return state
        log_prob, context = self._model.score(state.context, state.begun)
        bonus = self._bonus if self._model.knows(state.begun) else self._bonus + self._unknown
        return WordState(context, "", state.added + self._weight * log_prob + bonus, 0.0)


class Hypothesis(NamedTuple):
    """A sequence of tokens."""

    tokens: tuple[int, ...]
    log_prob: float
    """ln of the probability of all its paths that the beam has kept."""
    score: float
    """`log_prob` plus the score of its words."""


class _Beam(NamedTuple):
    """A prefix of the tokens, with all its paths merged."""

    blank: float
    """ln of the probability of the paths that end with a blank."""
    token: float
    """ln of the probability of the paths that end with the last token."""
    words: WordState | None

    @property
    def log_prob(self) -> float:
        return _add(self.blank, self.token)

    @property
    def score(self) -> float:
        return self.log_prob + (0.0 if self.words is None else self.words.score)


class PrefixBeam:
    """Prefix beam search: paths that spell the same tokens are summed.

    With a beam that holds every prefix and an infinite margin, the probability of each hypothesis is exact.

    Args:
        beam: The maximum number of prefixes to keep after each output.
        scorer: Scores the words, if there is a language model.
        margin: A token is skipped if its log-probability, and a prefix is dropped if its score, is more than
            this below the best.

    Source: Graves, "Supervised Sequence Labelling with Recurrent Neural Networks" (2012), section 7.5; with a
    language model of words, Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition using
    Bi-Directional Recurrent DNNs" (2014), algorithm 1.
    """

    def __init__(self, beam: int, *, scorer: WordScorer | None = None, margin: float = 12.0) -> None:
        self._beam, self._scorer, self._margin = beam, scorer, margin
        # All prefixes begin with the final tokens, which are not stored in them.
        self._decided: list[int] = []
        words = None if scorer is None else scorer.start()
        self._beams: dict[tuple[int, ...], _Beam] = {(): _Beam(0.0, -math.inf, words)}

    def feed(self, log_probs: Tensor) -> list[int]:
        """Take the next outputs, (T, V), and return the next tokens that all hypotheses share."""
        for output in log_probs.tolist():
            self._step(output)
        first, last = min(self._beams), max(self._beams)
        same = next((place for place, token in enumerate(first) if token != last[place]), len(first))
        self._beams = {prefix[same:]: beam for prefix, beam in self._beams.items()}
        self._decided += first[:same]
        return list(first[:same])

    def finish(self) -> list[int]:
        """Return the remaining tokens of the best hypothesis."""
        return list(self.hypotheses()[0].tokens[len(self._decided) :])

    def hypotheses(self) -> list[Hypothesis]:
        """Return the hypotheses of the beam, the best first, as if the utterance ended here."""
        found = []
        for prefix, beam in self._beams.items():
            added = 0.0 if beam.words is None or self._scorer is None else self._scorer.total(beam.words)
            found.append(Hypothesis((*self._decided, *prefix), beam.log_prob, beam.log_prob + added))
        return sorted(found, key=lambda hypothesis: -hypothesis.score)

    def _step(self, output: list[float]) -> None:
        least = max(output) - self._margin
        tokens = [token for token, value in enumerate(output) if value >= least and token != BLANK]
        fresh: dict[tuple[int, ...], _Beam] = {}

        def add(prefix: tuple[int, ...], words: WordState | None, blank: float, token: float) -> None:
            known = fresh.get(prefix, _Beam(-math.inf, -math.inf, words))
            fresh[prefix] = _Beam(_add(known.blank, blank), _add(known.token, token), known.words)

        for prefix, beam in self._beams.items():
            total = beam.log_prob
            last = prefix[-1] if prefix else self._decided[-1] if self._decided else BLANK
            again = beam.token + output[last] if last != BLANK else -math.inf
            add(prefix, beam.words, total + output[BLANK], again)
            for token in tokens:
                # A token repeats only if there is a blank in between.
                before = beam.blank if token == last else total
                if before == -math.inf:
                    continue
                longer = (*prefix, token)
                words = beam.words
                if self._scorer is not None and words is not None and longer not in fresh:
                    words = self._scorer.extend(words, token)
                add(longer, words, -math.inf, before + output[token])
        scored = [(beam.score, prefix, beam) for prefix, beam in fresh.items()]
        best = sorted(scored, key=lambda entry: -entry[0])[: self._beam]
        least = best[0][0] - self._margin
        self._beams = {prefix: beam for score, prefix, beam in best if score >= least}


def _add(first: float, second: float) -> float:
    """ln(exp(first) + exp(second))."""
    high, low = (first, second) if first >= second else (second, first)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
