"""Prepared pairs: their parts, and the meaning of their ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from sru_data.datasets.translation import PartName
from sru_data.errors import DataError
from sru_data.pair_files.files import REMEDY, ROW_BYTES, PairPart, PartFiles
from sru_data.pair_files.vocabularies import Vocabularies
from sru_data.pair_files.writing import PartReport
from sru_data.prepared_folders import PAIRS_NAME, Stored, first_difference, read_settings
from sru_data.tokenizers import SentenceTokenizer, TextForm, load_tokenizer

FORMAT = 2
FILE_NAME = PAIRS_NAME
PARTS: tuple[PartName, ...] = get_args(PartName)
JOINT, SOURCE, TARGET = "joint", "source", "target"
Option = str | int | bool | None


@dataclass(frozen=True)
class Part:
    """The record of one part."""

    source: str
    """The checksum of the files it was read from."""
    report: PartReport
    """What was read, kept and left out."""
    files: PartFiles
    """Its prepared files."""

    def __post_init__(self) -> None:
        if self.files.rows.size != self.report.kept * ROW_BYTES:
            raise ValueError(f"{self.report.kept:,} pairs in {self.files.rows.size:,} bytes")


@dataclass(frozen=True)
class Settings:
    """The content of `pairs.json`, which is written last; without it the folder is ignored."""

    name: str
    """The name of the data set."""
    vocabulary: dict[str, Option]
    """How the vocabularies were learned, or the digests of given ones."""
    max_length: int
    """The maximum length of training sentences."""
    parts: dict[str, Part]
    """The parts by name."""
    tokenizers: dict[str, Stored]
    """The file of the joint vocabulary, or the files of both vocabularies."""
    forms: dict[str, TextForm]
    """The forms of the texts of both sides."""

    def __post_init__(self) -> None:
        if not self.parts or not self.parts.keys() <= set(PARTS):
            raise ValueError(f"pairs for {', '.join(self.parts) or 'no part'}")
        if self.tokenizers.keys() not in ({JOINT}, {SOURCE, TARGET}):
            raise ValueError(f"tokenizers for {', '.join(self.tokenizers) or 'nothing'}")
        if self.forms.keys() != {SOURCE, TARGET}:
            raise ValueError(f"forms of {', '.join(self.forms) or 'nothing'}")

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """Read the settings of a folder.

        Raises:
            DataError: They are missing, damaged or of another version.
        """
        return read_settings(folder, FILE_NAME, cls, version=FORMAT, remedy=REMEDY)

    def difference(self, now: Mapping[str, object]) -> str | None:
        """Describe the first difference from the intended content, if any.

        Args:
            now: The `identity` of the intended content.
        """
        sources = {name: part.source for name, part in self.parts.items()}
        then = identity(self.name, self.vocabulary, self.max_length, sources)
        return first_difference(then, now, parts=PARTS, sources="files")


def identity(
    name: str, vocabulary: Mapping[str, Option], max_length: int, sources: Mapping[str, str]
) -> dict[str, object]:
    """Return everything that determines the content of a folder, by the names used in messages."""
    return {"name": name, **vocabulary, "max_length": max_length, **sources}


@dataclass(frozen=True, eq=False)
class PreparedPairs:
    """The parts of a data set of pairs, with their sentences as ids."""

    name: str
    """The name of the data set."""
    folder: Path
    """The folder of its files."""
    vocabulary: Mapping[str, Option]
    """The fields of the `VocabularyConfig`, or the digests of given vocabularies."""
    max_length: int
    """The maximum number of ids in a training sentence."""
    source_tokenizer: SentenceTokenizer
    """Encodes the source."""
    target_tokenizer: SentenceTokenizer
    """Encodes the translation; has the same `text` if the vocabulary is joint."""
    parts: Mapping[str, PairPart]
    """The pairs of "train", "validation" and "test", where present."""
    report: Mapping[str, PartReport]
    """What was read, kept and left out, for each part."""


def tokenizer_path(folder: Path, name: str) -> Path:
    """Return the path of the file of a vocabulary."""
    return folder / f"{name}.tokenizer"


def open_prepared(folder: str | Path, *, verify: bool | None = None) -> PreparedPairs:
    """Open what `prepare` wrote.

    Args:
        folder: The folder.
        verify: Whether to read all files and compare their checksums; None does so for those of up to 64 MiB.
            Sizes are always compared.

    Raises:
        DataError: Files are missing, damaged or of another version.
    """
    folder = Path(folder)
    settings = Settings.read(folder)
    vocabularies = _read_vocabularies(folder, settings)
    parts = {
        name: PairPart.open(folder, name, part.files, verify=verify) for name, part in settings.parts.items()
    }
    if "train" in parts and (longest := int(parts["train"].lengths.max())) > settings.max_length:
        expected = f"training sentences of at most {settings.max_length} ids"
        raise DataError.at(folder / FILE_NAME, None, f"expected {expected}, got one with {longest}; {REMEDY}")
    return PreparedPairs(
        name=settings.name,
        folder=folder,
        vocabulary=settings.vocabulary,
        max_length=settings.max_length,
        source_tokenizer=vocabularies.source,
        target_tokenizer=vocabularies.target,
        parts=parts,
        report={name: part.report for name, part in settings.parts.items()},
    )


def _read_vocabularies(folder: Path, settings: Settings) -> Vocabularies:
    tokenizers = {}
    for name, stored in settings.tokenizers.items():
        path = tokenizer_path(folder, name)
        stored.check(path, content="prepared pairs", remedy=REMEDY, verify=True)
        tokenizers[name] = load_tokenizer(path)
    source, target = (
        SentenceTokenizer(tokenizers[JOINT if JOINT in tokenizers else side], settings.forms[side])
        for side in (SOURCE, TARGET)
    )
    return Vocabularies(source, target)
