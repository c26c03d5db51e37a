"""Where sentences and their translations come from: a published set, or your own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal

import torch
from torch import Tensor

from sru_apps.tasks.translate.vocabularies import TokenizerPair
from sru_apps.train.console import preparation_bar
from sru_apps.train.errors import UserError, building
from sru_apps.train.own_files import Files, check_files
from sru_data.datasets import translation
from sru_data.datasets.translation import Pair, PairFiles
from sru_data.errors import DataError
from sru_data.pair_files import (
    Example,
    PairPart,
    PreparedPairs,
    Progress,
    Vocabularies,
    VocabularyConfig,
    open_prepared,
    prepare,
)
from sru_data.tables import open_table

DatasetName = Literal[
    "multi30k-en-de", "multi30k-de-en", "iwslt14-en-de", "iwslt14-de-en", "wmt14-en-de", "wmt14-de-en"
]
PARTS = ("train", "validation", "test")
MAX_LENGTH = 256
"""Default of `max_length`."""
_SUBWORDS = 8000
"""Default size of a subword vocabulary."""
_TEXT_OPTIONS = ("pretokenizer", "lowercase", "source_language", "target_language")
_HELD_OUT, _MOST_HELD_OUT = 20, 2000
"""Without a validation file, one pair in this many is held out, at most this many in total."""


def check_source(options: Mapping[str, Any]) -> None:
    """Reject options that name no pairs, or two sets of pairs.

    Args:
        options: The options `--data.*`.

    Raises:
        UserError: No pairs are named or two sets are, or files of a part are missing.
    """
    name, train = options["name"], options["train_file"]
    check_files(options)
    for part in PARTS:
        if options[f"{part}_target_file"] is not None and options[f"{part}_file"] is None:
            raise UserError(
                f"{part}_target_file needs the sentences of a {part}_file; give --data.{part}_file too"
            )
    if name is not None and train is not None:
        raise UserError("both --data.name and --data.train_file are given; leave one of them out")
    if (test_set := options["test_set"]) is not None:
        if name is None:
            raise UserError(
                "--test-set needs published data (--data.name); use --test-file for your own files"
            )
        if test_set not in (known := translation.names_of_tests(name)):
            raise UserError(f"--test-set must be one of {', '.join(known)} for {name}, got {test_set!r}")
    if train is None and options["validation_file"] is not None:
        raise UserError("validation_file needs a train_file; give --data.train_file too")
    if name is None and train is None and options["test_file"] is not None:
        raise UserError("test_file needs sentences to train on; give --data.name or --data.train_file too")
    if name is None and train is None and options["prepared_dir"] is None:
        raise UserError(
            f"no sentences chosen; give --recipe, --data.name ({', '.join(translation.NAMES)}), or your own "
            "files with --data.train_file",
            status=2,
        )


def is_table(files: Files) -> bool:
    """Whether files are tables with both sides rather than lines of text."""
    try:
        return open_table(files).kind != "text"
    except DataError:
        return False  # reading them reports the error


def prepare_pairs(
    name: str,
    options: Mapping[str, Any],
    *,
    tokenizer: TokenizerPair | None = None,
    adopted: bool = False,
    evaluates: bool = False,
) -> PreparedPairs:
    """Prepare the sentences that the options name, or open them if already prepared.

    Args:
        name: The name of the data.
        options: The options `--data.*`.
        tokenizer: The tokenizer of a trained model; default: learn one.
        adopted: Whether the model trained on these pairs took its tokenizer from another model.
        evaluates: Whether a trained model is evaluated. The training pairs are then left out unless some of
            them are held out for validation, and the folder is in the cache.

    Raises:
        UserError: Options do not fit together, or the vocabulary cannot be learned from the texts.
        DataError: A file is missing or damaged, or the folder contains other pairs.
    """
    if options["name"] is None and options["train_file"] is None:
        return open_prepared(options["prepared_dir"])
    with building(), preparation_bar(name, unit="pairs") as report:

        def show(progress: Progress) -> None:
            report(progress.stage, progress.pairs, progress.total)

        files, folder = _find(options), options["prepared_dir"]
        vocabulary: VocabularyConfig | Vocabularies = _vocabulary(options)
        without_training = evaluates and "validation" in files
        # Pairs are held out of the training pairs, which must be prepared with the same vocabulary as before.
        if tokenizer is not None and (adopted or without_training):
            vocabulary = Vocabularies(tokenizer.source, tokenizer.target)
        if without_training or (evaluates and options["test_file"] is not None):
            folder = None
        if without_training:
            del files["train"]
        return prepare(
            files,
            folder,
            name=name,
            vocabulary=vocabulary,
            max_length=options["max_length"] or MAX_LENGTH,
            progress=show if "train" in files else None,
        )


def _vocabulary(options: Mapping[str, Any]) -> VocabularyConfig:
    """Return how to learn the vocabulary.

    Raises:
        ValueError: An option does not apply to the unit.
    """
    size: int | None = options["vocab_size"]
    unit: Any = options["unit"] or "subwords"
    text = {} if options["name"] is None else translation.text_options(options["name"])
    given = {name: options[name] for name in _TEXT_OPTIONS if options[name] is not None}
    return VocabularyConfig(
        unit=unit,
        size=_SUBWORDS if size is None and unit == "subwords" else size,
        model_type=options["subword_model"],
        min_count=options["min_count"],
        joint=options["joint"],
        **{**text, **given},
    )


def settled_options(prepared: PreparedPairs) -> dict[str, Any]:
    """Return the options that pairs were prepared with; those of a given vocabulary are unknown."""
    names = {"size": "vocab_size", "model_type": "subword_model"}
    learned = {field.name for field in fields(VocabularyConfig)}
    found = {names.get(name, name): value for name, value in prepared.vocabulary.items() if name in learned}
    return {**found, "max_length": prepared.max_length}


def _find(options: Mapping[str, Any]) -> dict[Any, PairFiles]:
    """Find or download the files of each part. Only the training part is limited to one reference."""
    files: dict[Any, PairFiles] = {}
    if options["name"] is not None:
        files |= translation.load(options["name"], data_dir=options["data_dir"], test=options["test_set"])
    for part in PARTS:
        paths, targets = options[f"{part}_file"], options[f"{part}_target_file"]
        if paths is not None and targets is not None:
            several = part != "train" and isinstance(targets, list)
            files[part] = PairFiles.parallel(paths, *(targets if several else [targets]))
        elif paths is not None:
            columns = options["target_column"]
            columns = [columns] if isinstance(columns, str) else columns
            columns = columns[:1] if part == "train" else columns
            files[part] = PairFiles.table(paths, source=options["source_column"], targets=columns)
    return files


class Selection(Sequence[Example]):
    """A subset of the pairs of a part.

    Args:
        pairs: All pairs of the part.
        numbers: (N,) int64, the numbers of the selected pairs.
    """

    def __init__(self, pairs: PairPart, numbers: Tensor) -> None:
        self.pairs, self.numbers = pairs, numbers
        self.lengths: Tensor = pairs.lengths[numbers]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.numbers)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        """Return the ids of a pair."""
        return self.pairs[int(self.numbers[index])]

    def text(self, index: int) -> Pair:
        """Return the texts of a pair.

        Args:
            index: Its number among all pairs of the part, as in its example.
        """
        return self.pairs.text(index)


def hold_out(pairs: PairPart, *, seed: int) -> tuple[Selection, Selection]:
    """Split pairs into training and validation pairs.

    Args:
        pairs: The pairs.
        seed: The seed of the split.

    Raises:
        DataError: There is only one pair.
    """
    if len(pairs) < 2:
        raise DataError(
            "expected at least two pairs, one of them for validation, got one; give --data.validation_file"
        )
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))
    count = min(-(-len(pairs) // _HELD_OUT), _MOST_HELD_OUT)
    return Selection(pairs, order[count:].sort().values), Selection(pairs, order[:count].sort().values)
