"""Prepared questions: their parts, and the meaning of their token numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from sru_data.prepared_folders import QUESTIONS_NAME, Stored, first_difference, read_settings
from sru_data.question_files.files import REMEDY, ROW_BYTES, PartFiles, QuestionFile
from sru_data.question_files.writing import PartReport

FORMAT = 1
FILE_NAME = QUESTIONS_NAME
VOCABULARY_NAME = "vocabulary.json"
PartName = Literal["train", "validation", "test"]
PARTS: tuple[PartName, ...] = get_args(PartName)
_COLUMNS = ("words", "lemmas", "tags", "entities")


@dataclass(frozen=True)
class Part:
    """The record of one part."""

    source: str
    """The checksum of the files it was read from."""
    report: PartReport
    """What was read, kept and left out."""
    files: PartFiles
    """Its prepared files."""

    def __post_init__(self) -> None:
        if self.files.rows.size != self.report.kept * ROW_BYTES:
            raise ValueError(f"{self.report.kept:,} questions in {self.files.rows.size:,} bytes")


@dataclass(frozen=True)
class Settings:
    """The content of `questions.json`, which is written last; without it the folder is ignored."""

    name: str
    """The name of the data set."""
    annotator: dict[str, str]
    """The description of the annotator that tokenized the texts."""
    max_context_tokens: int
    """The maximum length of contexts."""
    parts: dict[str, Part]
    """The parts by name."""
    vocabulary: Stored
    """The vocabulary file."""

    def __post_init__(self) -> None:
        if not {"train"} <= self.parts.keys() <= set(PARTS):
            raise ValueError(f"questions for {', '.join(self.parts) or 'no part'}")

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """Read the settings of a folder.

        Raises:
            DataError: They are missing, damaged or of another version.
        """
        return read_settings(folder, FILE_NAME, cls, version=FORMAT, remedy=REMEDY)

    def difference(self, now: Mapping[str, object]) -> str | None:
        """Describe the first difference from the intended content, if any.

        Args:
            now: The `identity` of the intended content.
        """
        sources = {name: part.source for name, part in self.parts.items()}
        then = identity(self.name, self.annotator, self.max_context_tokens, sources)
        return first_difference(then, now, parts=PARTS, sources="files")


def identity(
    name: str, annotator: Mapping[str, str], max_context_tokens: int, sources: Mapping[str, str]
) -> dict[str, object]:
    """Return everything that determines the content of a folder, by the names used in messages."""
    return {"name": name, **annotator, "max_context_tokens": max_context_tokens, **sources}


@dataclass(frozen=True, eq=False)
class PreparedQuestions:
    """The parts of a data set of questions, with their tokens as numbers."""

    name: str
    """The name of the data set."""
    folder: Path
    """The folder of its files."""
    description: Mapping[str, str]
    """The description of the annotator, for `annotator_of`."""
    max_context_tokens: int
    """The maximum number of tokens of a context: longer ones are left out of training, and cut in validation
    and test."""
    words: list[str]
    """The words by number, as spelled in the texts, and their lower-cased forms; number 0 is not a word."""
    lower: Tensor
    """(S,) int64: the number of the lower-cased form of each word."""
    lemmas: list[str]
    """The lemmas by number; number 0 is not a lemma. Empty if the annotator provides none."""
    tags: list[str]
    """The parts of speech by number, in the same way."""
    entities: list[str]
    """The types of named entities by number, in the same way; a token outside any entity has an empty
    type."""
    parts: Mapping[str, QuestionFile]
    """The questions of "train", and of "validation" and "test" if there are any."""
    report: Mapping[str, PartReport]
    """What was read, kept and left out, for each part."""
    question_words: Tensor
    """(S,) int64: how often each word occurs in the questions of "train"."""
    training_words: Tensor
    """(S,) int64: how often each word occurs in "train", each context counted once."""


def open_prepared(folder: str | Path, *, verify: bool | None = None) -> PreparedQuestions:
    """Open what `prepare` wrote.

    Args:
        folder: The folder.
        verify: Whether to read all files and compare their checksums; None does so for those of up to 64 MiB.
            Sizes are always compared.

    Raises:
        DataError: Files are missing, damaged or of another version.
    """
    folder = Path(folder)
    settings = Settings.read(folder)
    path = folder / VOCABULARY_NAME
    settings.vocabulary.check(path, content="prepared questions", remedy=REMEDY, verify=True)
    vocabulary: dict[str, Any] = json.loads(path.read_bytes())
    columns = {name: vocabulary[name] for name in _COLUMNS}
    has_lemmas, has_tags, has_entities = (bool(columns[name]) for name in _COLUMNS[1:])
    parts = {
        name: QuestionFile.open(
            folder, name, part.files, columns=(has_lemmas, has_tags, has_entities), verify=verify
        )
        for name, part in settings.parts.items()
    }
    return PreparedQuestions(
        name=settings.name,
        folder=folder,
        description=settings.annotator,
        max_context_tokens=settings.max_context_tokens,
        **columns,
        lower=torch.tensor(vocabulary["lower"]),
        parts=parts,
        report={name: part.report for name, part in settings.parts.items()},
        question_words=torch.tensor(vocabulary["question_words"]),
        training_words=torch.tensor(vocabulary["training_words"]),
    )
