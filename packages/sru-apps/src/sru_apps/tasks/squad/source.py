"""Where questions come from, a published set or your own files, and their preparation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from sru_apps.train.console import preparation_bar
from sru_apps.train.errors import UserError
from sru_data.datasets.squad import SOURCES
from sru_data.paths import matching_files
from sru_data.question_files import PreparedQuestions, open_prepared, prepare, prepared_folder

DatasetName = Literal["squad1", "squad2"]
_PARTS = ("train", "validation", "test")
_MAX_CONTEXT = 1000
"""Words of a passage that are read in validation and test, unless training reads more."""


def check_source(options: Mapping[str, Any]) -> None:
    """Refuse options that name no questions, or two sets of them.

    Args:
        options: The options `--data.*`.

    Raises:
        UserError: No questions are named or two sets are, or files of a part are missing.
    """
    name, train, validation = options["name"], options["train_file"], options["validation_file"]
    for part in _PARTS:
        if options[f"{part}_file"] == []:
            raise UserError(f"--data.{part}_file must name a file, got an empty list")
    if name is not None and train is not None:
        raise UserError("both --data.name and --data.train_file name questions; leave one of them out")
    if train is not None and validation is None:
        raise UserError("train_file needs other questions to validate on; give --data.validation_file too")
    if train is None and validation is not None:
        raise UserError("validation_file needs a train_file; give --data.train_file too")
    if name is None and train is None:
        if options["test_file"] is not None:
            raise UserError("test_file needs --data.name or --data.train_file; give one of them too")
        if options["prepared_dir"] is None:
            raise UserError(
                f"no questions chosen; give --recipe, --data.name ({', '.join(SOURCES)}), or "
                "--data.train_file and --data.validation_file",
                status=2,
            )


def prepare_questions(name: str, options: Mapping[str, Any]) -> PreparedQuestions:
    """Cut the questions that the options name into words, or open them where that is done.

    Args:
        name: What to call the data.
        options: The options `--data.*`.

    Raises:
        DataError: A file is missing or damaged, spaCy or its pipeline is missing, or the folder holds other
            questions.
    """
    if options["name"] is None and options["train_file"] is None:
        return open_prepared(options["prepared_dir"])
    files = _find(options)
    how: dict[str, Any] = {
        "name": name,
        "features": options["features"],
        "spacy_model": options["spacy_model"],
        "max_context_tokens": max(_MAX_CONTEXT, options["max_context"]),
    }
    folder = options["prepared_dir"] or prepared_folder(files, **how)
    with preparation_bar(name, unit="questions") as report:
        return prepare(
            files,
            folder,
            **how,
            processes=options["processes"],
            progress=lambda progress: report(progress.stage, progress.questions, progress.total),
        )


def _find(options: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Find, or download, the files of each part."""
    files: dict[str, list[Path]] = {}
    if options["name"] is not None:
        source = SOURCES[options["name"]]
        for part in ("train", "validation"):
            files[part] = getattr(source, part).find(options["data_dir"])[0]
    given = {part: options[f"{part}_file"] for part in _PARTS}
    return files | {part: matching_files(paths) for part, paths in given.items() if paths is not None}


def report_lines(prepared: PreparedQuestions) -> Iterator[str]:
    """Say of each part how many questions were read, and what was left out and why.

    Args:
        prepared: The questions.
    """
    for name, part in prepared.report.items():
        yield f"{name:<11}{part.read:>9,} questions read, {part.kept:,} kept"
        for reason, count in part.dropped.items():
            yield f"{'':<11}{count:>9,} left out: {reason}, such as {part.examples[reason]}"
        if part.without_span:
            yield f"{'':<11}{part.without_span:>9,} whose answers fall between words: scored, but never right"
        if part.cut:
            yield f"{'':<11}{part.cut:>9,} with a passage cut to {prepared.max_context_tokens:,} words"
