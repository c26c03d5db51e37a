"""`sru squad predict`."""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

from sru_apps.inference.doubts import Doubts
from sru_apps.inference.loading import load_trained
from sru_apps.task import Task
from sru_apps.tasks.squad.predict import NO_ANSWER, Answer, QuestionAnswerer
from sru_apps.train.errors import UserError, building, clip
from sru_apps.train.options import parse_options
from sru_apps.train.strict_json import dump_json, write_json
from sru_apps.utf8 import input_lines, on_one_line, read_text, use_utf8
from sru_data.datasets.squad import Question, read_squad
from sru_data.paths import matching_files
from sru_data.reading import MAX_SENTENCE_BYTES
from sru_data.tables import Kind, Row, Table, open_table

MAX_LENGTH = "The longest answer, in words; default: the model's."
THRESHOLD = (
    "For models trained on unanswerable questions: give no answer if its score exceeds that of the best "
    "answer by more than X; default: the model's, chosen on its validation set."
)
_SQUAD = re.compile(r"\.json(\.(gz|bz2|xz|zst))?$", re.IGNORECASE)
"""The ending of a file in SQuAD's format, plain or compressed."""
_AROUND = 400
"""Characters of the passage shown on either side of an answer."""
_ON, _OFF = "\x1b[7m", "\x1b[0m"


def predict(task: Task, args: Sequence[str]) -> int:
    """Answer questions about a passage, or those of files."""
    options = parse_options(
        "sru squad predict",
        "Answer questions about a passage, or those of a file. For a passage, print one row per answer: the "
        "answer, its probability, its start and end as character offsets in the passage, and the question. "
        "For a file in SQuAD's format, write a JSON object that maps each question id to its answer, as the "
        "official script expects. For a table (CSV, TSV, JSON lines, Parquet), write a copy with the "
        "additional columns answer, probability, start, end and note.",
        [
            ("questions", list, [], "Questions about the passage; default: standard input, one per line."),
            ("--model", str, ..., "A run folder, the `model` folder in it, or a .ckpt file."),
            ("--passage", str, None, "The passage."),
            ("--passage-file", str | None, None, "A text file with the passage."),
            (
                "--file",
                list,
                None,
                "Answer the questions of this file: .json in SQuAD's format, or CSV, TSV, JSON lines or "
                "Parquet. May be repeated, or be a pattern such as 'mail/*.csv'.",
            ),
            ("--passage-column", str, "passage", "The column with the passages."),
            ("--question-column", str, "question", "The column with the questions."),
            (
                "--kind",
                Literal["squad"] | Kind | None,
                None,
                "The format of the files: squad, csv, tsv, jsonl or parquet; default: by their names.",
            ),
            ("--encoding", str, "utf-8", "The encoding of a table."),
            ("--delimiter", str | None, None, "The column separator of a CSV; default: detected."),
            ("--out", str | None, None, "Write the result of --file here; default: standard output."),
            ("-k", PositiveInt, 1, "Answers per question, the most probable first."),
            ("--max-length", PositiveInt | None, None, MAX_LENGTH),
            ("--threshold", float | None, None, THRESHOLD),
            ("--json", bool, False, "Print one JSON object per question, with all its answers."),
        ],
        args,
    )
    use_utf8()
    files, passages = options.file, [options.passage, options.passage_file]
    if files and (options.questions or passages != [None, None]):
        raise UserError("give a passage with questions, or --file, not both", status=2)
    if None not in passages:
        raise UserError("give the passage in --passage or in --passage-file, not both", status=2)
    if not files and passages == [None, None]:
        raise UserError("no passage: give --passage TEXT or --passage-file FILE, or --file FILE", status=2)
    if options.out is not None and (not files or options.json):
        what = "--json prints" if options.json else "answers to questions about a passage are printed"
        raise UserError(f"--out is for the answers to --file, and {what}; leave one of them out", status=2)
    if not files:
        return _predict_passage(task, options)
    with building():
        paths = matching_files(files)
    kind = options.kind
    if kind == "squad" or (kind is None and all(_SQUAD.search(path.name) for path in paths)):
        return _predict_squad(task, paths, options)
    with building():
        table = open_table(paths, kind=kind, encoding=options.encoding, delimiter=options.delimiter)
    return _predict_table(task, table, options)


class Answering:
    """A model with the options of a command.

    Args:
        task: The task.
        options: The options `model`, `k`, `max_length` and `threshold`.
    """

    def __init__(self, task: Task, options: Namespace) -> None:
        self._model: QuestionAnswerer = load_trained(task, Path(options.model))
        self._options = {name: options[name] for name in ("k", "max_length", "threshold")}
        # Refuses options that the model does not support, before anything is read.
        with building():
            self([])

    def __call__(self, pairs: Iterable[tuple[str, str]]) -> Iterator[list[Answer]]:
        """Answer questions, as `QuestionAnswerer.stream` does."""
        return self._model.stream(pairs, **self._options)


def _predict_passage(task: Task, options: Namespace) -> int:
    passage = options.passage if options.passage_file is None else read_text(options.passage_file)
    count, doubts = 0, Doubts("questions")
    with (
        nullcontext([options.questions])
        if options.questions
        else input_lines(limit=MAX_SENTENCE_BYTES) as groups
    ):
        answers = Answering(task, options)
        for lines in groups:
            for question, found in zip(lines, answers((passage, line) for line in lines), strict=True):
                count += 1
                doubts.see(_doubt(found[0]), f"question {count}")
                if options.json:
                    print(dump_json({"question": question, "answers": as_fields(found)}))
                    continue
                for row in as_rows(found):
                    print(row, _squeezed(question), sep="\t")
                print(end=highlighted(passage, found[0]))
            sys.stdout.flush()
    doubts.end()
    if not count:
        raise UserError("no questions: give some as arguments, or one per line on standard input")
    return 0


def _predict_squad(task: Task, paths: Sequence[Path], options: Namespace) -> int:
    out = None if options.out is None else Path(options.out)
    if out is not None and any(out.exists() and path.exists() and out.samefile(path) for path in paths):
        raise UserError(f"--out must be another file than those of --file, got {out}", status=2)
    if options.k > 1 and not options.json:
        raise UserError(
            "predictions for a file in SQuAD's format have one answer per question; add --json to print "
            f"{options.k}, or leave out -k",
            status=2,
        )
    answers, doubts = Answering(task, options), Doubts("questions")
    asked: deque[Question] = deque()

    def pairs() -> Iterator[tuple[str, str]]:
        for paragraph in read_squad(paths):
            for question in paragraph.questions:
                asked.append(question)
                yield paragraph.context, question.text

    predictions: dict[str, str] = {}
    for found in answers(pairs()):
        question = asked.popleft()
        predictions[question.id] = found[0].text or ""
        doubts.see(_doubt(found[0]), f"question {clip(question.id, 60)!r}")
        if options.json:
            fields = {"id": question.id, "question": question.text, "answers": as_fields(found)}
            print(dump_json(fields))
    if out is not None:
        write_json(out, predictions)
        print(f"{len(predictions):,} answers in {out}")
    elif not options.json:
        print(dump_json(predictions, indent=2))
    doubts.end()
    return 0


def _predict_table(task: Task, table: Table, options: Namespace) -> int:
    columns = {"--passage-column": options.passage_column, "--question-column": options.question_column}
    # Before the model is read, so that a wrong column is reported at once.
    for option, column in columns.items():
        table.check_column(column, option=option)
    answers, doubts = Answering(task, options), Doubts("questions")
    asked: deque[Row] = deque()

    def pairs() -> Iterator[Any]:
        for row in table.rows(list(columns.values())):
            asked.append(row)
            yield row.values

    def found() -> Iterator[Mapping[str, object]]:
        for rows in answers(pairs()):
            row = asked.popleft()
            doubts.see(_doubt(rows[0]), row.place)
            yield {
                "question": row.values[1],
                "answers": as_fields(rows),
                "answer": rows[0].text,
                **rows[0]._asdict(),
            }

    if options.json:
        for fields in found():
            print(dump_json({name: fields[name] for name in ("question", "answers")}))
    else:
        names = ["answer", "probability", "start", "end", "note", *(["answers"] if options.k > 1 else [])]
        out = sys.stdout.buffer if options.out is None else Path(options.out)
        written = table.copy_with(out, found(), columns=names)
        if options.out is not None:
            print(f"{doubts.rows:,} rows in {options.out}, with the new columns {', '.join(written)}")
    doubts.end()
    return 0


def as_rows(answers: Iterable[Answer]) -> list[str]:
    """Return one row per answer: the answer on one line, its probability, its start and its end."""
    return ["\t".join(map(_cell, answer[:4])) for answer in answers]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None else _squeezed(str(value))


def _squeezed(text: str) -> str:
    return " ".join(on_one_line(text).split())


def as_fields(answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """Return answers as JSON objects."""
    return [answer._asdict() for answer in answers]


def highlighted(passage: str, answer: Answer) -> str:
    """Return the answer highlighted in the passage, if standard output is a terminal.

    Args:
        passage: The passage.
        answer: The answer.

    Returns:
        Lines with their ends, with control characters replaced by spaces; nothing if there is no answer or
        colours are disabled.
    """
    if answer.start is None or answer.end is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return ""
    first, last = max(0, answer.start - _AROUND), answer.end + _AROUND
    before, text, after = (
        passage[first : answer.start],
        passage[answer.start : answer.end],
        passage[answer.end : last],
    )
    dots = ("... " if first else "", " ..." if last < len(passage) else "")
    return f"{dots[0]}{_shown(before)}{_ON}{_shown(text)}{_OFF}{_shown(after)}{dots[1]}\n"


def _shown(text: str) -> str:
    """Keep line feeds, but no other control character."""
    return "\n".join(on_one_line(line) for line in text.split("\n"))


def _doubt(answer: Answer) -> str | None:
    """Return the note on an answer; "no answer" alone is not doubtful."""
    return None if answer.note is None or answer.note.startswith(NO_ANSWER) else answer.note
