"""Prepares questions once, for use by any number of runs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from sru_data.annotation import Annotated, Annotator, Features, make_annotator
from sru_data.datasets.squad import Paragraph, read_squad
from sru_data.paths import matching_files
from sru_data.prepared_folders import cached_folder, write_record
from sru_data.preparing import fingerprint, prepare_once, write_stored
from sru_data.processes import count_processors
from sru_data.question_files.annotating import annotated_paragraphs
from sru_data.question_files.files import part_paths
from sru_data.question_files.prepared import (
    FILE_NAME,
    FORMAT,
    PARTS,
    VOCABULARY_NAME,
    Part,
    PartName,
    PreparedQuestions,
    Settings,
    identity,
    open_prepared,
)
from sru_data.question_files.writing import PartWriter, Vocabulary

MAX_CONTEXT_TOKENS = 1000
"""The default maximum length of contexts. The longest one of SQuAD is shorter."""
FileNames = str | Path | Sequence[str | Path]


class Progress(NamedTuple):
    """The progress of a preparation."""

    stage: Literal["waiting", "checking"] | PartName
    """`waiting` while another process prepares the same folder, `checking` while the files are read for the
    first time, or the part that is being written."""
    questions: int = 0
    """How many questions of the part are done."""
    total: int | None = None
    """The number of questions in the part, if known."""


def prepare(
    files: Mapping[str, FileNames],
    folder: str | Path | None = None,
    *,
    name: str,
    features: Features = "none",
    spacy_model: str = "en_core_web_sm",
    max_context_tokens: int = MAX_CONTEXT_TOKENS,
    processes: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> PreparedQuestions:
    """Tokenize questions and contexts and write them to files, or open the files if they exist.

    "train" keeps the questions that can be trained on: an answer begins and ends at token boundaries, or the
    question is marked impossible. "validation" and "test" keep all questions, so scores cover the whole set,
    except those that are empty or have an empty context. `PreparedQuestions.report` counts the questions left
    out.

    All files are read and checked before the first one is written. If two processes prepare the same folder,
    one works and the other waits for it. An incomplete folder is not used: an interrupted preparation starts
    over.

    Args:
        files: The files of "train" and, if there are any, "validation" and "test", in the format of
            `sru_data.datasets.squad`: for each part a file, a pattern as in `glob`, or several.
        folder: The folder of this data set with these options, created if missing; default:
            `prepared_folder`.
        name: The name of the data set.
        features: "none" for words only, "spacy" to add lemmas, parts of speech and named entities.
        spacy_model: The spaCy model.
        max_context_tokens: Longer contexts are left out of "train", and cut in other parts.
        processes: The number of processes that tokenize; None means one per processor with spaCy, and without
            it only this one, which is as fast. A script that uses several must call this below
            `if __name__ == "__main__":`.
        progress: Called before each stage and after each paragraph.

    Returns:
        The prepared questions.

    Raises:
        DataError: A file is missing or not in that format, two questions of one part have the same id, a part
            has no usable question, spaCy or its model is missing, or the folder holds other questions or
            damaged files.
        ValueError: An option is invalid.
    """
    if processes is not None and processes < 1:
        raise ValueError(f"prepare: processes must be at least 1, got {processes}")
    report = progress or (lambda _: None)
    wanted = _Wanted.of(files, name, features, spacy_model, max_context_tokens)
    folder = wanted.folder if folder is None else Path(folder)
    usual = 1 if features == "none" else count_processors()
    prepare_once(
        folder,
        wanted,
        lambda: _finish(folder, wanted, processes or usual, report),
        file_name=FILE_NAME,
        read=Settings.read,
        leftovers=[folder / VOCABULARY_NAME, *chain(*(part_paths(folder, part) for part in PARTS))],
        content="questions",
        waiting=lambda: report(Progress("waiting")),
    )
    return open_prepared(folder)


def prepared_folder(
    files: Mapping[str, FileNames],
    *,
    name: str,
    features: Features = "none",
    spacy_model: str = "en_core_web_sm",
    max_context_tokens: int = MAX_CONTEXT_TOKENS,
) -> Path:
    """Return the folder below `download.cache_dir()` for these files and options.

    Args:
        files: As for `prepare`, like the other arguments.
        name: The name of the data set.
        features: The features of tokens.
        spacy_model: The spaCy model.
        max_context_tokens: The maximum length of contexts.

    Raises:
        DataError: A file, spaCy or its model is missing.
        ValueError: An option is invalid.
    """
    return _Wanted.of(files, name, features, spacy_model, max_context_tokens).folder


@dataclass(frozen=True)
class _Wanted:
    """The intended content of a folder."""

    name: str
    annotator: Annotator
    max_context_tokens: int
    paths: Mapping[PartName, Sequence[Path]]
    sources: Mapping[str, str]

    @classmethod
    def of(
        cls,
        files: Mapping[str, FileNames],
        name: str,
        features: Features,
        spacy_model: str,
        max_context_tokens: int,
    ) -> _Wanted:
        if not {"train"} <= files.keys() <= set(PARTS):
            given = ", ".join(files) or "nothing"
            raise ValueError(
                f"prepare: files must be for train and optionally validation and test, got {given}"
            )
        if max_context_tokens < 1:
            raise ValueError(f"prepare: max_context_tokens must be at least 1, got {max_context_tokens}")
        annotator = make_annotator(features, model=spacy_model)
        paths = {part: matching_files(files[part]) for part in PARTS if part in files}
        sources: dict[str, str] = {
            part: fingerprint(found, content="questions") for part, found in paths.items()
        }
        return cls(name, annotator, max_context_tokens, paths, sources)

    @property
    def identity(self) -> dict[str, object]:
        return identity(self.name, self.annotator.description, self.max_context_tokens, self.sources)

    @property
    def folder(self) -> Path:
        features = self.annotator.description["features"]
        return cached_folder(f"{self.name}-{features}", [FORMAT, sorted(self.identity.items())])


def _finish(folder: Path, wanted: _Wanted, processes: int, report: Callable[[Progress], None]) -> None:
    totals = _check(wanted.paths, report)
    vocabulary, parts = Vocabulary(), {}
    for part, found in wanted.paths.items():
        annotated = annotated_paragraphs(read_squad(found), wanted.annotator, processes)
        writer = PartWriter(folder, part, vocabulary, max_context_tokens=wanted.max_context_tokens)
        with contextlib.closing(annotated), writer:
            for done in _write(annotated, writer):
                report(Progress(part, done, totals[part]))
        parts[str(part)] = Part(wanted.sources[part], writer.report(), writer.files())
    content = json.dumps(vocabulary.content(), ensure_ascii=False).encode()
    stored = write_stored(folder / VOCABULARY_NAME, content)
    settings = Settings(
        wanted.name, dict(wanted.annotator.description), wanted.max_context_tokens, parts, stored
    )
    # Written last: a folder with this file is finished.
    write_record(folder / FILE_NAME, settings, version=FORMAT)


def _check(
    paths: Mapping[PartName, Sequence[Path]], report: Callable[[Progress], None]
) -> dict[PartName, int]:
    """Read all files before the work begins; return the number of questions of each part."""
    report(Progress("checking"))
    return {
        part: sum(len(paragraph.questions) for paragraph in read_squad(found))
        for part, found in paths.items()
    }


def _write(
    annotated: Iterable[tuple[Paragraph, Annotated, Sequence[Annotated]]], writer: PartWriter
) -> Iterator[int]:
    """Write a part; yield the number of questions done, starting with 0."""
    done = 0
    yield done
    for paragraph, context, questions in annotated:
        writer.add(paragraph, context, questions)
        done += len(questions)
        yield done
    # Raises an error for an empty part before its files get their names.
    writer.report()
