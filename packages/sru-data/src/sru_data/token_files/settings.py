"""What decides every id of a prepared corpus, as its folder tells it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sru_data.atomic import atomic_write
from sru_data.errors import DataError
from sru_data.token_files.files import FORMAT, read_json
from sru_data.token_files.writing import is_written
from sru_data.tokenizers import Tokenizer, load_tokenizer

FILE_NAME = "corpus.json"
Option = str | int | float | bool | None


@dataclass(frozen=True)
class Settings:
    """The content of `corpus.json`; without that file nothing in the folder counts."""

    name: str
    """The name of the corpus."""
    options: dict[str, Option]
    """What the tokenizer was made from."""
    sources: dict[str, str]
    """The fingerprint of the text of each split."""
    tokenizer: str
    """The digest of the tokenizer's file."""
    tokenizer_file: str
    """The name of that file."""

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """Read the settings of a folder.

        Raises:
            DataError: They are missing, damaged or of another version.
        """
        path = folder / FILE_NAME
        content = read_json(
            path, missing="expected a prepared corpus, got no such file; prepare a text in this folder"
        )
        try:
            return cls(**content)
        except TypeError as error:
            raise DataError.at(path, None, f"expected a prepared corpus, got other JSON: {error}") from error

    @classmethod
    def begin(
        cls,
        folder: Path,
        *,
        name: str,
        options: Mapping[str, Option],
        sources: Mapping[str, str],
        tokenizer: Tokenizer,
    ) -> Settings:
        """Write the tokenizer and then the settings into a folder."""
        content = _saved(tokenizer)
        file_name = "tokenizer.json" if content.lstrip().startswith(b"{") else "tokenizer.model"
        with atomic_write(folder / file_name) as file:
            file.write(content)
        settings = cls(name, dict(options), dict(sources), _digest(content), file_name)
        written = json.dumps({"format": FORMAT, **asdict(settings)}, indent=2) + "\n"
        with atomic_write(folder / FILE_NAME) as file:
            file.write(written.encode())
        return settings

    def difference(
        self, sources: Mapping[str, str], options: Mapping[str, Option], tokenizer: str | None
    ) -> str | None:
        """Say in words what was otherwise when the folder was begun.

        Args:
            sources: The fingerprints now.
            options: The options now.
            tokenizer: The digest now; None where only the options say what the tokenizer will be.

        Returns:
            The first difference, or None.
        """
        if self.sources != sources:
            return "another text"
        for name in sorted(self.options.keys() | options.keys()):
            then, now = self.options.get(name), options.get(name)
            if then != now:
                return f"{name} = {then} (now {now})"
        return "another tokenizer" if tokenizer not in (None, self.tokenizer) else None

    def unfinished(self, folder: Path) -> list[str]:
        """Return the splits that are not written yet."""
        return [split for split in self.sources if not is_written(folder, split)]

    def read_tokenizer(self, folder: Path) -> Tokenizer:
        """Read the tokenizer.

        Raises:
            DataError: It is missing, damaged, or not the one of the settings.
        """
        path = folder / self.tokenizer_file
        tokenizer = load_tokenizer(path)
        if _digest(path.read_bytes()) != self.tokenizer:
            raise DataError.at(
                path,
                None,
                "expected the tokenizer that the corpus was prepared with, got another; "
                "delete the folder and prepare the text again",
            )
        return tokenizer


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """Return a digest of what a tokenizer's `save` writes: equal digests mean equal ids.

    Args:
        tokenizer: The tokenizer.
    """
    return _digest(_saved(tokenizer))


def _saved(tokenizer: Tokenizer) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer"
        tokenizer.save(path)
        return path.read_bytes()


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
