"""Prepares a corpus once, for use by any number of runs."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from sru_data.atomic import atomic_write, lock_folder, remove_temporaries
from sru_data.datasets.language_modelling import Corpus
from sru_data.errors import DataError
from sru_data.prepared_folders import check_contents, write_record
from sru_data.texts.source import TextSource
from sru_data.token_files.files import FORMAT
from sru_data.token_files.prepared import (
    FILE_NAME,
    Option,
    PreparedCorpus,
    Settings,
    digest,
    open_prepared,
    saved,
    tokenizer_digest,
)
from sru_data.token_files.writing import split_files, write_split
from sru_data.tokenizers import Tokenizer

Split = Literal["train", "validation", "test"]
_SPLITS: tuple[Split, ...] = get_args(Split)


class Progress(NamedTuple):
    """The progress of a preparation."""

    stage: Literal["waiting", "tokenizer"] | Split
    """`waiting` while another process prepares the same folder, `tokenizer` while the tokenizer is created,
    or the split that is being written."""
    bytes: int = 0
    """Bytes of the split encoded so far, including those of an interrupted run."""
    tokens: int = 0
    """Ids produced from them."""
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
    """Write the token files of a corpus, or open them if they exist.

    The tokenizer is written first, then the training, validation and test splits. An interrupted run, even a
    killed one, loses at most 8 MiB of text: the next one continues it. If two processes prepare the same
    folder, one works and the other waits for it.

    Args:
        corpus: The text.
        folder: The folder of this corpus with these options; created if missing.
        tokenizer: The tokenizer, or a function that creates it, called only if the folder has none yet.
        options: The options that the tokenizer is created with (its unit, the size of its vocabulary). A
            folder with other options, another tokenizer or another text is not continued: an unfinished one
            is started over, with a warning, and a finished one is an error.
        progress: Called before each stage and after each block of about 1 MiB.

    Returns:
        The prepared corpus.

    Raises:
        DataError: The folder holds another corpus or damaged files, a text is empty or cannot be read, or a
            file cannot be written.
    """
    folder, report = Path(folder), progress or (lambda _: None)
    texts = zip(_SPLITS, (corpus.train, corpus.validation, corpus.test), strict=True)
    splits = {split: text for split, text in texts if text is not None}
    sources: dict[str, str] = {split: text.fingerprint for split, text in splits.items()}
    given = tokenizer_digest(tokenizer) if isinstance(tokenizer, Tokenizer) else ""
    wanted = Settings(corpus.name, dict(options or {}), sources, given, "")
    if not _is_finished(folder, wanted):
        with lock_folder(folder, wait=lambda: report(Progress("waiting"))):
            # Another process may have finished it before this one got the lock.
            if not _is_finished(folder, wanted):
                _finish(folder, wanted, splits, tokenizer, report)
    return open_prepared(folder)


def _is_finished(folder: Path, wanted: Settings) -> bool:
    if not (folder / FILE_NAME).is_file():
        return False
    begun = Settings.read(folder)
    if begun.unfinished(folder):
        return False
    if difference := begun.difference(wanted):
        raise DataError.at(
            folder,
            None,
            f"expected a folder for {wanted.name} with these options, got one prepared from {difference}; "
            "delete it or name another folder",
        )
    return True


def _finish(
    folder: Path,
    wanted: Settings,
    splits: Mapping[Split, TextSource],
    tokenizer: Tokenizer | Callable[[], Tokenizer],
    report: Callable[[Progress], None],
) -> None:
    """Continue a preparation, or start it."""
    check_contents(folder, FILE_NAME)
    remove_temporaries(folder)
    settings = Settings.read(folder) if (folder / FILE_NAME).is_file() else None
    if settings and (difference := settings.difference(wanted)):
        warnings.warn(
            f"{folder}: the unfinished corpus there was prepared with {difference}; starting again",
            stacklevel=3,
        )
        settings = None
    settings = settings or _begin(folder, wanted, tokenizer, report)
    # The tokenizer as other readers will load it.
    reread = settings.read_tokenizer(folder)
    for split, text in splits.items():
        files = split_files(folder, split)
        if files.are_written:
            files.journal.unlink(missing_ok=True)
            continue
        total = text.size
        report(Progress(split, total=total))
        # Closed even if `report` raises: a file left open might flush into that of a later run.
        with contextlib.closing(
            write_split(text, files, tokenizer=reread, digest=settings.tokenizer)
        ) as writing:
            for done in writing:
                report(Progress(split, done.bytes, done.tokens, total))


def _begin(
    folder: Path,
    wanted: Settings,
    tokenizer: Tokenizer | Callable[[], Tokenizer],
    report: Callable[[Progress], None],
) -> Settings:
    """Remove files that cannot be continued, then write the tokenizer and the settings."""
    (folder / FILE_NAME).unlink(missing_ok=True)
    for path in chain.from_iterable(split_files(folder, split) for split in _SPLITS):
        path.unlink(missing_ok=True)
    report(Progress("tokenizer"))
    content = saved(tokenizer if isinstance(tokenizer, Tokenizer) else tokenizer())
    kind = "json" if content.lstrip().startswith(b"{") else "model"
    settings = replace(wanted, tokenizer=digest(content), tokenizer_file=f"tokenizer.{kind}")
    with atomic_write(folder / settings.tokenizer_file) as file:
        file.write(content)
    write_record(folder / FILE_NAME, settings, version=FORMAT)
    return settings
