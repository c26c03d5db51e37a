"""Trained readers in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_apps.decoding.unknown import UnknownParts
from sru_apps.inference.trained import Trained
from sru_apps.ranges import check_at_least
from sru_apps.tasks.squad.answers import Spans, best_spans, no_answer_score, span_probabilities
from sru_apps.tasks.squad.batches import ReaderInput, WordTable, make_batch
from sru_apps.tasks.squad.model import ReaderConfig, build_reader
from sru_apps.train.errors import UserError
from sru_data.annotation import Annotated, annotator_of
from sru_data.loaders.buckets import LengthBatchSampler
from sru_data.question_files import Example, Tokens
from sru_data.tokenizers import Tokenizer, WordTokenizer
from sru_data.tokenizers.huggingface import without_surrogates

# Words read at once, padding included, and characters annotated together (each pair counts as some); these
# bound the memory.
_AT_ONCE = 8192
_WINDOW = 1 << 20
_PAIR = 1 << 8
_LONGEST = 1 << 16
_WORDS = {"passage": 4096, "question": 512}
"""How much of a text is read."""
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


class _Text(NamedTuple):
    """A passage or a question, cut into words."""

    tokens: Tokens
    starts: Sequence[int]
    ends: Sequence[int]
    note: str | None
    """What was not read of it."""


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
    def wrap(cls, tokenizer: Tokenizer) -> WordTokenizer:
        """Refuse a tokenizer that does not number words."""
        if not isinstance(tokenizer, WordTokenizer):
            raise UserError(f"expected a vocabulary of words, got a {type(tokenizer).__name__}")
        return tokenizer

    @classmethod
    def check(cls, config: ReaderConfig, entries: Mapping[str, Any]) -> None:
        """Refuse entries that do not fit the network, or are not what it says of texts.

        Raises:
            ValueError: One does not fit.
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
            k: The most answers to return.
            max_length: The most words of an answer; default: that of the model.
            threshold: As for `stream`.

        Returns:
            The answers, at least one, the most probable first.

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
            The answers to one question, at least one, the most probable first.

        Raises:
            ValueError: A text is no string, or a number is less than 1.
        """
        check_at_least(1, k=k, max_length=max_length)
        if threshold is not None and not self.config.no_answer:
            raise ValueError(f"this model always answers, so there is no threshold; got {threshold:g}")
        threshold = self._threshold if threshold is None else threshold
        options = {"k": k, "max_length": max_length or self.config.max_answer, "threshold": threshold}
        return chain.from_iterable(self._answer(window, options) for window in _windows(pairs))

    @torch.inference_mode()
    def _answer(self, pairs: Sequence[tuple[str, str]], options: Mapping[str, Any]) -> list[list[Answer]]:
        words, lemmas = {"": 0}, {"": 0}
        parts = zip(_WORDS, zip(*pairs, strict=True), strict=True)
        passages, questions = (self._read(name, texts, words, lemmas) for name, texts in parts)
        texts = [(passages[passage], questions[question]) for passage, question in pairs]
        table = WordTable.of(list(words), self.tokenizer)
        examples = [
            Example(place, passage.tokens, question.tokens, -1, -1)
            for place, (passage, question) in enumerate(texts)
            if passage.starts and question.starts
        ]
        found = [
            [Answer(None, None, None, None, question.note if passage.starts else passage.note)]
            for passage, question in texts
        ]
        lengths = [len(example.context.words) for example in examples]
        for batch in LengthBatchSampler(lengths, max_tokens=_AT_ONCE, shuffle=False):
            chosen = [examples[row] for row in batch]
            for example, spans in zip(chosen, self._spans(chosen, table, **options), strict=True):
                passage, question = texts[example.index]
                known = table.rows[example.question.words].tolist()
                doubt = NOTHING_KNOWN if self._unknown.all_unknown(known) else None
                notes = [note for note in (doubt, passage.note, question.note) if note]
                text = pairs[example.index][0]
                found[example.index] = [_as_answer(text, passage, *span, notes) for span in spans]
        return found

    def _read(
        self, name: str, texts: Iterable[str], words: dict[str, int], lemmas: dict[str, int]
    ) -> dict[str, _Text]:
        """Cut texts into words, each text once, and number the words."""
        distinct, most = list(dict.fromkeys(texts)), _WORDS[name]
        annotated = self.annotator.annotate(without_surrogates(text[:_LONGEST]) for text in distinct)
        read = {}
        for text, found in zip(distinct, annotated, strict=True):
            shortened: list[Any] = [part and part[:most] for part in found]
            kept = Annotated(*shortened)
            tokens = Tokens(
                _numbers(kept.words, words),
                None if kept.lemmas is None else _numbers(kept.lemmas, lemmas),
                _known(kept.tags, self._tags),
                _known(kept.entities, self._entities),
            )
            note = None if kept.words else f"the {name} has no words"
            if kept.words and (len(text) > _LONGEST or len(found.words) > most):
                unread = len(text) - kept.ends[-1]
                note = f"the last {unread:,} characters of the {name} were not read"
            read[text] = _Text(tokens, kept.starts, kept.ends, note)
        return read

    def _spans(
        self, examples: Sequence[Example], table: WordTable, *, k: int, max_length: int, threshold: float
    ) -> list[list[_Span]]:
        """Return the best spans of each example; a span of None is the lack of an answer."""
        inputs = make_batch(examples, table).inputs
        on_device: list[Any] = [part if part is None else part.to(self.device) for part in inputs]
        start, end, none = self.network(ReaderInput(*on_device))
        # Not more than there are, since each costs memory.
        k = min(k, start.shape[1] * min(max_length, start.shape[1]))
        spans = best_spans(start, end, max_length=max_length, k=k)
        chances = span_probabilities(spans, start, end, max_length=max_length, none=none)
        rows: list[list[_Span]] = [
            [(span[:2], span[2]) for span in zip(*row, strict=True) if span[0] >= 0]
            for row in zip(spans.start.tolist(), spans.end.tolist(), chances.tolist(), strict=True)
        ]
        if none is not None:
            refused = (no_answer_score(spans, none) > threshold).tolist()
            place = torch.zeros_like(spans.start[:, :1])
            no_span = Spans(none[:, None], place, place)
            chances = span_probabilities(no_span, start, end, max_length=max_length, none=none)
            rows = [
                [(None, chance), *row][:k] if is_refused else row
                for row, is_refused, (chance,) in zip(rows, refused, chances.tolist(), strict=True)
            ]
        return rows


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
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not _are_texts(pair):
            got = repr(pair)[:60]
            raise ValueError(f"predict: pairs[{place}] must be two texts, passage and question, got {got}")
        passage, question = pair
        size += _PAIR + len(question[:_LONGEST]) + (0 if passage == last else len(passage[:_LONGEST]))
        last = passage
        window.append((passage, question))
        if size > _WINDOW:
            yield window
            window, size, last = [], 0, None
    if window:
        yield window


def _are_texts(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _numbers(words: Iterable[str], known: dict[str, int]) -> Tensor:
    """Number words, and remember new ones."""
    return torch.tensor([known.setdefault(word, len(known)) for word in words], dtype=torch.int64)


def _known(names: Sequence[str] | None, known: Mapping[str, int]) -> Tensor | None:
    """Look up names, if the model reads any; it takes one that training lacked as padding."""
    if names is None or not known:
        return None
    return torch.tensor([known.get(name, 0) for name in names], dtype=torch.int64)
