"""`sru squad score`: exact match and F1 of any predictions; imports no torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sru_apps.task import Task
from sru_apps.tasks.squad.groups import Groups, Measured, summary, table, write_files
from sru_apps.tasks.squad.metrics import Threshold, Version, best_threshold, exact_match, f1
from sru_apps.train.errors import UserError, is_text
from sru_apps.train.options import parse_options
from sru_apps.train.strict_json import dump_json
from sru_apps.utf8 import use_utf8
from sru_data import DataError
from sru_data.datasets.squad import Paragraph, read_squad
from sru_data.reading import decode, parse_json, read_bytes


def score(task: Task, args: Sequence[str]) -> int:
    """Print exact match and F1 of predictions."""
    options = parse_options(
        "sru squad score",
        "Compute exact match and F1 of predictions in the official format, a JSON object that maps each "
        "question id to an answer. The results are those of the official script for SQuAD 1.1, or for SQuAD "
        "2.0 if some questions have no answer.",
        [
            ("predictions", str, ..., "The predictions, such as `figures/predictions.json` in a run folder."),
            (
                "--file",
                str,
                ...,
                "Questions and reference answers in SQuAD's format, plain or compressed.",
            ),
            (
                "--null-odds-file",
                str | None,
                None,
                "A JSON object that maps each question id to its no-answer score. Finds the thresholds with "
                "the best F1 and exact match, for predictions that answer every question.",
            ),
            (
                "--threshold",
                float | None,
                None,
                "Count a question as unanswered if its no-answer score is above X.",
            ),
            (
                "--out",
                str | None,
                None,
                "Write the results by question, answer and passage to this folder.",
            ),
            ("--json", bool, False, "Print the results as one JSON object."),
        ],
        args,
    )
    use_utf8()
    if options.threshold is not None and options.null_odds_file is None:
        raise UserError("--threshold needs the scores of --null-odds-file; give that too", status=2)
    predictions = _read_object(options.predictions, "the answer to each question", _text)
    null_odds: dict[str, float] | None = None
    if options.null_odds_file is not None:
        null_odds = _read_object(options.null_odds_file, "the no-answer score of each question", _number)
    paragraphs = list(read_squad(options.file))
    for path, found in ((options.predictions, predictions), (options.null_odds_file, null_odds)):
        if found is not None:
            _check_ids(path, found, paragraphs, options.file)
    if null_odds is not None and options.threshold is not None:
        predictions = {
            name: "" if null_odds[name] > options.threshold else text for name, text in predictions.items()
        }
    rows, figures = _measure(paragraphs, predictions, null_odds, options.file)
    best: dict[str, Threshold] = {}
    # With a threshold, questions have already been left unanswered.
    if null_odds is not None and options.threshold is None:
        best = _best_thresholds(rows, null_odds)
    for name, choice in best.items():
        figures[f"best_{name}"] = {"score": choice.score, "threshold": choice.value}
    if options.out is not None:
        names = {"dataset": Path(options.file).name, "part": Path(options.predictions).name}
        write_files(Path(options.out), rows, figures, **names)
    if options.json:
        print(dump_json({"predictions": options.predictions, "file": options.file, **figures}))
        return 0
    print(f"{options.predictions}: {summary(figures)}, by the rules of SQuAD {figures['version']}")
    print("\n".join(table(figures, ["answerable", "question type"])))
    for name, choice in best.items():
        words = {"f1": "F1", "exact_match": "exact match"}[name]
        # With all digits: a rounded threshold could leave the last answered question unanswered.
        print(f"best {words} {100 * choice.score:.2f} %, with --threshold {choice.value!r}")
    if options.out is not None:
        print(f"figures by question, answer and passage: {options.out}")
    return 0


def _measure(
    paragraphs: Sequence[Paragraph],
    predictions: Mapping[str, str],
    null_odds: Mapping[str, float] | None,
    file: str,
) -> tuple[list[Measured], dict[str, Any]]:
    """Return the questions with their scores, and the figures of all."""
    answerable = [bool(question.answers) for paragraph in paragraphs for question in paragraph.questions]
    if not any(answerable):
        raise DataError.at(file, None, "expected questions with answers to compare with, got none")
    version: Version = "1.1" if all(answerable) else "2.0"
    groups, rows = Groups(), []
    for paragraph in paragraphs:
        for question in paragraph.questions:
            prediction = predictions[question.id]
            references = tuple(answer.text for answer in question.answers)
            row = Measured(
                question.id,
                question.text,
                prediction,
                references,
                exact_match(prediction, references, version=version),
                f1(prediction, references, version=version),
                no_answer=None if null_odds is None else null_odds[question.id],
            )
            groups.add(row, paragraph.context)
            rows.append(row)
    return rows, {"version": version, **groups.figures()}


def _best_thresholds(rows: Sequence[Measured], null_odds: Mapping[str, float]) -> dict[str, Threshold]:
    """Return the no-answer thresholds with the best F1 and with the best exact match."""
    return {
        name: best_threshold(
            (null_odds[row.id] for row in rows),
            (getattr(row, name) for row in rows),
            (bool(row.references) for row in rows),
        )
        for name in ("f1", "exact_match")
    }


def _read_object(path: str, what: str, convert: Any) -> dict[str, Any]:
    """Read a JSON object of question ids and values, each id once."""
    expected = f"a JSON object with {what} by its id"
    text = decode(read_bytes(path, expected=expected), "utf-8", path=path)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise DataError.at(path, None, f"expected {expected}, got something else: {error}") from error
    if not isinstance(content, dict):
        raise DataError.at(path, None, f"expected {expected}, got {json.dumps(content)[:60]}")
    found: dict[str, Any] = {}
    # A dictionary would silently keep the last value of an id.
    for name, value in json.loads(text, object_pairs_hook=list):
        if name in found:
            raise DataError.at(path, None, f"expected each id once, got {name!r} twice; remove one")
        found[name] = convert(value)
        if found[name] is None:
            raise DataError.at(path, None, f"expected {what}, got {json.dumps(value)[:60]} for {name!r}")
    return found


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and is_text(value) else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) <= sys.float_info.max else None


def _check_ids(path: str, found: Mapping[str, Any], paragraphs: Sequence[Paragraph], file: str) -> None:
    """Refuse a file with missing or additional questions."""
    ids = dict.fromkeys(question.id for paragraph in paragraphs for question in paragraph.questions)
    missing = [name for name in ids if name not in found]
    unknown = [name for name in found if name not in ids]
    if unknown:
        raise DataError.at(
            path,
            None,
            f"expected ids of questions of {file}, got {unknown[0]!r}{_more(unknown)}; check --file",
        )
    if missing:
        raise DataError.at(
            path,
            None,
            f"expected all {len(ids):,} questions of {file}, got none with the id {missing[0]!r}"
            f'{_more(missing)}; give each an answer, "" for none',
        )


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1:,} more" if len(names) > 1 else ""
