"""Where sentences and their translations come from: a published set, or your own files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sru_data.pair_files import PreparedPairs, VocabularyConfig, open_prepared, prepare

from sru_apps.tasks.translate.vocabularies import TokenizerPair
from sru_apps.train.console import preparation_bar
from sru_apps.train.errors import UserError, building
from sru_apps.train.own_files import check_files
from sru_data.datasets import translation
from sru_data.datasets.translation import PairFiles

DatasetName = Literal[
    "multi30k-en-de", "multi30k-de-en", "iwslt14-en-de", "iwslt14-de-en", "wmt14-en-de", "wmt14-de-en"
]
_PARTS = ("train", "validation", "test")


def check_source(options: Mapping[str, Any]) -> None:
    """Refuse options that name no pairs, or two sets of them.

    Args:
        options: The options `--data.*`.

    Raises:
        UserError: No pairs are named or two sets are, or files of a part are missing.
    """
    name, train = options["name"], options["train_file"]
    check_files(options)
    for part in _PARTS:
        if options[f"{part}_target_file"] is not None and options[f"{part}_file"] is None:
            raise UserError(
                f"{part}_target_file holds the translations of a {part}_file; give --data.{part}_file too"
            )
    if name is not None and train is not None:
        raise UserError("both --data.name and --data.train_file name sentences; leave one of them out")
    if options["test_set"] is not None and name is None:
        raise UserError("--data.test_set chooses among those of a published set; give --data.test_file")
    if train is None and options["validation_file"] is not None:
        raise UserError("validation_file needs a train_file; give --data.train_file too")
    if train is not None and options["validation_file"] is None:
        raise UserError("train_file needs sentences to validate on; give --data.validation_file too")
    if name is None and train is None and options["prepared_dir"] is None:
        raise UserError(
            f"no sentences chosen; give --recipe, --data.name ({', '.join(translation.NAMES)}), or files of "
            "your own with --data.train_file",
            status=2,
        )


def prepare_pairs(
    name: str, options: Mapping[str, Any], *, tokenizer: TokenizerPair | None = None, training: bool = True
) -> PreparedPairs:
    """Turn the sentences that the options name into numbers, or open them where that is done.

    Args:
        name: What to call the data.
        options: The options `--data.*`.
        tokenizer: That of a trained model; default: one is learned.
        training: Whether to prepare the training pairs too; without them the folder is one in the cache.

    Raises:
        DataError: A file is missing or damaged, or the folder holds other pairs.
    """
    if options["name"] is None and options["train_file"] is None:
        return open_prepared(options["prepared_dir"])
    with building(), preparation_bar(name, unit="pairs") as report:
        files = _find(options)
        if not training:
            del files["train"]
        return prepare(
            files,
            options["prepared_dir"] if training else None,
            name=name,
            vocabulary=VocabularyConfig(
                unit=options["unit"],
                size=options["vocab_size"],
                model_type=options["subword_model"],
                min_count=options["min_count"],
                lowercase=options["lowercase"],
                joint=options["joint"],
            ),
            max_length=options["max_length"],
            tokenizers=None if tokenizer is None else (tokenizer.source, tokenizer.target),
            progress=lambda progress: report(progress.stage, progress.pairs, progress.total),
        )


def _find(options: Mapping[str, Any]) -> dict[Any, PairFiles]:
    """Find, or download, the files of each part; those of a published set may have another test."""
    files: dict[Any, PairFiles] = {}
    if options["name"] is not None:
        files |= translation.load(options["name"], data_dir=options["data_dir"], test=options["test_set"])
    for part in _PARTS:
        paths, targets = options[f"{part}_file"], options[f"{part}_target_file"]
        if paths is not None and targets is not None:
            several = part == "test" and isinstance(targets, list)
            files[part] = PairFiles.parallel(paths, *(targets if several else [targets]))
        elif paths is not None:
            fields = options["target_field"]
            fields = [fields] if isinstance(fields, str) else fields
            files[part] = PairFiles.table(paths, source=options["source_field"], targets=tuple(fields))
    return files
