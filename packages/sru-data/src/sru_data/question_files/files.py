"""The questions of one part of a data set in memory-mapped files."""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from sru_data.prepared_folders import Stored, map_tensor

REMEDY = "delete the folder and prepare the questions again"


class Row(NamedTuple):
    """The entry of a question in `NAME.rows`; offsets count from the beginning of a file."""

    question: int
    """The offset of its tokens in `NAME.tokens`, in numbers."""
    question_length: int
    """The number of its tokens."""
    context: int
    """The offset of the tokens of its context."""
    context_length: int
    """The number of tokens of its context."""
    start: int
    """The first token of the answer, or -1."""
    end: int
    """The last token of the answer, or -1."""
    question_text: int
    """The offset of its text in `NAME.texts`, in bytes."""
    context_text: int
    """The offset of the text of its context."""


ROW_BYTES = 8 * len(Row._fields)


class Tokens(NamedTuple):
    """The tokens of a text as numbers, each (T,) int64."""

    words: Tensor
    """Indices into `PreparedQuestions.words`."""
    lemmas: Tensor | None = None
    """Indices into `PreparedQuestions.lemmas`, if there are any."""
    tags: Tensor | None = None
    """Indices into `PreparedQuestions.tags`, if there are any."""
    entities: Tensor | None = None
    """Indices into `PreparedQuestions.entities`, if there are any."""


class Example(NamedTuple):
    """A question, its context and where the answer is."""

    index: int  # type: ignore[assignment]  # hides the method of tuples
    """The number of the question in its part."""
    context: Tokens
    """The tokens of the context."""
    question: Tokens
    """The tokens of the question."""
    start: int
    """The first token of the answer; -1 if there is no answer, or none at token boundaries."""
    end: int
    """The last token of the answer, or -1."""


class QuestionText(NamedTuple):
    """The texts of an example."""

    id: str
    """The id of the question."""
    question: str
    """The question."""
    context: str
    """The context."""
    title: str
    """The title of its article."""
    answers: tuple[str, ...]
    """All answers, the references for scoring."""
    is_impossible: bool
    """Whether the question cannot be answered from the context."""
    starts: list[int]
    """For each token of the context, the character offset of its beginning."""
    ends: list[int]
    """For each token of the context, the character offset of its end."""


@dataclass(frozen=True)
class PartFiles:
    """The three files of a part."""

    rows: Stored
    """`NAME.rows`: a `Row` of int64 per question."""
    tokens: Stored
    """`NAME.tokens`: int32; for each text the numbers of its words, then of its lemmas, tags and entities if
    there are any; then for contexts, where tokens begin and where they end."""
    texts: Stored
    """`NAME.texts`: a line of JSON per context, [title, context], and per question, [id, question, answers,
    whether it is impossible]."""


def part_paths(folder: Path, name: str) -> PartPaths:
    """Return the paths of the files of a part."""
    return PartPaths(*(folder / f"{name}.{kind}" for kind in PartPaths._fields))


class PartPaths(NamedTuple):
    """The paths of the files of a part."""

    rows: Path
    tokens: Path
    texts: Path


@dataclass(frozen=True, eq=False)
class QuestionFile(Sequence[Example]):
    """The questions of one part, as a sequence of examples; they use no memory beyond the system's cache."""

    name: str
    """The name of the part."""
    context_lengths: Tensor
    """(N,) int64: the number of tokens of each question's context."""
    question_lengths: Tensor
    """(N,) int64: the number of tokens of each question."""
    _rows: Tensor = field(repr=False)
    _numbers: Tensor = field(repr=False)
    _texts: mmap.mmap = field(repr=False)
    _columns: tuple[int | None, ...] = field(repr=False)
    _opened_with: tuple[Any, ...] = field(repr=False)

    @classmethod
    def open(
        cls,
        folder: Path,
        name: str,
        files: PartFiles,
        *,
        columns: tuple[bool, bool, bool],
        verify: bool | None = None,
    ) -> QuestionFile:
        """Memory-map the files of a part.

        Args:
            folder: Their folder.
            name: The name of the part.
            files: Their records.
            columns: Whether tokens have lemmas, tags and entities.
            verify: Whether to compare checksums; None does so for files of up to 64 MiB.

        Raises:
            DataError: A file is missing or damaged.
        """
        paths = part_paths(folder, name)
        for path, stored in zip(paths, (files.rows, files.tokens, files.texts), strict=True):
            stored.check(path, content="prepared questions", remedy=REMEDY, verify=verify)
        rows = map_tensor(paths.rows, torch.int64).view(-1, len(Row._fields))
        with paths.texts.open("rb") as file:
            texts = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        present = [0, *(number for number, has_column in enumerate(columns, start=1) if has_column)]
        slots = tuple(present.index(number) if number in present else None for number in range(4))
        context_lengths, question_lengths = (
            rows[:, Row._fields.index(name)].clone() for name in ("context_length", "question_length")
        )
        numbers = map_tensor(paths.tokens, torch.int32)
        opened_with = (folder, name, files, columns)
        return cls(name, context_lengths, question_lengths, rows, numbers, texts, slots, opened_with)

    @property
    def contexts(self) -> Tensor:
        """(N,) int64: a number that identifies each question's context."""
        return self._rows[:, Row._fields.index("context_text")].clone()

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process map the files itself."""
        return _reopen, self._opened_with

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        """Return a question.

        Args:
            index: Its number.
        """
        row = self._row(index)
        return Example(
            index % len(self._rows),
            self._tokens(row.context, row.context_length),
            self._tokens(row.question, row.question_length),
            row.start,
            row.end,
        )

    def text(self, index: int) -> QuestionText:
        """Return the texts of a question.

        Args:
            index: Its number.
        """
        row = self._row(index)
        title, context = self._line(row.context_text)
        name, question, answers, is_impossible = self._line(row.question_text)
        T = row.context_length
        place = row.context + T * (4 - self._columns.count(None))
        starts, ends = self._numbers[place : place + 2 * T].view(2, T).tolist()
        return QuestionText(name, question, context, title, tuple(answers), is_impossible, starts, ends)

    def _row(self, index: int) -> Row:
        return Row(*self._rows[index].tolist())

    def _line(self, place: int) -> list[Any]:
        return cast("list[Any]", json.loads(self._texts[place : self._texts.find(b"\n", place)]))

    def _tokens(self, place: int, length: int) -> Tokens:
        count = 4 - self._columns.count(None)
        numbers = self._numbers[place : place + count * length].to(torch.int64)
        if count == 1:
            return Tokens(numbers)
        columns = numbers.view(count, length).unbind()
        _, *others = (None if slot is None else columns[slot] for slot in self._columns)
        return Tokens(columns[0], *others)


def _reopen(folder: Path, name: str, files: PartFiles, columns: tuple[bool, bool, bool]) -> QuestionFile:
    return QuestionFile.open(folder, name, files, columns=columns, verify=False)
