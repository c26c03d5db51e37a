"""Translation: parallel text files, tables with a column per language, and three published sets.

    multi30k    captions of photographs    29,000 pairs, lower-cased, normalised and tokenised
    iwslt14     talks                      about 160,000 pairs
    wmt14       news and parliament        about 4,500,000 pairs

Multi30k is read from `mt/multi30k` in the data folder or downloaded. The other two are read from `mt/iwslt14`
and `mt/wmt14`, plain or compressed: `train`, `valid` and `test`, each with the endings `.de` and `.en`,
tokenised as by fairseq's scripts before they split words into subwords.

Source: Elliott, Frank, Sima'an and Specia, "Multi30K: multilingual English-German image descriptions", 2016;
the evaluation campaigns of IWSLT 2014 and WMT 2014.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sru_data.datasets.sources import SourceFile
from sru_data.download import DATA_DIR_VARIABLE, resolve_data_dir
from sru_data.errors import DataError
from sru_data.paths import matching_files
from sru_data.tables import Row, open_table

PartName = Literal["train", "validation", "test"]
FileNames = str | Path | Sequence[str | Path]

HOME_URL = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/tok"
_FAIRSEQ_URL = "https://github.com/facebookresearch/fairseq/tree/main/examples/translation"


class Pair(NamedTuple):
    """A sentence and its translation."""

    source: str
    """The sentence."""
    targets: tuple[str, ...]
    """Its translation; for validation and test, possibly several by different translators."""
    place: str = ""
    """Its location, for messages: `train.en:12`."""


@dataclass(frozen=True)
class PairFiles:
    """Where pairs are read from: parallel text files, or the columns of a table."""

    source: tuple[Path, ...]
    """The files of the source language, or the table."""
    targets: tuple[tuple[Path, ...], ...] = ()
    """The files of each translation, aligned line by line with the source; empty for a table."""
    columns: tuple[str, ...] = ()
    """The columns of the source and of each translation; empty for parallel files."""
    encoding: str = "utf-8"
    """The encoding of the files."""

    @classmethod
    def parallel(cls, source: FileNames, *targets: FileNames, encoding: str = "utf-8") -> PairFiles:
        """Refer to text files with a sentence per line: line n of a target translates line n of the source.

        Args:
            source: The files of the source language: a path, a pattern as in `glob`, or several; plain or
                compressed.
            targets: The same for each translation; usually there is one.
            encoding: The encoding of all of them.

        Raises:
            ValueError: There is no translation, or a side has no file.
            DataError: A pattern matches nothing.
        """
        sides = [tuple(matching_files(files)) for files in (source, *targets)]
        if len(sides) < 2 or not all(sides):
            raise ValueError("PairFiles.parallel: source and targets must each name a file, got none")
        return cls(sides[0], tuple(sides[1:]), encoding=encoding)

    @classmethod
    def table(
        cls,
        paths: FileNames,
        *,
        source: str = "source",
        targets: Sequence[str] = ("target",),
        encoding: str = "utf-8",
    ) -> PairFiles:
        """Refer to a table with a column per language: CSV, TSV, JSON lines or Parquet.

        Args:
            paths: As for `open_table`.
            source: The column of the source language.
            targets: The column of each translation, usually one.
            encoding: The encoding of the files.

        Raises:
            ValueError: There is no translation, or no file.
            DataError: A pattern matches nothing.
        """
        files = tuple(matching_files(paths))
        if not files or not targets or isinstance(targets, str):
            raise ValueError(
                f"PairFiles.table: paths and targets must name files and columns, got {paths!r} and "
                f"{targets!r}"
            )
        return cls(files, columns=(source, *targets), encoding=encoding)

    @property
    def paths(self) -> list[Path]:
        """All files, in the order in which they are read."""
        return [path for side in (self.source, *self.targets) for path in side]

    def pairs(self) -> Iterator[Pair]:
        r"""Yield the pairs, using memory that does not grow with their number.

        A sentence may be empty. A line feed within a sentence, which is possible in a table, becomes a space.

        Raises:
            DataError: A file is missing or damaged, is in another encoding or lacks a column, parallel files
                have different numbers of lines, or a sentence is longer than 1 MiB.
        """
        if self.columns:
            for row in open_table(self.source, encoding=self.encoding).rows(self.columns):
                source, *targets = (value.replace("\n", " ") for value in row.values)
                yield Pair(source, tuple(targets), row.place)
            return
        for rows in zip_longest(*map(self._lines, (self.source, *self.targets))):
            if None in rows:
                raise self._unequal()
            source, *targets = (row.values[0] for row in rows)
            yield Pair(source, tuple(targets), rows[0].place)

    def _lines(self, files: Sequence[Path]) -> Iterator[Row]:
        return open_table(files, kind="txt", encoding=self.encoding).rows(["text"])

    def _unequal(self) -> DataError:
        """Return an error that states how many lines the parallel files have."""
        expected = sum(1 for _ in self._lines(self.source))
        counts = ((side, sum(1 for _ in self._lines(side))) for side in self.targets)
        side, found = next((side, count) for side, count in counts if count != expected)
        return DataError.at(
            side[0],
            None,
            f"expected {expected:,} lines, one for each line of {self.source[0]}, got {found:,}; line n of "
            "one must translate line n of the other",
        )


@dataclass(frozen=True)
class _Set:
    """A published set; its files are named without the suffix for the language."""

    folder: str
    """The folder in the data folder."""
    train: str
    validation: str
    tests: tuple[str, ...]
    """The test sets, the usual one first."""
    home: str
    """Where the files come from, or instructions to create them."""
    checksums: Mapping[str, str] | None = None
    """The SHA-256 of each file, if they can be downloaded."""
    is_moses_lowercase: bool = False
    """Whether the texts are lower-cased and tokenised by Moses' scripts with their usual options."""

    def find(self, name: str, data_dir: str | Path | None) -> Path:
        """Find a file, or download it.

        Raises:
            DataError: There is no such file.
        """
        path = f"{self.folder}/{name}"
        places = tuple(path + ending for ending in ("", ".gz", ".xz", ".bz2"))
        if self.checksums is not None:
            source = SourceFile(path, f"{self.home}/{name}", self.checksums[name], places=places)
            return source.find(data_dir)[0][0]
        folder = resolve_data_dir(data_dir)
        found = [folder / place for place in places if (folder / place).is_file()] if folder else []
        if not found:
            raise DataError(
                f"translation: expected {path} in the data folder, got "
                f"{'no such file' if folder else 'no data folder'}; make the texts as in {self.home}, and "
                f"give their folder as data_dir or in {DATA_DIR_VARIABLE}"
            )
        return found[0]


_MULTI30K = {
    "train.lc.norm.tok.de": "cb5a23529b65ec2061f1dc446192a9c37382b63cc75f81a0be59d34894b3a505",
    "train.lc.norm.tok.en": "08925f8e0572bcd5a006702fc5fe20e2d77c6917d4eebd576fc20de6693c2119",
    "val.lc.norm.tok.de": "97232bd273eceb7207f689527386a97e4be2616b18ada47576bdaf96c8ae1f00",
    "val.lc.norm.tok.en": "46573ce391ae227f1c72f873392436a20ef18e0a6d518098cfbd70b77c8572ec",
    "test_2016_flickr.lc.norm.tok.de": "c6a33d39d48f9f510de147651316cd9d918e09ad0219df734a2f16b6baccacc4",
    "test_2016_flickr.lc.norm.tok.en": "5b7f32627cf99eced828311b955dae9800bb52bc8b91cf8b6526829e605b29d2",
    "test_2017_flickr.lc.norm.tok.de": "02067e4a9402786a4fcb8c1b6f4307e4a5073ced64800abead5273b54f5f31f6",
    "test_2017_flickr.lc.norm.tok.en": "c9d1dfd7a26add989382e534af235af9f0f658b2a30e7eb0efdaf142496ee54f",
}
"""The SHA-256 of each file."""
_SETS = {
    "multi30k": _Set(
        "mt/multi30k",
        "train.lc.norm.tok",
        "val.lc.norm.tok",
        ("test_2016_flickr.lc.norm.tok", "test_2017_flickr.lc.norm.tok"),
        HOME_URL,
        _MULTI30K,
        is_moses_lowercase=True,
    ),
    "iwslt14": _Set(
        "mt/iwslt14",
        "train",
        "valid",
        ("test",),
        f"{_FAIRSEQ_URL}/prepare-iwslt14.sh",
        is_moses_lowercase=True,
    ),
    "wmt14": _Set("mt/wmt14", "train", "valid", ("test",), f"{_FAIRSEQ_URL}/prepare-wmt14en2de.sh"),
}
_DIRECTIONS: dict[str, tuple[str, str, str]] = {
    f"{name}-{source}-{target}": (name, source, target)
    for name in _SETS
    for source, target in (("en", "de"), ("de", "en"))
}
NAMES: tuple[str, ...] = tuple(_DIRECTIONS)
"""The published sets with their directions, such as `multi30k-en-de`."""


def names_of_tests(name: str) -> tuple[str, ...]:
    """Return the names of the test sets of one of the sets in `NAMES`, the usual one first."""
    return tuple(prefix.partition(".")[0] for prefix in _SETS[_DIRECTIONS[name][0]].tests)


def text_options(name: str) -> dict[str, Any]:
    """Return the options of `VocabularyConfig` that match the texts of one of the sets in `NAMES`."""
    key, source, target = _DIRECTIONS[name]
    chosen = _SETS[key]
    return {
        "pretokenizer": "moses" if chosen.is_moses_lowercase else "none",
        "lowercase": chosen.is_moses_lowercase,
        "source_language": source,
        "target_language": target,
    }


def load(
    name: str, *, data_dir: str | Path | None = None, test: str | None = None
) -> dict[PartName, PairFiles]:
    """Find, or download, the files of one of the sets in `NAMES`.

    Args:
        name: One of `NAMES`.
        data_dir: The data folder; `$SRU_DATA` if None.
        test: The test set; for `multi30k` "test_2016_flickr", the default, or "test_2017_flickr".

    Returns:
        The files of "train", "validation" and "test".

    Raises:
        ValueError: Unknown name or test set.
        DataError: The data folder lacks a file, or the download failed.
    """
    if name not in _DIRECTIONS:
        raise ValueError(f"translation.load: name must be one of {', '.join(NAMES)}, got {name!r}")
    key, *languages = _DIRECTIONS[name]
    chosen = _SETS[key]
    tests = dict(zip(names_of_tests(name), chosen.tests, strict=True))
    if test is not None and test not in tests:
        raise ValueError(f"translation.load: test must be one of {', '.join(tests)} for {name}, got {test!r}")
    prefixes: Mapping[PartName, str] = {
        "train": chosen.train,
        "validation": chosen.validation,
        "test": chosen.tests[0] if test is None else tests[test],
    }
    return {
        part: PairFiles.parallel(*(chosen.find(f"{prefix}.{language}", data_dir) for language in languages))
        for part, prefix in prefixes.items()
    }
