"""Prepares a corpus once for every run that reads it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from filelock import FileLock, Timeout

from sru_data.datasets.language_modelling import Corpus
from sru_data.errors import DataError
from sru_data.token_files.prepared import (
    FILE_NAME,
    Option,
    PreparedCorpus,
    Settings,
    open_prepared,
    tokenizer_digest,
)
from sru_data.token_files.writing import split_files, write_split
from sru_data.tokenizers import Tokenizer

Split = Literal["train", "validation", "test"]
_SPLITS: tuple[Split, ...] = get_args(Split)


class Progress(NamedTuple):
    """How far a preparation is."""

    stage: Literal["waiting", "tokenizer"] | Split
    """`waiting` while another process prepares the same folder, `tokenizer` while the vocabulary is made, or
    the split that is being written."""
    bytes: int = 0
    """Bytes of the split that are encoded, those of an interrupted run included."""
    tokens: int = 0
    """Ids made of them."""
    total: int | None = None
    """Bytes of the split, if known."""


def prepare(
    corpus: Corpus,
    folder: str | Path,
    *,
    tokenizer: Tokenizer | Callable[[], Tokenizer],
    options: Mapping[str, Option] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> PreparedCorpus:
    """Write the token files of a corpus, or open them if they are there already.

    The tokenizer is written first, then the training, validation and test splits. An interrupted run, even a
    killed one, loses at most 8 MiB of text: the next one continues it. If two processes prepare the same
    folder, one works and the other waits for it.

    Args:
        corpus: The text.
        folder: The folder of this corpus with these options; made if missing.
        tokenizer: The tokenizer, or a function that makes it, called only if the folder has none yet.
        options: What the tokenizer is made from (its unit, the size of its vocabulary). A folder that was
            begun with other options, another tokenizer or another text is not continued: an unfinished one is
            begun again, with a warning, and a finished one is an error.
        progress: Called before each stage and after each block of about 1 MiB.

    Returns:
        The prepared corpus.

    Raises:
        DataError: The folder holds another corpus or damaged files, a text is empty or cannot be read, or a
            file cannot be written.
    """
    folder = Path(folder)
    work = _Preparation(corpus, folder, tokenizer, options or {}, progress or (lambda _: None))
    if not work.is_finished():
        with _locked(folder, work.report):
            # Another process may have finished it before this one got the lock.
            if not work.is_finished():
                work.finish()
    return open_prepared(folder)


@dataclass
class _Preparation:
    """One folder and what shall be in it."""

    corpus: Corpus
    folder: Path
    tokenizer: Tokenizer | Callable[[], Tokenizer]
    options: Mapping[str, Option]
    report: Callable[[Progress], None]

    def __post_init__(self) -> None:
        texts = (self.corpus.train, self.corpus.validation, self.corpus.test)
        self.texts = {split: text for split, text in zip(_SPLITS, texts, strict=True) if text is not None}
        self.sources: dict[str, str] = {split: text.fingerprint for split, text in self.texts.items()}
        self.digest = tokenizer_digest(self.tokenizer) if isinstance(self.tokenizer, Tokenizer) else None

    def begun(self) -> tuple[Settings | None, str | None]:
        """Return what was begun in the folder, if anything, and how it differs from this."""
        if not (self.folder / FILE_NAME).is_file():
            return None, None
        settings = Settings.read(self.folder)
        return settings, settings.difference(self.sources, self.options, self.digest)

    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        settings, difference = self.begun()
        if settings is None or settings.unfinished(self.folder):
            return False
        if difference:
            raise DataError.at(
                self.folder,
                None,
                f"expected a folder for {self.corpus.name} with these options, got one prepared from "
                f"{difference}; delete it or name another folder",
            )
        return True

    def finish(self) -> None:
        """Continue what was begun, or begin."""
        settings, difference = self.begun()
        if difference:
            warnings.warn(
                f"{self.folder}: the unfinished corpus there was begun with {difference}; beginning again",
                stacklevel=3,
            )
        if settings is None or difference:
            settings = self.begin()
        # The tokenizer as everyone else will read it.
        tokenizer = settings.read_tokenizer(self.folder)
        for split, text in self.texts.items():
            files = split_files(self.folder, split)
            if files.are_written:
                files.journal.unlink(missing_ok=True)
                continue
            total = text.size
            self.report(Progress(split, total=total))
            writing = write_split(text, files, tokenizer=tokenizer, digest=settings.tokenizer)
            # Closed even if `report` raises: a file left open might flush into that of a later run.
            with contextlib.closing(writing):
                for done in writing:
                    self.report(Progress(split, done.bytes, done.tokens, total))

    def begin(self) -> Settings:
        """Remove what cannot be continued, then write the tokenizer and the settings."""
        (self.folder / FILE_NAME).unlink(missing_ok=True)
        for split in _SPLITS:
            for path in split_files(self.folder, split):
                path.unlink(missing_ok=True)
        self.report(Progress("tokenizer"))
        return Settings.begin(
            self.folder,
            name=self.corpus.name,
            options=self.options,
            sources=self.sources,
            tokenizer=self.tokenizer if isinstance(self.tokenizer, Tokenizer) else self.tokenizer(),
        )


@contextlib.contextmanager
def _locked(folder: Path, report: Callable[[Progress], None]) -> Iterator[None]:
    """Keep other processes out of the folder; the system releases the lock of a process that is killed."""
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(Progress("waiting"))
            lock.acquire()
    # NotImplementedError comes from network file systems without locks.
    except (OSError, NotImplementedError) as error:
        raise DataError.at(
            folder,
            None,
            f"expected a folder to write to, got: {getattr(error, 'strerror', None) or error}; "
            "name another folder",
        ) from error
    try:
        yield
    finally:
        lock.release()
