"""Prepares a corpus once for every run that reads it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock, Timeout

from sru_data.errors import DataError
from sru_data.language_modelling import Corpus
from sru_data.text import TextSource
from sru_data.token_files.counts import TextCounts
from sru_data.token_files.prepared import PreparedCorpus, open_prepared
from sru_data.token_files.settings import FILE_NAME, Option, Settings, tokenizer_digest
from sru_data.token_files.writing import is_written, split_files, write_split
from sru_data.tokenizers import Tokenizer

Split = Literal["train", "validation", "test"]
_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class Progress(NamedTuple):
    """What a preparation is at."""

    stage: Literal["waiting", "tokenizer"] | Split
    """`waiting` while another process prepares the same folder, `tokenizer` while the vocabulary is made, or
    the split that is written."""
    bytes: int = 0
    """Bytes of the split that are encoded, those of an interrupted run included."""
    tokens: int = 0
    """Ids made of them."""
    total: int | None = None
    """Bytes of the split, where that is known."""


def prepare(
    corpus: Corpus,
    folder: str | Path,
    *,
    tokenizer: Tokenizer | Callable[[], Tokenizer],
    options: Mapping[str, Option] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> PreparedCorpus:
    """Write the token files of a corpus, or open them where they are written already.

    First the tokenizer is written, then the training, validation and test split. A run that is interrupted,
    even killed, loses at most 8 MiB of text: the next one continues it. Of two processes that prepare the
    same folder one works and the other waits for it.

    Args:
        corpus: The text.
        folder: The folder of this corpus with these options; made when missing.
        tokenizer: The tokenizer, or what makes it, called only when the folder has none yet.
        options: What the tokenizer is made from (its unit, the size of its vocabulary). A folder that was
            begun with other options, another tokenizer or another text is not continued: an unfinished one
            is begun again, with a warning, and a finished one is an error.
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


class _Preparation:
    """One folder and what shall be in it."""

    def __init__(
        self,
        corpus: Corpus,
        folder: Path,
        tokenizer: Tokenizer | Callable[[], Tokenizer],
        options: Mapping[str, Option],
        report: Callable[[Progress], None],
    ) -> None:
        self.name = corpus.name
        self.folder = folder
        self.tokenizer = tokenizer
        self.options = options
        self.report = report
        splits: dict[Split, TextSource | None] = {
            "train": corpus.train,
            "validation": corpus.validation,
            "test": corpus.test,
        }
        self.texts = {split: text for split, text in splits.items() if text is not None}
        self.sources: dict[str, str] = {split: text.fingerprint for split, text in self.texts.items()}
        self.digest = tokenizer_digest(tokenizer) if isinstance(tokenizer, Tokenizer) else None

    def begun(self) -> Settings | None:
        """Return what was begun in the folder, if anything was."""
        return Settings.read(self.folder) if (self.folder / FILE_NAME).is_file() else None

    def difference(self, settings: Settings) -> str | None:
        """Say what was begun with other settings than these."""
        return settings.difference(self.sources, self.options, self.digest)

    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        settings = self.begun()
        if settings is None or settings.unfinished(self.folder):
            return False
        if difference := self.difference(settings):
            raise DataError.at(
                self.folder,
                None,
                f"expected a folder for {self.name} with these options, got one prepared from {difference}; "
                "delete it or name another folder",
            )
        return True

    def finish(self) -> None:
        """Continue what was begun, or begin."""
        settings = self.begun()
        if settings is not None and (difference := self.difference(settings)):
            warnings.warn(
                f"{self.folder}: what is unfinished there was begun with {difference}; beginning again",
                stacklevel=3,
            )
            settings = None
        if settings is None:
            settings = self.begin()
        # The tokenizer as everyone else will read it.
        tokenizer = settings.read_tokenizer(self.folder)
        for split, text in self.texts.items():
            if is_written(self.folder, split):
                split_files(self.folder, split).journal.unlink(missing_ok=True)
                continue
            self.report(Progress(split, total=text.size))
            write_split(
                text,
                self.folder,
                split,
                tokenizer=tokenizer,
                digest=settings.tokenizer,
                report=partial(self.report_split, split, text.size),
            )

    def begin(self) -> Settings:
        """Remove what cannot be continued, then write the tokenizer and the settings."""
        (self.folder / FILE_NAME).unlink(missing_ok=True)
        for split in _SPLITS:
            for path in split_files(self.folder, split):
                path.unlink(missing_ok=True)
        self.report(Progress("tokenizer"))
        return Settings.begin(
            self.folder,
            name=self.name,
            options=self.options,
            sources=self.sources,
            tokenizer=self.tokenizer if isinstance(self.tokenizer, Tokenizer) else self.tokenizer(),
        )

    def report_split(self, split: Split, total: int | None, done: TextCounts) -> None:
        self.report(Progress(split, done.bytes, done.tokens, total))


@contextlib.contextmanager
def _locked(folder: Path, report: Callable[[Progress], None]) -> Iterator[None]:
    """Keep other processes out of the folder; the system ends the lock of a process that is killed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(Progress("waiting"))
            lock.acquire()
    # The second is what some network file systems, which know no locks, lead to.
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
