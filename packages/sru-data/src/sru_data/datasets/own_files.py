"""Labelled texts in your own files."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sru_data.datasets.splits import NUM_FOLDS, VALIDATION_PARTS, Example, Label, Splits, divide
from sru_data.errors import DataError, shortened
from sru_data.reading import MAX_SENTENCE_BYTES, UNPRINTABLE
from sru_data.tables import Kind, Row, open_table

Files = str | Path | Sequence[str | Path]
"""A file, a folder, a pattern, or several."""

_MAX_SHOWN = 120
_MAX_COMPARED = 1000
_WHOLE_NUMBER = re.compile("-?[0-9]{1,18}")


def load_files(
    train_file: Files,
    validation_file: Files | None = None,
    test_file: Files | None = None,
    *,
    text_column: str = "text",
    label_column: str = "label",
    pair_column: str | None = None,
    label_separator: str | None = None,
    seed: int = 0,
    fold: int | None = None,
    kind: Kind | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
) -> Splits:
    """Read labelled texts from tables, and split off the parts that have no file.

    Missing parts are split off the training data: first a tenth for the test, then a tenth of the rest for
    validation. Every split is stratified (class counts differ by at most one between parts) and depends
    only on the rows, `seed` and `fold`. A class of two examples always keeps one for training.

    A label may be any text; white space around it is dropped. Classes are numbered in sorted order (whole
    numbers by size), so that shuffled rows give the same numbers. An empty text is kept.

    Args:
        train_file: The training data, as for `sru_data.tables.open_table`.
        validation_file: The validation data.
        test_file: The test data.
        text_column: The column of the texts.
        label_column: The column of the labels.
        pair_column: The column of the second text, for pairs of texts.
        label_separator: The separator between the labels of a text, which may then have several or none.
            Lists in JSON lines or Parquet need no separator, but this option must still be set.
        seed: Seed of the splits.
        fold: The part of a ten-fold cross-validation to test on, 0 to 9; None means 0.
        kind: The type of the files, overriding their names.
        encoding: Their encoding.
        delimiter: The delimiter of CSV files.

    Returns:
        The three parts, the names of the classes, and notes on possible problems.

    Raises:
        ValueError: `fold` is out of range or given together with `test_file`, two columns are the same, or an
            option has an invalid value.
        DataError: A file is missing or malformed, lacks a column, has an empty or unprintable label or a text
            of more than 64 KiB; there is only one class, a label to be split occurs only once, or a label
            does not occur in training.
    """
    if fold is not None and not 0 <= fold < NUM_FOLDS:
        raise ValueError(f"load_files: fold must be 0 to {NUM_FOLDS - 1}, got {fold}")
    if fold is not None and test_file is not None:
        raise ValueError(
            "load_files: give either fold, which takes the test data from train_file, or test_file"
        )
    if label_separator == "":
        raise ValueError("load_files: label_separator must not be empty")
    named = {"text_column": text_column, "label_column": label_column}
    if pair_column is not None:
        named["pair_column"] = pair_column
    columns = list(named.values())
    if len(set(columns)) < len(columns):
        raise ValueError(f"load_files: the columns must differ, got {', '.join(map(repr, columns))}")

    def read(files: Files) -> _Labelled:
        table = open_table(files, kind=kind, encoding=encoding, delimiter=delimiter)
        for option, column in named.items():
            table.check_column(column, option=option)
        return _read(
            table.rows(columns, list_separator=label_separator), columns, label_separator, table.files
        )

    parts = [None if files is None else read(files) for files in (train_file, validation_file, test_file)]
    training = parts[0]
    assert training is not None
    names = _class_names(training, label_column, label_separator is not None)
    if None in parts:
        _check_divisible(training, label_column)
    for part in parts[1:]:
        if part is not None:
            _check_known(part, names, label_column)
    train, validation, test = [None if part is None else part.examples(names) for part in parts]
    assert train is not None
    if test is None:
        train, test = divide(train, NUM_FOLDS, fold or 0, seed=f"{seed}:folds")
    if validation is None:
        train, validation = divide(train, VALIDATION_PARTS, 0, seed=f"{seed}:validation:{fold or 0}")
    if not test or not validation:
        raise DataError.at(
            training.files[0],
            None,
            f"expected enough rows to split, got {len(training.texts):,}; add rows, or give files for "
            "validation and test",
        )
    _check_learnable(training, train, names)
    name = training.files[0].name.partition(".")[0] or training.files[0].name
    notes = _notes(train, {"validation": validation, "test": test}, names)
    return Splits(name, train, validation, test, names, label_separator is not None, notes)


@dataclass
class _Labelled:
    """The rows read: a text, a second text and the numbers of the labels."""

    files: list[Path]
    texts: list[str]
    pairs: list[str] | None
    labels: list[Label]
    numbers: dict[str, int]
    """The labels, numbered in order of first appearance."""
    first: list[Row]
    """The first row with each label, in the same order."""

    def counts(self) -> Counter[int]:
        """Return how often each label occurs."""
        return Counter(number for label in self.labels for number in _each(label))

    def examples(self, names: Sequence[str]) -> list[Example]:
        """Return the rows as examples with their final class numbers."""
        places = {name: place for place, name in enumerate(names)}
        final = [places[name] for name in self.numbers]
        labels = [
            tuple(sorted({final[number] for number in label})) if isinstance(label, tuple) else final[label]
            for label in self.labels
        ]
        if self.pairs is None:
            return list(map(Example, self.texts, labels))
        return list(map(Example, self.texts, labels, self.pairs))


def _each(label: Label) -> tuple[int, ...]:
    return label if isinstance(label, tuple) else (label,)


def _read(rows: Iterable[Row], columns: list[str], separator: str | None, files: list[Path]) -> _Labelled:
    read = _Labelled(files, [], [] if len(columns) > 2 else None, [], {}, [])
    numbers = read.numbers
    for row in rows:
        text, label = row.values[0], row.values[1].strip()
        if len(text) > MAX_SENTENCE_BYTES // 4:
            _check_size(text, row, columns[0])
        if read.pairs is not None:
            pair = row.values[2]
            _check_size(pair, row, columns[2])
            read.pairs.append(pair)
        parts = [label] if separator is None else [part.strip() for part in label.split(separator) if label]
        for part in parts:
            if part not in numbers:
                if not part:
                    raise DataError.at(
                        row.file,
                        row.line,
                        f"expected a label in {columns[1]!r}, got an empty field; add one or remove the row",
                    )
                if UNPRINTABLE.search(part):
                    raise DataError.at(
                        row.file,
                        row.line,
                        f"expected a label without line ends, tabs and control characters in {columns[1]!r}, "
                        f"got {_shown(part)}; rename it",
                    )
                numbers[part] = len(numbers)
                read.first.append(row._replace(values=()))
        read.texts.append(text)
        read.labels.append(numbers[label] if separator is None else tuple([numbers[part] for part in parts]))
    if not read.texts:
        raise DataError.at(read.files[0], None, "expected rows with texts and labels, got none; add some")
    return read


def _check_size(text: str, row: Row, column: str) -> None:
    if (size := len(text.encode())) > MAX_SENTENCE_BYTES:
        raise DataError.at(
            row.file,
            row.line,
            f"expected a text of at most {MAX_SENTENCE_BYTES:,} bytes in {column!r}, got one of {size:,}; "
            "shorten it or remove the row",
        )


def _class_names(training: _Labelled, column: str, multi_label: bool) -> tuple[str, ...]:
    names = list(training.numbers)
    if all(map(_WHOLE_NUMBER.fullmatch, names)):
        names.sort(key=lambda name: (int(name), name))
    else:
        names.sort()
    if len(names) < (1 if multi_label else 2):
        found = f"only {_shown(names[0])}" if names else "no label at all"
        raise DataError.at(
            training.files[0],
            None,
            f"expected at least two labels in {column!r}, got {found}; add texts with another",
        )
    return tuple(names)


def _check_divisible(training: _Labelled, column: str) -> None:
    """Refuse a label that occurs once: it cannot be both learnt and tested."""
    counts = training.counts()
    once = [name for name, number in training.numbers.items() if counts[number] == 1]
    if once:
        row = training.first[training.numbers[once[0]]]
        more = len(once) - 1
        others = f" (and {more:,} other{'s' if more > 1 else ''})" if more else ""
        raise DataError.at(
            row.file,
            row.line,
            f"expected every label in {column!r} at least twice, got {_shown(once[0])}{others} once; add "
            "examples, remove or rename it, or give files for validation and test",
        )


def _check_learnable(training: _Labelled, train: list[Example], names: Sequence[str]) -> None:
    """Refuse a split that leaves a rare label without training examples, as only multi-label data can."""
    if absent := _absent(train, names):
        row = training.first[training.numbers[absent[0]]]
        raise DataError.at(
            row.file,
            row.line,
            f"expected enough examples of {_shown(absent[0])} to split, got too few to keep one for "
            "training; add some, try another seed, or give files for validation and test",
        )


def _check_known(part: _Labelled, names: Sequence[str], column: str) -> None:
    known = set(names)
    for name, row in zip(part.numbers, part.first, strict=True):
        if name not in known:
            near = difflib.get_close_matches(name[:_MAX_SHOWN], names[:_MAX_COMPARED], n=1)
            remedy = f"did you mean {near[0]!r}?" if near else "add it to the training data or remove the row"
            listed = shortened(", ".join(map(repr, names)), _MAX_SHOWN)
            raise DataError.at(
                row.file,
                row.line,
                f"expected a label of the training data ({listed}) in {column!r}, got {_shown(name)}; "
                f"{remedy}",
            )


def _notes(train: list[Example], others: dict[str, list[Example]], names: Sequence[str]) -> tuple[str, ...]:
    notes = []
    known = {(example.text, example.pair) for example in train}
    for part, examples in others.items():
        repeated = sum((example.text, example.pair) in known for example in examples)
        if repeated:
            notes.append(f"{repeated:,} of {len(examples):,} {part} texts are training texts too")
    for part, examples in others.items():
        if absent := _absent(examples, names):
            listed = shortened(", ".join(map(repr, absent)), _MAX_SHOWN)
            notes.append(f"the {part} data have no example of {listed}")
    return tuple(notes)


def _absent(examples: list[Example], names: Sequence[str]) -> list[str]:
    present = {number for example in examples for number in _each(example.label)}
    return [name for number, name in enumerate(names) if number not in present]


def _shown(label: str) -> str:
    return shortened(repr(label), _MAX_SHOWN)
