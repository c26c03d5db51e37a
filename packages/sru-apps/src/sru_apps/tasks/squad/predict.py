"""Trained readers in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from sru_data.annotation import Annotated, annotator_of
from sru_data.question_files import Example, Tokens
from torch import Tensor

from sru_apps.decoding.unknown import UnknownParts
from sru_apps.inference.trained import Trained
from sru_apps.ranges import check_at_least
from sru_apps.tasks.squad.answers import Spans, best_spans, no_answer_score, span_probabilities
from sru_apps.tasks.squad.batches import ReaderInput, WordTable, make_batch
from sru_apps.tasks.squad.model import ReaderConfig, build_reader
from sru_data.loaders.buckets import LengthBatchSampler
from sru_data.tokenizers.huggingface import without_surrogates

# Words read at once, padding included, and characters annotated together; these bound the memory.
_AT_ONCE = 8192
_WINDOW = 1 << 20
_PAIRS = 4096
_LONGEST = 1 << 16
_PASSAGE, _QUESTION = 4096, 512
EMPTY_PASSAGE = "the passage has no words"
EMPTY_QUESTION = "the question has no words"
"""The notes where there is nothing to read."""
NOTHING_KNOWN = "no word of the question is in the model's vocabulary"
"""The note on a question of unknown words only, whose answer tells nothing."""
NO_ANSWER = "the passage does not answer the question"
"""The note in place of an answer, by a model that was trained on such questions."""


class Answer(NamedTuple):
    """An answer to a question: a part of its passage."""

    text: str | None
    """The answer, as it stands in the passage. None where there is none."""
    probability: float | None
    """Its probability among all that the model may answer; None where nothing was read."""
    start: int | None
    """Where it begins: `passage[start:end]` is the text."""
    end: int | None
    """Where it ends."""
    note: str | None = None
    """Why there is no answer, or what makes it doubtful."""


_Span = tuple[tuple[int, int] | None, float]
"""The first and the last word of an answer, or None, and its probability."""


class _Options(NamedTuple):
    """How answers are chosen."""

    k: int
    max_length: int
    threshold: float


class _Text(NamedTuple):
    """A passage or a question, cut into words."""

    tokens: Tokens
    starts: Sequence[int]
    ends: Sequence[int]
    unread: int
    """The number of characters at its end that were not read."""


class QuestionAnswerer(Trained):
    """A trained reader.

        model = sru_apps.load("runs/squad/squad/first")
        passage = "The Eiffel Tower was built from 1887 to 1889 by Gustave Eiffel's company."
        for text, probability, start, end, _ in model.answer(passage, "Who built the tower?", k=3):
            print(probability, text)

    Attributes:
        annotator: What cuts texts into words, as before training.
    """

    config_class = ReaderConfig
    network_class = staticmethod(build_reader)

    def __init__(self, network: Any, tokenizer: Any, entries: Mapping[str, Any]) -> None:
        super().__init__(network, tokenizer)
        self.annotator = annotator_of(entries["annotator"])
        self._unknown = UnknownParts(tokenizer)
        self._threshold = float(entries.get("threshold") or 0.0)
        self._tags = {name: number for number, name in enumerate(entries["tags"])}
        self._entities = {name: number for number, name in enumerate(entries["entities"])}

    @classmethod
    def entries(cls, hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Turn the hyper-parameters of a checkpoint into the entries of an exported `config.json`."""
        return {**hyper_parameters, "model": hyper_parameters["config"]}

    @classmethod
    def check(cls, config: ReaderConfig, entries: Mapping[str, Any]) -> None:
        """Refuse names of tags and entities that do not fit the network.

        Raises:
            ValueError: There are more or fewer than it knows, or one is no text.
        """
        for kind, size in (("tags", config.num_tags), ("entities", config.num_entities)):
            names = entries[kind]
            if len(names) != size or not all(isinstance(name, str) for name in names):
                raise ValueError(f"expected {size} {kind}, each a text, got {repr(names)[:80]}")

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
            k: The most answers to return.
            max_length: The most words of an answer; default: that of the model.
            threshold: As for `stream`.

        Returns:
            The answers, the most probable first; at least one.

        Raises:
            ValueError: A text is no string, or a number is less than 1.
        """
        (found,) = self.stream([(passage, question)], k=k, max_length=max_length, threshold=threshold)
        return found

    def predict(self, pairs: Iterable[tuple[str, str]]) -> list[Answer]:
        """Answer many questions.

        Args:
            pairs: Passages, each with a question.

        Returns:
            The best answer to each, in their order.

        Raises:
            ValueError: A text is no string.
        """
        return [best for best, *_ in self.stream(pairs)]

    def stream(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        k: int = 1,
        max_length: int | None = None,
        threshold: float | None = None,
    ) -> Iterator[list[Answer]]:
        """Answer questions that come one after the other, many at a time.

        Args:
            pairs: Passages, each with a question.
            k: The most answers to each.
            max_length: The most words of an answer; default: that of the model.
            threshold: Of a model that was trained on unanswerable questions: how much better than the best
                answer, on the scale of logits, none must be to come first; default: 0.

        Yields:
            The answers to one question, the most probable first; at least one.

        Raises:
            ValueError: A text is no string, or a number is less than 1.
        """
        check_at_least(1, k=k, max_length=max_length)
        if threshold is not None and not self.config.no_answer:
            raise ValueError(f"this model always answers, so there is no threshold; got {threshold:g}")
        options = _Options(
            k, max_length or self.config.max_answer, self._threshold if threshold is None else threshold
        )
        return chain.from_iterable(self._answer(window, options) for window in _windows(pairs))

    @torch.inference_mode()
    def _answer(self, pairs: Sequence[tuple[str, str]], options: _Options) -> list[list[Answer]]:
        words, lemmas = {"": 0}, {"": 0}
        passages, questions = (
            self._read(texts, longest, words, lemmas)
            for texts, longest in zip(zip(*pairs, strict=True), (_PASSAGE, _QUESTION), strict=True)
        )
        table = WordTable.of(list(words), self.tokenizer)
        found: list[list[Answer]] = [[] for _ in pairs]
        examples = []
        for place, (passage, question) in enumerate(pairs):
            context, asked = passages[passage], questions[question]
            if context.starts and asked.starts:
                examples.append(Example(place, context.tokens, asked.tokens, -1, -1))
            else:
                note = EMPTY_QUESTION if context.starts else EMPTY_PASSAGE
                found[place] = [Answer(None, None, None, None, note)]
        lengths = [len(example.context.words) for example in examples]
        for batch in LengthBatchSampler(lengths, max_tokens=_AT_ONCE, shuffle=False):
            rows = self._spans([examples[row] for row in batch], table, options)
            for row, spans in zip(batch, rows, strict=True):
                place = examples[row].index
                passage, question = pairs[place]
                context, asked = passages[passage], questions[question]
                notes = self._notes(context, asked, table)
                found[place] = [_as_answer(passage, context, *span, notes) for span in spans]
        return found

    def _read(
        self, texts: Iterable[str], longest: int, words: dict[str, int], lemmas: dict[str, int]
    ) -> dict[str, _Text]:
        """Cut texts into words, each text once, and number the words."""
        distinct = list(dict.fromkeys(texts))
        cut = (without_surrogates(text[:_LONGEST]) for text in distinct)
        read = {}
        for text, found in zip(distinct, self.annotator.annotate(cut), strict=True):
            kept = Annotated(*(part and part[:longest] for part in found))
            whole = len(text) <= _LONGEST and len(found.words) <= longest
            tokens = Tokens(
                _numbers(kept.words, words),
                None if kept.lemmas is None else _numbers(kept.lemmas, lemmas),
                _known(kept.tags, self._tags),
                _known(kept.entities, self._entities),
            )
            unread = 0 if whole else len(text) - max(kept.ends, default=0)
            read[text] = _Text(tokens, kept.starts, kept.ends, unread)
        return read

    def _spans(self, examples: Sequence[Example], table: WordTable, options: _Options) -> list[list[_Span]]:
        """Return the best spans of each example; a span of None is the lack of an answer."""
        inputs = make_batch(examples, table).inputs
        on_device = (part if part is None else part.to(self.device) for part in inputs)
        scores = self.network(ReaderInput(*on_device))
        start, end, none = (part if part is None else part.cpu() for part in scores)
        length = options.max_length
        # Not more than there are, since each costs memory.
        k = min(options.k, start.shape[1] * min(length, start.shape[1]))
        spans = best_spans(start, end, max_length=length, k=k)
        chances = span_probabilities(spans, start, end, max_length=length, none=none)
        rows: list[list[_Span]] = [
            [(span[:2], span[2]) for span in zip(*row, strict=True) if span[0] >= 0]
            for row in zip(spans.start.tolist(), spans.end.tolist(), chances.tolist(), strict=True)
        ]
        if none is not None:
            no_span = Spans(none[:, None], *torch.zeros(2, len(examples), 1, dtype=torch.int64))
            chances = span_probabilities(no_span, start, end, max_length=length, none=none)
            is_none = no_answer_score(spans, none) > options.threshold
            rows = [
                [(None, chance), *row][:k] if refused else row
                for row, refused, (chance,) in zip(rows, is_none.tolist(), chances.tolist(), strict=True)
            ]
        return rows

    def _notes(self, passage: _Text, question: _Text, table: WordTable) -> list[str]:
        rows = table.rows[question.tokens.words].tolist()
        cut = {"passage": passage.unread, "question": question.unread}
        return [
            *([NOTHING_KNOWN] if self._unknown.all_unknown(rows) else []),
            *(
                f"the last {count:,} characters of the {name} were not read"
                for name, count in cut.items()
                if count
            ),
        ]


def _as_answer(
    passage: str, text: _Text, span: tuple[int, int] | None, probability: float, notes: Sequence[str]
) -> Answer:
    if span is None:
        return Answer(None, probability, None, None, "; ".join([NO_ANSWER, *notes]))
    start, end = text.starts[span[0]], text.ends[span[1]]
    return Answer(passage[start:end], probability, start, end, "; ".join(notes) or None)


def _windows(pairs: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Divide passages and questions into lists that fit into memory, and refuse what is none."""
    window: list[tuple[str, str]] = []
    size, last = 0, None
    for place, pair in enumerate(pairs):
        if not _is_pair(pair):
            raise ValueError(
                f"predict: pairs[{place}] must be a passage and a question, two texts, got {repr(pair)[:60]}"
            )
        passage, question = pair
        size += len(question[:_LONGEST]) + (0 if passage == last else len(passage[:_LONGEST]))
        last = passage
        if window and (size > _WINDOW or len(window) == _PAIRS):
            yield window
            window, size = [], 0
        window.append((passage, question))
    if window:
        yield window


def _is_pair(pair: Any) -> bool:
    is_two = isinstance(pair, (tuple, list)) and len(pair) == 2
    return is_two and all(isinstance(text, str) for text in pair)


def _numbers(words: Iterable[str], known: dict[str, int]) -> Tensor:
    """Number words, and remember new ones."""
    return torch.tensor([known.setdefault(word, len(known)) for word in words], dtype=torch.int64)


def _known(names: Sequence[str] | None, known: Mapping[str, int]) -> Tensor | None:
    """Look up names, if the model reads any; it takes one that training lacked as padding."""
    if names is None or not known:
        return None
    return torch.tensor([known.get(name, 0) for name in names], dtype=torch.int64)
