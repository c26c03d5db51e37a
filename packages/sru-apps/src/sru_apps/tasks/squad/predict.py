"""Trained readers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch

from sru_apps.decoding.unknown import UnknownParts
from sru_apps.inference.trained import Trained
from sru_apps.ranges import check_at_least
from sru_apps.tasks.squad.answers import decode
from sru_apps.tasks.squad.batches import ReaderInput, WordTable, make_batch
from sru_apps.tasks.squad.model import ReaderConfig, build_reader
from sru_apps.tasks.squad.texts import Pair, Text, TextReader, windows
from sru_apps.train.errors import UserError
from sru_data.annotation import annotator_of
from sru_data.loaders.buckets import LengthBatchSampler
from sru_data.question_files import Example
from sru_data.tokenizers import Tokenizer, WordTokenizer

_AT_ONCE = 8192
"""Words of passages in a batch, including padding."""
_MOST_ANSWERS = 1000
"""The maximum number of answers to a question, because each has its own text."""
NOTHING_KNOWN = "no word of the question is in the model's vocabulary"
"""The note on a question whose words are all unknown: its answer is meaningless."""
NO_ANSWER = "the passage does not answer the question"
"""The note in place of an answer, from a model trained on unanswerable questions."""
NO_SCORE = "the model gives no part of the passage a finite score"
"""The note in place of an answer if the arithmetic has overflowed."""


class Answer(NamedTuple):
    """An answer to a question: a part of its passage."""

    text: str | None
    """The answer, as it appears in the passage; None if there is none."""
    probability: float | None
    """Its probability among all spans that the model may answer; None if nothing was read."""
    start: int | None
    """Where it begins: `passage[start:end]` is the text."""
    end: int | None
    """Where it ends."""
    note: str | None = None
    """Why there is no answer, or why to doubt it."""


_Span = tuple[tuple[int, int] | None, float]
"""The first and the last word of an answer, or None, and its probability."""


class QuestionAnswerer(Trained):
    """A trained reader.

        model = sru_apps.load("runs/squad/questions/first")
        passage = "The Eiffel Tower was built from 1887 to 1889 by the company of Gustave Eiffel."
        for text, probability, start, end, _ in model.answer(passage, "Who built the tower?", k=3):
            print(probability, text)

    It tokenizes texts as in training, and uses the first 4,096 words of a passage and the first 512 of a
    question.
    """

    config_class = ReaderConfig
    network_class = staticmethod(build_reader)

    def __init__(self, network: Any, tokenizer: Any, entries: Mapping[str, Any]) -> None:
        super().__init__(network, tokenizer)
        annotator = annotator_of(entries["annotator"])
        self._reader = TextReader(annotator, entries["tags"], entries["entities"])
        self._unknown = UnknownParts(tokenizer)
        self._threshold = float(entries.get("threshold") or 0.0)

    @classmethod
    def wrap(cls, tokenizer: Tokenizer) -> WordTokenizer:
        """Refuse a tokenizer that is not a vocabulary of words."""
        if not isinstance(tokenizer, WordTokenizer):
            raise UserError(f"expected a vocabulary of words, got a {type(tokenizer).__name__}")
        return tokenizer

    @classmethod
    def check(cls, config: ReaderConfig, entries: Mapping[str, Any]) -> None:
        """Refuse entries that do not fit the network, or do not describe its tokenization.

        Raises:
            ValueError: An entry does not fit.
        """
        for kind, size in (("tags", config.num_tags), ("entities", config.num_entities)):
            if not _are_texts(names := entries[kind]) or len(names) != size:
                raise ValueError(f"{kind} must be {size} texts, got {repr(names)[:80]}")
        if not _are_texts(list(entries["annotator"].values())):
            raise ValueError(f"annotator must be described by texts, got {entries['annotator']!r}")
        float(entries.get("threshold") or 0.0)

    def answer(
        self,
        passage: str,
        question: str,
        *,
        k: int = 1,
        max_length: int | None = None,
        threshold: float | None = None,
    ) -> list[Answer]:
        """Answer a question, as `sru squad predict` does.

        Args:
            passage: The passage.
            question: The question.
            k: The maximum number of answers.
            max_length: The maximum length of an answer, in words; default: the model's.
            threshold: As for `stream`.

        Returns:
            The answers, at least one, the most probable first.

        Raises:
            ValueError: A text is not a string, or a number is less than 1.
        """
        (found,) = self.stream([(passage, question)], k=k, max_length=max_length, threshold=threshold)
        return found

    def predict(self, pairs: Iterable[Pair]) -> list[Answer]:
        """Answer many questions.

        Args:
            pairs: Passages, each with a question.

        Returns:
            The best answer to each, in order.

        Raises:
            ValueError: A text is not a string.
        """
        return [best for best, *_ in self.stream(pairs)]

    def stream(
        self,
        pairs: Iterable[Pair],
        *,
        k: int = 1,
        max_length: int | None = None,
        threshold: float | None = None,
    ) -> Iterator[list[Answer]]:
        """Answer a stream of questions, in batches.

        Args:
            pairs: Passages, each with a question.
            k: The maximum number of answers to each.
            max_length: The maximum length of an answer, in words; default: the model's.
            threshold: For models trained on unanswerable questions: how much higher than the best answer, in
                logits, "no answer" must score to come first; default: the model's.

        Yields:
            The answers to one question, at least one, the most probable first.

        Raises:
            ValueError: A text is not a string, a number is less than 1, or `k` is more than 1,000.
        """
        check_at_least(1, k=k, max_length=max_length)
        if k > _MOST_ANSWERS:
            raise ValueError(f"k must be at most {_MOST_ANSWERS:,}, got {k:,}")
        if threshold is not None and math.isnan(threshold):
            raise ValueError("threshold must be a number, got nan")
        if threshold is not None and not self.config.no_answer:
            raise ValueError(
                f"this model always answers, so there is no threshold; got {threshold:g}, leave it out"
            )
        threshold = self._threshold if threshold is None else threshold
        options = {"k": k, "max_length": max_length or self.config.max_answer, "threshold": threshold}
        return chain.from_iterable(self._answer(window, options) for window in windows(pairs))

    @torch.inference_mode()
    def _answer(self, pairs: Sequence[Pair], options: Mapping[str, Any]) -> list[list[Answer]]:
        texts, words = self._reader.read(pairs)
        table = WordTable.of(words, self.tokenizer)
        examples = [
            Example(place, passage.tokens, question.tokens, -1, -1)
            for place, (passage, question) in enumerate(texts)
            if passage.starts and question.starts
        ]
        empty = (next((text.note for text in pair if not text.starts), NO_SCORE) for pair in texts)
        found = [[Answer(None, None, None, None, note)] for note in empty]
        lengths = [len(example.context.words) for example in examples]
        for batch in LengthBatchSampler(lengths, max_tokens=_AT_ONCE, shuffle=False):
            chosen = [examples[row] for row in batch]
            for example, spans in zip(chosen, self._spans(chosen, table, **options), strict=True):
                passage, question = texts[example.index]
                known = table.rows[example.question.words].tolist()
                doubt = NOTHING_KNOWN if self._unknown.all_unknown(known) else None
                notes = [note for note in (doubt, passage.note, question.note) if note]
                text = pairs[example.index][0]
                if spans:
                    found[example.index] = [_as_answer(text, passage, *span, notes) for span in spans]
        return found

    def _spans(
        self, examples: Sequence[Example], table: WordTable, *, k: int, max_length: int, threshold: float
    ) -> list[list[_Span]]:
        """Return the best spans of each example; a span of None means no answer."""
        inputs = make_batch(examples, table).inputs
        on_device: list[Any] = [part if part is None else part.to(self.device) for part in inputs]
        start, end, none = self.network(ReaderInput(*on_device))
        # No more than there are spans, because each costs memory.
        k = min(k, start.shape[1] * min(max_length, start.shape[1]))
        spans, sure, na_score, na_probability = decode(start, end, none, max_length=max_length, k=k)
        rows: list[list[_Span]] = [
            [(span[:2], span[2]) for span in zip(*row, strict=True) if span[0] >= 0]
            for row in zip(spans.start.tolist(), spans.end.tolist(), sure.tolist(), strict=True)
        ]
        if na_score is not None and na_probability is not None:
            refused = (na_score > threshold).tolist()
            rows = [
                [(None, chance), *row][:k] if is_refused else row
                for row, is_refused, chance in zip(rows, refused, na_probability.tolist(), strict=True)
            ]
        return rows


def _as_answer(
    passage: str, text: Text, span: tuple[int, int] | None, probability: float, notes: Sequence[str]
) -> Answer:
    if span is None:
        return Answer(None, probability, None, None, "; ".join([NO_ANSWER, *notes]))
    start, end = text.starts[span[0]], text.ends[span[1]]
    return Answer(passage[start:end], probability, start, end, "; ".join(notes) or None)


def _are_texts(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
