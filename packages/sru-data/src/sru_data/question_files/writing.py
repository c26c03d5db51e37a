"""Writes the files of one part, question by question."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from sru_data.annotation import Annotated
from sru_data.atomic import atomic_write
from sru_data.datasets.squad import Answer, Paragraph, Question, question_place
from sru_data.prepared_folders import GrowingFile
from sru_data.preparing import check_counts, none_kept
from sru_data.question_files.files import PartFiles, Row, part_paths

Reason = Literal[
    "empty context",
    "empty question",
    "context longer than the limit",
    "no answer",
    "answer not at its offset",
    "answer not on token borders",
]
"""Why a question was left out."""
_space = re.compile(r"\s*").match


class Span(NamedTuple):
    """A span of a context in tokens."""

    start: int
    """The first token."""
    end: int
    """The last token."""


@dataclass(frozen=True)
class PartReport:
    """How many questions of one part were read, kept and left out."""

    read: int
    """The number of questions in the files."""
    kept: int
    """The number kept as examples."""
    impossible: int
    """The number of kept questions that are marked impossible."""
    dropped: dict[str, int]
    """The number left out for each `Reason`."""
    examples: dict[str, str]
    """The first question left out for each reason: its file, place and id."""
    cut: int
    """The number of kept questions whose context was cut to the limit."""
    without_span: int
    """The number of kept questions with answers, none of which begins and ends at token boundaries."""

    def __post_init__(self) -> None:
        check_counts(
            read=self.read,
            kept=self.kept,
            dropped=self.dropped,
            examples=self.examples,
            reasons=get_args(Reason),
        )


class Numbering:
    """Numbers texts from 1, in order of first appearance."""

    def __init__(self) -> None:
        self._numbers: dict[str | None, int] = {None: 0}

    def __len__(self) -> int:
        """Return the number of entries, including 0."""
        return len(self._numbers)

    def of(self, texts: Iterable[str]) -> list[int]:
        """Return the numbers of texts, assigning new ones as needed."""
        numbers = self._numbers
        return [numbers.setdefault(text, len(numbers)) for text in texts]

    def texts(self) -> list[str]:
        """Return the texts by number; number 0, which is not used, is an empty string."""
        return ["" if text is None else text for text in self._numbers]


class Vocabulary:
    """The numbers of all words, lemmas, tags and entities, shared by all parts."""

    def __init__(self) -> None:
        self.columns = {name: Numbering() for name in ("words", "lemmas", "tags", "entities")}
        self.question_words: Counter[int] = Counter()
        self.training_words: Counter[int] = Counter()

    def numbers(self, tokens: Annotated) -> list[list[int]]:
        """Return the numbers of tokens, a column for each of their features."""
        columns = ((name, getattr(tokens, name)) for name in self.columns)
        return [self.columns[name].of(texts) for name, texts in columns if texts is not None]

    def lower(self) -> list[int]:
        """Return the number of the lower-cased form of every word, which is added to the words."""
        words, result = self.columns["words"], [0]
        while len(result) < len(words):
            result.extend(words.of([text.lower() for text in words.texts()[len(result) :]]))
        return result

    def content(self) -> dict[str, list[str] | list[int]]:
        """Return the content of the vocabulary file."""
        lower = self.lower()
        columns = {name: numbering.texts() for name, numbering in self.columns.items()}
        counts = {"question_words": self.question_words, "training_words": self.training_words}
        return {
            **{name: texts if len(texts) > 1 else [] for name, texts in columns.items()},
            "lower": lower,
            **{name: [count[number] for number in range(len(lower))] for name, count in counts.items()},
        }


def find_span(context: str, answer: Answer, tokens: Annotated) -> Span | Reason:
    """Return the token span of an answer, or the reason why there is none.

    White space around the answer, in its text or at its offset, is ignored.

    Args:
        context: The context.
        answer: The answer.
        tokens: The tokens of the context.
    """
    text = answer.text.strip()
    if not text:
        return "no answer"
    found = _space(context, answer.start) if 0 <= answer.start < len(context) else None
    if found is None or not context.startswith(text, found.end()):
        return "answer not at its offset"
    start, end = found.end(), found.end() + len(text)
    first, last = bisect_left(tokens.starts, start), bisect_left(tokens.ends, end)
    if tokens.starts[first : first + 1] != [start] or tokens.ends[last : last + 1] != [end]:
        return "answer not on token borders"
    return Span(first, last)


class PartWriter:
    """Writes the files of one part; they appear when the block ends without an exception.

    Args:
        folder: The folder.
        name: The name of the part. "train" keeps only the questions that can be trained on.
        vocabulary: The vocabulary that numbers the tokens.
        max_context_tokens: Longer contexts are left out of "train", and cut in other parts.
    """

    def __init__(self, folder: Path, name: str, vocabulary: Vocabulary, *, max_context_tokens: int) -> None:
        self._name = name
        self._paths = part_paths(folder, name)
        self._is_training = name == "train"
        self._vocabulary = vocabulary
        self._limit = max_context_tokens
        self._read = self._kept = self._impossible = self._cut = self._without_span = 0
        self._dropped: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def __enter__(self) -> PartWriter:
        self._stack = ExitStack()
        self._rows, self._tokens, self._texts = (
            GrowingFile(self._stack.enter_context(atomic_write(path))) for path in self._paths
        )
        return self

    def __exit__(self, *error: object) -> bool | None:
        return self._stack.__exit__(*error)  # type: ignore[arg-type]

    def add(self, paragraph: Paragraph, context: Annotated, questions: Sequence[Annotated]) -> None:
        """Write a paragraph and its questions.

        Args:
            paragraph: The paragraph.
            context: The tokens of its context.
            questions: The tokens of its questions.
        """
        tokens = context.first(self._limit)
        place: tuple[int, int] | None = None
        for question, question_tokens in zip(paragraph.questions, questions, strict=True):
            self._read += 1
            spans = [find_span(paragraph.context, answer, context) for answer in question.answers]
            reason = self._reason(question, spans, context, question_tokens)
            if reason is not None:
                self._dropped[reason] += 1
                self._examples.setdefault(reason, question_place(paragraph.place, question.id))
                continue
            if place is None:
                place = self._write_context(paragraph, tokens)
            within = (span for span in spans if isinstance(span, Span) and span.end < len(tokens.words))
            span = next(within, Span(-1, -1))
            self._without_span += bool(spans) and span.start < 0
            self._impossible += question.is_impossible
            self._cut += len(context.words) > self._limit
            self._write_question(question, question_tokens, span, place, len(tokens.words))

    def report(self) -> PartReport:
        """Return how many questions were read, kept and left out.

        Raises:
            DataError: No question could be kept.
        """
        if not self._kept:
            raise none_kept(self._name, "questions", read=self._read, examples=self._examples)
        return PartReport(
            read=self._read,
            kept=self._kept,
            impossible=self._impossible,
            dropped=dict(self._dropped),
            examples=self._examples,
            cut=self._cut,
            without_span=self._without_span,
        )

    def files(self) -> PartFiles:
        """Return the records of the files."""
        return PartFiles(self._rows.stored(), self._tokens.stored(), self._texts.stored())

    def _reason(
        self, question: Question, spans: Sequence[Span | Reason], context: Annotated, tokens: Annotated
    ) -> Reason | None:
        if not context.words:
            return "empty context"
        if not tokens.words:
            return "empty question"
        if not self._is_training or question.is_impossible:
            return None
        if len(context.words) > self._limit:
            return "context longer than the limit"
        if any(isinstance(span, Span) for span in spans):
            return None
        return next((span for span in spans if not isinstance(span, Span)), "no answer")

    def _write_context(self, paragraph: Paragraph, tokens: Annotated) -> tuple[int, int]:
        text = self._texts.write_line([paragraph.title, paragraph.context])
        numbers = self._vocabulary.numbers(tokens)
        if self._is_training:
            self._vocabulary.training_words.update(numbers[0])
        return self._tokens.write_numbers("i", *numbers, tokens.starts, tokens.ends) // 4, text

    def _write_question(
        self, question: Question, tokens: Annotated, span: Span, context: tuple[int, int], context_length: int
    ) -> None:
        self._kept += 1
        answers = [answer.text for answer in question.answers]
        text = self._texts.write_line([question.id, question.text, answers, question.is_impossible])
        numbers = self._vocabulary.numbers(tokens)
        if self._is_training:
            self._vocabulary.training_words.update(numbers[0])
            self._vocabulary.question_words.update(numbers[0])
        place = self._tokens.write_numbers("i", *numbers) // 4
        row = Row(place, len(tokens.words), context[0], context_length, *span, text, context[1])
        self._rows.write_numbers("q", row)
