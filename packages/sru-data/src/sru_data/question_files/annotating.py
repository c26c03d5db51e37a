"""Paragraphs with the tokens of their texts."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from itertools import islice

from sru_data.annotation import Annotated, Annotator
from sru_data.annotation.processes import annotate_batches
from sru_data.datasets.squad import Paragraph

# About a second of work for spaCy, so that an interrupted process exits soon.
_BATCH_CHARACTERS = 1 << 16


def annotated_paragraphs(
    paragraphs: Iterable[Paragraph], annotator: Annotator, processes: int
) -> Generator[tuple[Paragraph, Annotated, list[Annotated]], None, None]:
    """Yield paragraphs with the tokens of their contexts and of their questions.

    Args:
        paragraphs: The paragraphs; a few batches of them are read ahead.
        annotator: The annotator that tokenizes the texts.
        processes: The number of processes that annotate.

    Raises:
        DataError: As for `annotate_batches`.
    """
    waiting: deque[list[Paragraph]] = deque()

    def batches() -> Iterator[list[str]]:
        for batch in _batches(paragraphs):
            waiting.append(batch)
            yield [text for paragraph in batch for text in _texts(paragraph)]

    with contextlib.closing(annotate_batches(annotator, batches(), processes=processes)) as results:
        for result in results:
            tokens = iter(result)
            for paragraph in waiting.popleft():
                context, *questions = islice(tokens, 1 + len(paragraph.questions))
                yield paragraph, context, questions


def _texts(paragraph: Paragraph) -> list[str]:
    return [paragraph.context, *(question.text for question in paragraph.questions)]


def _batches(paragraphs: Iterable[Paragraph]) -> Iterator[list[Paragraph]]:
    batch, size = [], 0
    for paragraph in paragraphs:
        batch.append(paragraph)
        size += sum(map(len, _texts(paragraph)))
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
