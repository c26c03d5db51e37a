"""Prepares questions once for every run that reads them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Literal, NamedTuple, cast

from sru_data.annotation import Annotated, Annotator, Features, make_annotator
from sru_data.annotation.processes import annotate_batches
from sru_data.atomic import atomic_write, lock_folder, remove_temporaries
from sru_data.datasets.squad import Paragraph, read_squad
from sru_data.errors import DataError, shortened
from sru_data.paths import matching_files
from sru_data.question_files.files import Stored, part_paths
from sru_data.question_files.prepared import (
    FILE_NAME,
    FORMAT,
    PARTS,
    VOCABULARY_NAME,
    Part,
    PreparedQuestions,
    Settings,
    identity,
    open_prepared,
)
from sru_data.question_files.writing import PartWriter, Vocabulary
from sru_data.reading import open_file
from sru_data.token_files.files import write_record

# A worker has a second's work of spaCy at a time, so that it ends soon if it has to.
_BATCH_CHARACTERS = 1 << 16
_Files = str | Path | Sequence[str | Path]
Stage = Literal["waiting", "checking", "train", "validation", "test"]


class Progress(NamedTuple):
    """How far a preparation is."""

    stage: Stage
    """`waiting` while another process prepares the same folder, `checking` while the files are read for the
    first time, or the part that is being written."""
    questions: int = 0
    """How many questions of the part are done."""
    total: int | None = None
    """How many it has, if known."""


def prepare(
    files: Mapping[str, _Files],
    folder: str | Path,
    *,
    name: str,
    features: Features = "none",
    spacy_model: str = "en_core_web_sm",
    max_context_tokens: int = 1000,
    processes: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> PreparedQuestions:
    """Cut questions and contexts into tokens and write them to files, or open the files if they are there.

    "train" gets the questions that can be trained on: one of their answers begins and ends with a token, or
    they have none on purpose. "validation" and "test" get all, so that figures are those of the whole set;
    only where a context or question is empty is there nothing to answer. What is left out is counted in
    `PreparedQuestions.report`.

    All files are read and checked before the first one is written. If two processes prepare the same folder,
    one works and the other waits for it. The folder is complete or not there: an interrupted preparation
    begins again.

    Args:
        files: The files of "train", "validation" and, if there are any, "test", in the form of
            `sru_data.datasets.squad`: for each part a file, a pattern as in `glob`, or several.
        folder: The folder of this data set with these options; made if missing.
        name: The name of the data set.
        features: "none" for words alone, "spacy" for lemmas, parts of speech and named entities too.
        spacy_model: The spaCy model.
        max_context_tokens: Longer contexts are left out of "train", and cut in other parts.
        processes: How many processes cut texts; None for one per processor where spaCy does, and else for
            this one alone, which is as fast. A script that calls this for several must do so below
            `if __name__ == "__main__":`.
        progress: Called before each stage and after each paragraph.

    Returns:
        The prepared questions.

    Raises:
        DataError: A file is missing or not of that form, two questions of one part have the same id, a part
            has no question that can be used, spaCy or its model is missing, or the folder holds other
            questions or damaged files.
        ValueError: An option has no meaning.
    """
    folder, report = Path(folder), progress or (lambda _: None)
    if not {"train", "validation"} <= files.keys() <= set(PARTS):
        raise ValueError(
            f"prepare: files must be for train, validation and maybe test, got {', '.join(files)}"
        )
    if max_context_tokens < 1:
        raise ValueError(f"prepare: max_context_tokens must be at least 1, got {max_context_tokens}")
    if processes is not None and processes < 1:
        raise ValueError(f"prepare: processes must be at least 1, got {processes}")
    annotator = make_annotator(features, model=spacy_model)
    processes = processes or (1 if features == "none" else _processors())
    paths = {part: matching_files(files[part]) for part in PARTS if part in files}
    sources = {part: _fingerprint(found) for part, found in paths.items()}
    wanted = identity(name, annotator.description, max_context_tokens, sources)
    if not _is_finished(folder, wanted):
        with lock_folder(folder, wait=lambda: report(Progress("waiting"))):
            # Another process may have finished it before this one got the lock.
            if not _is_finished(folder, wanted):
                _remove_unfinished(folder)
                parts, vocabulary = {}, Vocabulary()
                for part, total in _check(paths, report).items():
                    annotated = _annotated(read_squad(paths[part]), annotator, processes)
                    with (
                        contextlib.closing(annotated),
                        PartWriter(folder, part, vocabulary, max_context_tokens=max_context_tokens) as writer,
                    ):
                        _write_part(annotated, writer, part, total, report)
                    parts[part] = Part(sources[part], writer.report(), writer.files())
                stored = _write_vocabulary(folder, vocabulary)
                settings = Settings(name, dict(annotator.description), max_context_tokens, parts, stored)
                write_record(folder / FILE_NAME, settings, version=FORMAT)
    return open_prepared(folder)


def _is_finished(folder: Path, wanted: Mapping[str, object]) -> bool:
    if not (folder / FILE_NAME).is_file():
        return False
    if difference := Settings.read(folder).difference(wanted):
        raise DataError.at(
            folder,
            None,
            f"expected a folder for {wanted['name']} with these options, got one prepared with {difference}; "
            "delete it or name another folder",
        )
    return True


def _remove_unfinished(folder: Path) -> None:
    remove_temporaries(folder)
    for path in (folder / VOCABULARY_NAME, *chain.from_iterable(part_paths(folder, part) for part in PARTS)):
        path.unlink(missing_ok=True)


def _check(paths: Mapping[str, Sequence[Path]], report: Callable[[Progress], None]) -> dict[str, int]:
    """Read all files before the work begins; return the number of questions of each part."""
    report(Progress("checking"))
    return {
        part: sum(len(paragraph.questions) for paragraph in read_squad(found))
        for part, found in paths.items()
    }


def _write_part(
    annotated: Iterable[tuple[Paragraph, Annotated, Sequence[Annotated]]],
    writer: PartWriter,
    part: str,
    total: int,
    report: Callable[[Progress], None],
) -> None:
    stage = cast("Stage", part)
    report(Progress(stage, total=total))
    done = 0
    for paragraph, context, questions in annotated:
        writer.add(paragraph, context, questions)
        done += len(questions)
        report(Progress(stage, done, total))
    found = writer.report()
    if not found.kept:
        reasons = "; ".join(f"{reason} as in {found.examples[reason]}" for reason in found.dropped)
        raise DataError(
            f"{part}: expected questions that can be used, got {total:,} of which none can: "
            f"{shortened(reasons, 400)}"
        )


def _annotated(
    paragraphs: Iterable[Paragraph], annotator: Annotator, processes: int
) -> Generator[tuple[Paragraph, Annotated, list[Annotated]], None, None]:
    """Yield paragraphs with the tokens of their contexts and of their questions."""
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


def _write_vocabulary(folder: Path, vocabulary: Vocabulary) -> Stored:
    content = json.dumps(vocabulary.content(), ensure_ascii=False).encode()
    with atomic_write(folder / VOCABULARY_NAME) as file:
        file.write(content)
    return Stored(len(content), zlib.crc32(content))


def _fingerprint(paths: Sequence[Path]) -> str:
    """Return a checksum of whole files, in which a single digit may have been corrected."""
    digest = hashlib.sha256()
    for path in paths:
        with open_file(path, "expected a file of questions, got") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
