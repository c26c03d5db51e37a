"""Where questions come from, a published set or your own files, and their preparation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from sru_apps.train.console import preparation_bar
from sru_apps.train.errors import UserError
from sru_apps.train.own_files import check_files
from sru_data.datasets.splits import VALIDATION_PARTS
from sru_data.datasets.squad import SOURCES
from sru_data.errors import DataError
from sru_data.paths import matching_files
from sru_data.question_files import (
    Example,
    PreparedQuestions,
    QuestionFile,
    QuestionText,
    open_prepared,
    prepare,
)

DatasetName = Literal["squad1", "squad2"]
_PARTS = ("train", "validation", "test")
_SPACY_MODEL = "en_core_web_sm"
"""Default of `spacy_model`."""
_MAX_CONTEXT = 1000
"""Words of a passage that are read in validation and test, unless training reads more."""


def check_source(options: Mapping[str, Any]) -> None:
    """Refuse options that name no questions, or two sets.

    Args:
        options: The options `--data.*`.

    Raises:
        UserError: No questions are named or two sets are, or files of a part are missing.
    """
    name, train = options["name"], options["train_file"]
    check_files(options)
    if name is not None and train is not None:
        raise UserError("both --data.name and --data.train_file are given; leave one of them out")
    if train is None and options["validation_file"] is not None:
        raise UserError("validation_file needs a train_file; give --data.train_file too")
    # A prepared folder alone may have features regardless of the options.
    if (name or train) and options["features"] == "none" and options["spacy_model"] is not None:
        raise UserError("--data.spacy_model is for features; leave it out, or give --data.features spacy")
    if name is None and train is None:
        if options["test_file"] is not None:
            raise UserError("test_file needs --data.name or --data.train_file; give one of them too")
        if options["prepared_dir"] is None:
            raise UserError(
                f"no questions chosen; give --recipe, --data.name ({', '.join(SOURCES)}), or your own files "
                "with --data.train_file",
                status=2,
            )


def prepare_questions(name: str, options: Mapping[str, Any]) -> PreparedQuestions:
    """Tokenize the questions that the options name, or open them if already prepared.

    Args:
        name: The name of the data.
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
        "spacy_model": options["spacy_model"] or _SPACY_MODEL,
        "max_context_tokens": max(_MAX_CONTEXT, options["max_context"]),
    }
    with preparation_bar(name, unit="questions") as report:
        return prepare(
            files,
            options["prepared_dir"] or None,
            **how,
            processes=options["processes"],
            progress=lambda progress: report(progress.stage, progress.questions, progress.total),
        )


def settled_options(prepared: PreparedQuestions, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that questions were prepared with, and `max_context` if it exceeds theirs."""
    found = {"features": prepared.description["features"]}
    if "model" in prepared.description:
        found["spacy_model"] = prepared.description["model"]
    most = prepared.max_context_tokens
    return {**found, "max_context": most} if options["max_context"] > most else found


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
    """Report for each part how many questions were read, and how many were left out and why.

    Args:
        prepared: The questions.
    """
    for name, part in prepared.report.items():
        yield f"{name:<11}{part.read:>9,} questions read, {part.kept:,} kept"
        for reason, count in part.dropped.items():
            yield f"{'':<11}{count:>9,} left out: {reason}, such as {part.examples[reason]}"
        if part.without_span:
            yield f"{'':<11}{part.without_span:>9,} whose answers are not spans of words: scored anyway"
        if part.cut:
            yield f"{'':<11}{part.cut:>9,} with a passage truncated to {prepared.max_context_tokens:,} words"


class Selection(Sequence[Example]):
    """Some of the questions of a part.

    Args:
        questions: All of them.
        numbers: (N,) int64, the indices of the selected questions.
    """

    def __init__(self, questions: QuestionFile, numbers: Tensor) -> None:
        self.questions, self.numbers = questions, numbers

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.numbers)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        """Return a question."""
        return self.questions[int(self.numbers[index])]

    def text(self, index: int) -> QuestionText:
        """Return the texts of a question.

        Args:
            index: Its index among all questions of the part, as in its example.
        """
        return self.questions.text(index)

    @property
    def context_lengths(self) -> Tensor:
        """(N,) int64, the words of the passages."""
        return self.questions.context_lengths[self.numbers]

    @property
    def question_lengths(self) -> Tensor:
        """(N,) int64, the words of the questions."""
        return self.questions.question_lengths[self.numbers]


def hold_out(questions: QuestionFile, *, seed: int) -> tuple[Tensor, Tensor]:
    """Divide questions so that a tenth of the passages, with all their questions, is for validation.

    Args:
        questions: The questions.
        seed: Seed of the choice.

    Returns:
        The indices of the questions to train on, and of those to validate on.

    Raises:
        DataError: All questions are about one passage.
    """
    passages = torch.unique(questions.contexts, return_inverse=True)[1]
    count = int(passages.max()) + 1
    if count == 1:
        raise DataError(
            "expected questions about several passages, one in ten of which is held out for validation, got "
            "one passage; give --data.validation_file"
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    is_held_out = torch.zeros(count, dtype=torch.bool)
    is_held_out[order[: -(-count // VALIDATION_PARTS)]] = True
    chosen = is_held_out[passages]
    return (~chosen).nonzero().squeeze(1), chosen.nonzero().squeeze(1)
