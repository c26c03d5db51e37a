"""A corpus as token files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sru_data import home
from sru_data.errors import DataError
from sru_data.language_modelling import Corpus
from sru_data.token_files.files import FORMAT, TokenFile
from sru_data.token_files.settings import Option, Settings
from sru_data.token_files.writing import split_files
from sru_data.tokenizers import Tokenizer


@dataclass(frozen=True, eq=False)
class PreparedCorpus:
    """The splits of a text as ids, and the tokenizer that made them."""

    name: str
    """The name of the corpus."""
    folder: Path
    """Where the files lie."""
    options: Mapping[str, Option]
    """The options that `prepare` was given."""
    tokenizer: Tokenizer
    """The tokenizer."""
    tokenizer_digest: str
    """Tells whether two tokenizers are the same, as the function `tokenizer_digest`."""
    train: TokenFile
    """The ids to train on."""
    validation: TokenFile
    """The ids for validation."""
    test: TokenFile | None
    """The ids for the test, where the corpus has any."""


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
            f"expected a prepared corpus, got one without its {' and '.join(unfinished)} split; "
            "prepare its text again, which continues where it was interrupted",
        )
    files = {split: TokenFile.open(split_files(folder, split).tokens) for split in settings.sources}
    for file in files.values():
        if (file.description.tokenizer, file.description.vocabulary) != (settings.tokenizer, len(tokenizer)):
            raise DataError.at(
                file.path,
                None,
                f"expected ids of {settings.tokenizer_file} beside it, got those of another tokenizer; "
                "delete the folder and prepare the text again",
            )
    return PreparedCorpus(
        settings.name,
        folder,
        settings.options,
        tokenizer,
        settings.tokenizer,
        files["train"],
        files["validation"],
        files.get("test"),
    )


def prepared_folder(corpus: Corpus, *, unit: str, **options: Option) -> Path:
    """Return the folder below `home.cache_dir()` for a corpus and the options of its tokenizer.

    Args:
        corpus: The text.
        unit: The unit of its tokens.
        options: Whatever else decides the ids; other values give another folder. For a tokenizer that is not
            made from the text, its `tokenizer_digest`.
    """
    sources = [text and text.fingerprint for text in (corpus.train, corpus.validation, corpus.test)]
    content = json.dumps([FORMAT, sources, unit, sorted(options.items())])
    digest = hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
    return home.cache_dir() / "prepared" / f"{corpus.name}-{unit}-{digest}"
