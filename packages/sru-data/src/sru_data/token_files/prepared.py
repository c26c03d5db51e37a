"""A corpus as token files."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sru_data.datasets.language_modelling import Corpus
from sru_data.errors import DataError
from sru_data.prepared_folders import CORPUS_NAME, cached_folder, read_settings
from sru_data.token_files.files import FORMAT, REMEDY, TokenFile
from sru_data.token_files.writing import split_files
from sru_data.tokenizers import Tokenizer, load_tokenizer

FILE_NAME = CORPUS_NAME
Option = str | int | float | bool | None


@dataclass(frozen=True)
class Settings:
    """The content of `corpus.json`; without that file the folder is ignored."""

    name: str
    """The name of the corpus."""
    options: dict[str, Option]
    """The options that the tokenizer was created with."""
    sources: dict[str, str]
    """The fingerprint of the text of each split."""
    tokenizer: str
    """The digest of the tokenizer's file."""
    tokenizer_file: str
    """The name of that file."""

    def __post_init__(self) -> None:
        if not {"train", "validation"} <= self.sources.keys() <= {"train", "validation", "test"}:
            raise ValueError(f"texts for {', '.join(self.sources) or 'no split'}")
        if self.tokenizer_file not in ("", "tokenizer.json", "tokenizer.model"):
            raise ValueError(f"a tokenizer in {self.tokenizer_file!r}")

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """Read the settings of a folder.

        Raises:
            DataError: They are missing, damaged or of another version.
        """
        return read_settings(folder, FILE_NAME, cls, version=FORMAT, remedy=REMEDY)

    def difference(self, now: Settings) -> str | None:
        """Describe the first difference from the intended content, if any.

        Args:
            now: The intended settings, with an empty digest if only the options determine the tokenizer.
        """
        if self.sources != now.sources:
            return "another text"
        for name in sorted(self.options.keys() | now.options.keys()):
            if self.options.get(name) != now.options.get(name):
                return f"{name} = {self.options.get(name)} (now {now.options.get(name)})"
        return "another tokenizer" if now.tokenizer not in ("", self.tokenizer) else None

    def unfinished(self, folder: Path) -> list[str]:
        """Return the splits that are not written yet."""
        return [split for split in self.sources if not split_files(folder, split).are_written]

    def read_tokenizer(self, folder: Path) -> Tokenizer:
        """Read the tokenizer.

        Raises:
            DataError: It is missing, damaged, or not the one of the settings.
        """
        path = folder / self.tokenizer_file
        tokenizer = load_tokenizer(path)
        if digest(path.read_bytes()) != self.tokenizer:
            raise DataError.at(
                path,
                None,
                "expected the tokenizer that the corpus was prepared with, got another; delete the folder "
                "and prepare the text again",
            )
        return tokenizer


@dataclass(frozen=True, eq=False)
class PreparedCorpus:
    """The splits of a text as ids, and the tokenizer that made them."""

    name: str
    """The name of the corpus."""
    folder: Path
    """The folder of its files."""
    options: Mapping[str, Option]
    """The options that `prepare` was given."""
    tokenizer: Tokenizer
    """The tokenizer."""
    tokenizer_digest: str
    """Its digest, as returned by the function `tokenizer_digest`."""
    train: TokenFile
    """The ids to train on."""
    validation: TokenFile
    """The ids for validation."""
    test: TokenFile | None
    """The ids for the test, if the corpus has any."""


def open_prepared(folder: str | Path) -> PreparedCorpus:
    """Open what `prepare` wrote.

    Args:
        folder: The folder.

    Raises:
        DataError: Files are missing, unfinished, damaged or of another version.
    """
    folder = Path(folder)
    settings = Settings.read(folder)
    tokenizer = settings.read_tokenizer(folder)
    if unfinished := settings.unfinished(folder):
        raise DataError.at(
            folder,
            None,
            f"expected a prepared corpus, got one without its {' and '.join(unfinished)} split; prepare its "
            "text again, which continues the interrupted run",
        )
    files = {split: TokenFile.open(split_files(folder, split).tokens) for split in settings.sources}
    for file in files.values():
        if not (file.counts.bytes and file.counts.characters and file.counts.lines):
            raise DataError.at(
                file.path.with_suffix(".json"), None, f"expected the counts of a text, got zeros; {REMEDY}"
            )
        if (file.description.tokenizer, file.description.vocabulary) != (settings.tokenizer, len(tokenizer)):
            raise DataError.at(
                file.path,
                None,
                f"expected ids of {settings.tokenizer_file} in the same folder, got ids of another "
                "tokenizer; delete the folder and prepare the text again",
            )
    return PreparedCorpus(
        name=settings.name,
        folder=folder,
        options=settings.options,
        tokenizer=tokenizer,
        tokenizer_digest=settings.tokenizer,
        train=files["train"],
        validation=files["validation"],
        test=files.get("test"),
    )


def prepared_folder(corpus: Corpus, *, unit: str, **options: Option) -> Path:
    """Return the folder below `download.cache_dir()` for a corpus and the options of its tokenizer.

    Args:
        corpus: The text.
        unit: The unit of its tokens.
        options: Everything else that determines the ids; other values lead to another folder. For a tokenizer
            that is not trained on the text, include its `tokenizer_digest`.
    """
    sources = [text and text.fingerprint for text in (corpus.train, corpus.validation, corpus.test)]
    return cached_folder(f"{corpus.name}-{unit}", [FORMAT, sources, unit, sorted(options.items())])


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """Return a digest of the file that a tokenizer saves: equal digests mean equal ids.

    Args:
        tokenizer: The tokenizer.
    """
    return digest(saved(tokenizer))


def saved(tokenizer: Tokenizer) -> bytes:
    """Return the content of the file that a tokenizer saves."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer"
        tokenizer.save(path)
        return path.read_bytes()


def digest(content: bytes) -> str:
    """Return the digest of a tokenizer's file."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
