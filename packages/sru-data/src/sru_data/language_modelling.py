"""Corpora for language modelling, and any text as one.

    ptb                Penn Treebank, Mikolov's files    words         own splits, 929,589 words for training
    wikitext-2         articles of Wikipedia             words         own splits, 2,088,628
    wikitext-103       articles of Wikipedia             words         own splits, 103,227,021
    one-billion-words  sentences of news                 words         own splits, about 0.8 billion
    enwik8             XML of Wikipedia                  bytes         cut 90/5/5, 100,000,000 bytes
    text8              the same, only a-z and spaces     characters    cut 90/5/5, 100,000,000
    tiny-shakespeare   some of his plays                 characters    cut 90/5/5, 1,115,394
    python-help        the topics of Python's `help()`   characters    cut 90/5/5, about 450,000

The numbers are of words for training, ends of lines included, or of the bytes of the whole text. Of
`one-billion-words`, the 99 training shards are the training text; of its 50 held-out shards, number 0 is the
test text, on which figures are reported, and number 1 the validation text. Source: Chelba et al. (2014), "One
Billion Word Benchmark for Measuring Progress in Statistical Language Modeling".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sru_data.errors import DataError
from sru_data.home import DATA_DIR_VARIABLE, download, resolve_data_dir
from sru_data.language_modelling_sources import SOURCES, LocalName, SourceText
from sru_data.text import TextSource, Unit
from sru_data.text_files import TextFile

PYTHON_HELP = "python-help"
NAMES: tuple[str, ...] = (*SOURCES, PYTHON_HELP)
FOLDER = "lm"
_SHARES = (0.9, 0.05, 0.05)
_FULL_SIZE = 100_000_000

__all__ = ["NAMES", "PYTHON_HELP", "Corpus", "TextSource", "Unit", "from_files", "load", "python_help_text"]


@dataclass(frozen=True)
class Corpus:
    """A text for training, one for validation and, unless it has none, one for the test."""

    name: str
    unit: Unit
    """What models of this corpus usually predict."""
    train: TextSource
    validation: TextSource
    test: TextSource | None = None


def load(name: str, *, data_dir: str | Path | None = None) -> Corpus:
    """Find one of the corpora in `NAMES`; its texts are read later.

    The local files lie below `lm/` in the data folder, as they come or unpacked; where one is missing, the
    message says what they may be called. `enwik8` and `text8` are cut after 90 and 95 million bytes. One of
    another size, such as the beginning of the file, is cut at the first line ends after 90 and 95 % of its
    bytes, or where there is no line end, at these places; so are `tiny-shakespeare` and `python-help`.

    Args:
        name: One of `NAMES`.
        data_dir: The data folder; `$SRU_DATA` when None. With neither, files are downloaded once and cached.
            `python-help` needs no file.

    Raises:
        ValueError: Unknown name.
        DataError: A file is missing or damaged, or cannot be downloaded.
    """
    if name not in NAMES:
        raise ValueError(f"language_modelling.load: name must be one of {', '.join(NAMES)}, got {name!r}")
    if name == PYTHON_HELP:
        text = TextSource.from_text(python_help_text(), name="Python's help topics")
        return Corpus(name, "characters", *text.split(_SHARES))
    source = SOURCES[name]
    train = _find(source.train, data_dir)
    if source.cut is None:
        validation, test = (
            _find(text, data_dir) if text else None for text in (source.validation, source.test)
        )
        assert validation is not None
        return Corpus(name, source.unit, train, validation, test)
    if source.cut == "million bytes" and train.measure() == _FULL_SIZE:
        return Corpus(name, source.unit, *train.cut([_FULL_SIZE * 90 // 100, _FULL_SIZE * 95 // 100]))
    return Corpus(name, source.unit, *train.split(_SHARES))


def from_files(
    train: str | Path | Sequence[str | Path],
    *,
    validation: str | Path | Sequence[str | Path] | None = None,
    test: str | Path | Sequence[str | Path] | None = None,
    text_field: str = "text",
) -> Corpus:
    """Make a corpus of any texts: plain, compressed or JSON lines, as `TextSource.from_files` takes them.

    Without `validation` the last 5 % of the bytes of `train` are held out for it, and without `test` as well,
    the last 5 % for the test and the 5 % before for validation; the cuts are those of `TextSource.split`.
    With `validation` alone there is no test text.

    Args:
        train: A file, or several that follow each other.
        validation: The same for validation.
        test: The same for the test.
        text_field: The field of JSON lines that holds the text.

    Raises:
        DataError: A file is missing or damaged, or `train` is too short to be cut.
    """
    texts = {
        split: None if files is None else TextSource.from_files(files, text_field=text_field)
        for split, files in (("train", train), ("validation", validation), ("test", test))
    }
    whole = texts["train"]
    assert whole is not None
    name = Path(whole.name).name.split(".")[0] or "text"
    if (held_out := texts["validation"]) is not None:
        return Corpus(name, "characters", whole, held_out, texts["test"])
    if texts["test"] is not None:
        whole, held_out = whole.split((0.95, 0.05))
        return Corpus(name, "characters", whole, held_out, texts["test"])
    return Corpus(name, "characters", *whole.split(_SHARES))


def python_help_text() -> str:
    """Return the topics of Python's `help()` as one text; it differs a little between Python versions."""
    from pydoc_data.topics import topics

    return "\n\n\n".join(topics[name] for name in sorted(topics))


def _find(text: SourceText, data_dir: str | Path | None) -> TextSource:
    folder = resolve_data_dir(data_dir)
    home = text.download
    if folder is None:
        path = download(f"{FOLDER}/{home.path}", url=home.url, sha256=home.sha256, md5=home.md5)
        member = next((name.member for name in text.names if name.path == home.path), None)
        return _source([path], member)
    for name in text.names:
        files = _files(folder / FOLDER, name)
        if files and name.member is None and len(files) != text.num_files:
            raise DataError.at(
                folder / FOLDER / name.path,
                None,
                f"expected {text.num_files} files, got {len(files)}; the corpus is not complete, fetch it "
                "again",
            )
        if files:
            return _source(files, name.member)
    others = ", ".join(name.path for name in text.names[1:])
    raise DataError.at(
        folder / FOLDER / text.names[0].path,
        None,
        f"expected this file in the data folder, or one of {others} beside it below {FOLDER}/, got none; put "
        f"{home.url} there as {home.path}, or leave data_dir and {DATA_DIR_VARIABLE} unset to download it",
    )


def _files(folder: Path, name: LocalName) -> list[Path]:
    return sorted(path for path in folder.glob(name.path) if path.is_file())


def _source(files: Sequence[Path], member: str | None) -> TextSource:
    parts = tuple(TextFile.at(path, member=member) for path in files)
    return TextSource(parts[0].place, parts)
