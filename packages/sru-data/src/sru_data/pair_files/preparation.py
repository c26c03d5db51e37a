"""Prepares pairs once, for use by any number of runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from sru_data.datasets.translation import PairFiles, PartName
from sru_data.errors import DataError
from sru_data.pair_files.files import part_paths
from sru_data.pair_files.prepared import (
    FILE_NAME,
    FORMAT,
    JOINT,
    PARTS,
    SOURCE,
    TARGET,
    Option,
    Part,
    PreparedPairs,
    Settings,
    identity,
    open_prepared,
    tokenizer_path,
)
from sru_data.pair_files.vocabularies import Vocabularies, VocabularyConfig
from sru_data.pair_files.writing import PartWriter
from sru_data.prepared_folders import Stored, cached_folder, write_record
from sru_data.preparing import fingerprint, prepare_once, write_stored
from sru_data.token_files.prepared import saved, tokenizer_digest

MAX_LENGTH = 256
"""The default maximum length of training sentences."""
_PAIRS_PER_REPORT = 1000


class Progress(NamedTuple):
    """The progress of a preparation."""

    stage: Literal["waiting", "checking", "vocabulary"] | PartName
    """`waiting` while another process prepares the same folder, `checking` while the files are read for the
    first time, `vocabulary` while the vocabularies are learned, or the part that is being written."""
    pairs: int = 0
    """How many pairs of the part are done."""
    total: int | None = None
    """The number of pairs in the part, if known."""


def prepare(
    files: Mapping[PartName, PairFiles],
    folder: str | Path | None = None,
    *,
    name: str,
    vocabulary: VocabularyConfig | Vocabularies,
    max_length: int = MAX_LENGTH,
    progress: Callable[[Progress], None] | None = None,
) -> PreparedPairs:
    """Learn the vocabularies of pairs and write their ids to files, or open the files if they exist.

    "train" keeps the pairs that can be trained on: neither sentence is empty or longer than `max_length`.
    "validation" and "test" keep all pairs, so scores cover the whole set; an empty sentence there is encoded
    as the single id `unk_id`. `PreparedPairs.report` counts the pairs left out.

    All files are read and checked before the first one is written. If two processes prepare the same folder,
    one works and the other waits for it. An incomplete folder is not used: an interrupted preparation starts
    over.

    Args:
        files: The files of each part. "train" has one translation per sentence, and may be missing if the
            vocabularies are given.
        folder: The folder of this data set with these options, created if missing; default:
            `prepared_folder`.
        name: The name of the data set.
        vocabulary: How to learn the vocabularies, or the vocabularies of an existing model.
        max_length: The maximum number of ids in a training sentence, not counting markers.
        progress: Called before each stage and after each thousand pairs.

    Returns:
        The prepared pairs.

    Raises:
        DataError: A file is missing or damaged, parallel files have different numbers of lines, a part has no
            usable pair, or the folder holds other pairs or damaged files.
        ValueError: An option is invalid, or no such vocabulary can be learned from the texts.
    """
    report = progress or (lambda _: None)
    wanted = _Wanted.of(files, name, vocabulary, max_length)
    folder = wanted.folder if folder is None else Path(folder)
    tokenizers = (tokenizer_path(folder, name) for name in (JOINT, SOURCE, TARGET))
    prepare_once(
        folder,
        wanted,
        lambda: _finish(folder, wanted, report),
        file_name=FILE_NAME,
        read=Settings.read,
        leftovers=chain(tokenizers, *(part_paths(folder, part) for part in PARTS)),
        content="pairs",
        waiting=lambda: report(Progress("waiting")),
    )
    return open_prepared(folder)


def prepared_folder(
    files: Mapping[PartName, PairFiles],
    *,
    name: str,
    vocabulary: VocabularyConfig | Vocabularies,
    max_length: int = MAX_LENGTH,
) -> Path:
    """Return the folder below `download.cache_dir()` for these files and options.

    Args:
        files: As for `prepare`, like the other arguments.
        name: The name of the data set.
        vocabulary: How to learn the vocabularies, or existing ones.
        max_length: The maximum length of training sentences.

    Raises:
        DataError: A file is missing.
        ValueError: An option is invalid.
    """
    return _Wanted.of(files, name, vocabulary, max_length).folder


@dataclass(frozen=True)
class _Wanted:
    """The intended content of a folder."""

    name: str
    vocabulary: VocabularyConfig | Vocabularies
    options: dict[str, Option]
    max_length: int
    files: Mapping[PartName, PairFiles]
    sources: Mapping[str, str]

    @classmethod
    def of(
        cls,
        files: Mapping[PartName, PairFiles],
        name: str,
        vocabulary: VocabularyConfig | Vocabularies,
        max_length: int,
    ) -> _Wanted:
        required = {"train"} if isinstance(vocabulary, VocabularyConfig) else set()
        if not files or not required <= files.keys() <= set(PARTS):
            given = ", ".join(files) or "nothing"
            raise ValueError(
                f"prepare: files must be for train and optionally validation and test, got {given}"
            )
        if max_length < 1:
            raise ValueError(f"prepare: max_length must be at least 1, got {max_length}")
        for part, found in files.items():
            translations = len(found.targets or found.columns[1:])
            if part == "train" and translations > 1:
                raise ValueError(f"prepare: train must have one translation, got {translations}")
        options: dict[str, Option] = (
            asdict(vocabulary)
            if isinstance(vocabulary, VocabularyConfig)
            else {
                **{
                    f"{side} vocabulary": tokenizer_digest(getattr(vocabulary, side))
                    for side in (SOURCE, TARGET)
                },
                **{f"{side} form": str(form) for side, form in vocabulary.forms.items()},
            }
        )
        sources: dict[str, str] = {part: _fingerprint(found) for part, found in files.items()}
        return cls(name, vocabulary, options, max_length, files, sources)

    @property
    def identity(self) -> dict[str, object]:
        return identity(self.name, self.options, self.max_length, self.sources)

    @property
    def folder(self) -> Path:
        return cached_folder(self.name, [FORMAT, sorted(self.identity.items())])


def _finish(folder: Path, wanted: _Wanted, report: Callable[[Progress], None]) -> None:
    report(Progress("checking"))
    totals = {part: _count(found) for part, found in wanted.files.items()}
    if "train" in wanted.files:
        _check_filled(wanted.files["train"])
    vocabularies = wanted.vocabulary
    if isinstance(vocabularies, VocabularyConfig):
        report(Progress("vocabulary"))
        vocabularies = vocabularies.learn(wanted.files["train"])
    tokenizers = _write_vocabularies(folder, vocabularies)
    parts = {
        str(part): _write_part(folder, part, wanted, vocabularies, totals[part], report)
        for part in wanted.files
    }
    settings = Settings(wanted.name, wanted.options, wanted.max_length, parts, tokenizers, vocabularies.forms)
    # Written last: a folder with this file is finished.
    write_record(folder / FILE_NAME, settings, version=FORMAT)


def _count(files: PairFiles) -> int:
    """Read all pairs before the work begins; return their number."""
    count = sum(1 for _ in files.pairs())
    if not count:
        raise DataError.at(files.source[0], None, "expected pairs of sentences, got none")
    return count


def _check_filled(files: PairFiles) -> None:
    """Refuse training data in which no pair has two non-empty sentences: nothing can be learned from it."""
    filled = [False, False]
    for pair in files.pairs():
        sides = [bool(text.strip()) for text in (pair.source, pair.targets[0])]
        if all(sides):
            return
        filled = [before or now for before, now in zip(filled, sides, strict=True)]
    source, target = filled
    path = files.targets[0][0] if files.targets and source and not target else files.source[0]
    empty = "side" if source and target else "translation" if source else "source"
    raise DataError.at(path, None, f"expected sentences to train on, got only pairs with an empty {empty}")


def _write_vocabularies(folder: Path, vocabularies: Vocabularies) -> dict[str, Stored]:
    source, target = vocabularies
    files = {JOINT: source} if vocabularies.joint else {SOURCE: source, TARGET: target}
    return {
        name: write_stored(tokenizer_path(folder, name), saved(tokenizer))
        for name, tokenizer in files.items()
    }


def _write_part(
    folder: Path,
    part: PartName,
    wanted: _Wanted,
    vocabularies: Vocabularies,
    total: int,
    report: Callable[[Progress], None],
) -> Part:
    report(Progress(part, 0, total))
    with PartWriter(folder, part, vocabularies, max_length=wanted.max_length) as writer:
        for done, pair in enumerate(wanted.files[part].pairs(), start=1):
            writer.add(pair)
            if done % _PAIRS_PER_REPORT == 0 or done == total:
                report(Progress(part, done, total))
        # Raises an error for an empty part before its files get their names.
        kept = writer.report()
    return Part(wanted.sources[part], kept, writer.files())


def _fingerprint(files: PairFiles) -> str:
    form = json.dumps([len(files.targets), files.columns, files.encoding])
    return fingerprint(files.paths, content="sentences", beside=form.encode())
