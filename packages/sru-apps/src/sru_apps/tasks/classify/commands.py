"""`sru classify predict`."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from glob import has_magic
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from sru_apps.decoding.unknown import UnknownParts
from sru_apps.inference.doubts import Doubts
from sru_apps.inference.loading import load_trained
from sru_apps.task import Task
from sru_apps.tasks.classify.predict import Classifier, Prediction
from sru_apps.train.errors import UserError, building
from sru_apps.train.options import parse_options
from sru_apps.train.strict_json import dump_json
from sru_apps.utf8 import input_lines, use_utf8
from sru_data.reading import MAX_SENTENCE_BYTES
from sru_data.tables import Kind, Row, Table, open_table


def predict(task: Task, args: Sequence[str]) -> int:
    """Print labels and probabilities of sentences from the arguments, from files or standard input."""
    options = parse_options(
        "sru classify predict",
        "Print the label and probability of your own sentences, one row per sentence, in order. An empty "
        "sentence gets a row without label and probability. A table (CSV, TSV, JSON lines, Parquet) is "
        "copied row by row, with the additional columns label, probability and note.",
        [
            ("sentences", list, [], "Sentences; default: standard input, one per line."),
            ("--model", str, ..., "A run folder, the `model` folder in it, or a .ckpt file."),
            (
                "--file",
                list,
                None,
                "Read sentences from this file: a text file with one per line, a CSV, TSV, JSON lines or "
                "Parquet file, or a folder of texts. May be repeated, or be a pattern such as 'mail/*.csv'.",
            ),
            ("--text-column", str, "text", "The column with the sentences."),
            (
                "--pair-column",
                str | None,
                None,
                "The column with the second sentences, for models of pairs.",
            ),
            (
                "--kind",
                Kind | None,
                None,
                "csv, tsv, jsonl, txt, folder or parquet; default: by the file names.",
            ),
            ("--encoding", str, "utf-8", "The encoding of the files."),
            ("--delimiter", str | None, None, "The column separator of CSV files; default: detected."),
            ("--out", str | None, None, "Write the rows to this file; default: standard output."),
            ("--all", bool, False, "Add a column with the probability of each class."),
            ("--json", bool, False, "Print one JSON object per line, with the probability of each class."),
        ],
        args,
    )
    use_utf8()
    given, files = options.sentences, options.file
    if given and files:
        raise UserError("give sentences either as arguments or in --file, not both")
    if options.out is not None and (not files or options.json):
        what = "--json prints" if options.json else "results for sentences given as arguments are printed"
        raise UserError(f"--out is for the rows of --file, and {what}; leave one of them out", status=2)
    if files and (options.out is not None or not _is_text(files, options)):
        with building():
            table = open_table(
                files, kind=options.kind, encoding=options.encoding, delimiter=options.delimiter
            )
        return _predict_table(task, table, options)
    return _predict_lines(task, given, files[0] if files else None, options)


def _is_text(files: Sequence[str], options: Namespace) -> bool:
    """Whether the input is one UTF-8 file of lines, whose labels are printed as lines are read."""
    (first, *others) = files
    path = Path(first)
    named_so = path.suffix in ("", ".txt") and not path.is_dir() and not has_magic(first)
    return not others and named_so and options.kind is None and options.encoding == "utf-8"


def _predict_lines(task: Task, given: Sequence[str], file: str | None, options: Namespace) -> int:
    count = 0
    # Opened before the model is read, so that a wrong path is reported at once.
    with nullcontext([given]) if given else input_lines(file, limit=MAX_SENTENCE_BYTES) as groups:
        classifier: Classifier = load_trained(task, Path(options.model))
        unknown, doubts = UnknownParts(classifier.tokenizer), Doubts("sentences")
        # Unknown words of a file are reported together at the end.
        report = unknown.report if file is None else unknown.count
        for lines in groups:
            first = count + 1
            rows = (
                _split(line, classifier.pairs, f"line {number}") for number, line in enumerate(lines, first)
            )
            for prediction in classifier.answer(rows, probabilities=options.json, report=report):
                count += 1
                doubts.see(prediction.note, f"{'sentence' if given else 'line'} {count}")
                print(dump_json(_fields(prediction)) if options.json else _line(prediction))
            sys.stdout.flush()
        doubts.end()
        if file is not None:
            _name_unknown(unknown)
    if not count:
        raise UserError("no sentences: give some as arguments, in --file, or one per line on standard input")
    return 0


def _split(line: str, pairs: bool, place: str) -> tuple[str, ...]:
    """Return the sentence of a line, or the two of a pair."""
    if not pairs:
        return (line.strip(),)
    first, tab, second = line.partition("\t")
    if line.strip() and not tab:
        raise UserError(f"{place}: expected two sentences with a tab between them, got one: {line[:100]!r}")
    return (first.strip(), second.strip())


def _predict_table(task: Task, table: Table, options: Namespace) -> int:
    named = {"--text-column": options.text_column, "--pair-column": options.pair_column}
    columns = [column for column in named.values() if column is not None]
    # Before the model is read, so that a wrong column is reported at once.
    for option, column in named.items():
        if column is not None:
            table.check_column(column, option=option)
    rows = table.rows(columns)
    classifier: Classifier = load_trained(task, Path(options.model))
    if classifier.pairs != (options.pair_column is not None):
        kind, remedy = ("pairs of", "give") if classifier.pairs else ("single", "leave out")
        raise UserError(f"the model classifies {kind} sentences; {remedy} --pair-column")
    unknown, doubts = UnknownParts(classifier.tokenizer), Doubts("sentences")
    names = ["label", "probability", "note"]
    if options.all:
        names += [f"probability_{label}" for label in classifier.labels]
    found = _answers(classifier, rows, unknown, doubts, probabilities=options.all or options.json)
    if options.json or (options.out is None and table.kind in ("text", "folder")):
        for prediction in found:
            print(dump_json(_fields(prediction)) if options.json else _line(prediction))
    else:
        added = (_columns(prediction, names) for prediction in found)
        out = sys.stdout.buffer if options.out is None else Path(options.out)
        written = table.copy_with(out, added, columns=names)
        if options.out is not None:
            print(f"{doubts.rows:,} rows in {options.out}, with the new columns {', '.join(written)}")
    doubts.end()
    _name_unknown(unknown)
    return 0


def _answers(
    classifier: Classifier,
    rows: Iterable[Row],
    unknown: UnknownParts,
    doubts: Doubts,
    *,
    probabilities: bool,
) -> Iterator[Prediction]:
    """Classify the rows of a table, and warn of doubtful ones."""
    places: deque[Row] = deque()

    def texts() -> Iterator[tuple[str, ...]]:
        for row in rows:
            places.append(row)
            yield row.values

    for prediction in classifier.answer(texts(), probabilities=probabilities, report=unknown.count):
        doubts.see(prediction.note, places.popleft().place)
        yield prediction


def _name_unknown(unknown: UnknownParts) -> None:
    """Report how many words of a file are unknown."""
    if unknown.unknown:
        print(f"sru classify predict: {unknown.summary()}", file=sys.stderr)


def _columns(prediction: Prediction, names: Sequence[str]) -> Mapping[str, object]:
    every = prediction.probabilities or {}
    values = [prediction.label, prediction.probability, prediction.note, *every.values()]
    return dict(zip(names, values + [None] * (len(names) - len(values)), strict=True))


def _line(prediction: Prediction) -> str:
    parts = (prediction.text, *([] if prediction.pair is None else [prediction.pair]))
    text = "\t".join(parts).replace("\n", " ")
    if prediction.label is None:
        return f"\t\t{text}"
    return f"{prediction.label}\t{prediction.probability:.4f}\t{text}"


def _fields(prediction: Prediction) -> dict[str, Any]:
    fields = prediction._asdict()
    if prediction.pair is None:
        del fields["pair"]
    return fields
