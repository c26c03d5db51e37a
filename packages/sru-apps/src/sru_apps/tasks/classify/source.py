"""Where the sentences come from: a published set, or your own files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from sru_apps.train.errors import UserError
from sru_apps.train.own_files import check_files
from sru_data.datasets import classification
from sru_data.datasets.classification import Splits

DatasetName = Literal["mr", "cr", "subj", "mpqa", "trec", "sst1", "sst2"]
_WITH_PHRASES = ("sst1", "sst2")
_OF_FILES = {
    "text_column": "text",
    "label_column": "label",
    "pair_column": None,
    "label_separator": None,
    "kind": None,
    "encoding": "utf-8",
    "delimiter": None,
}
"""Options for your own files, and their defaults."""


def check_source(options: Mapping[str, Any]) -> None:
    """Refuse options that name no data set, or two.

    Args:
        options: The options `--data.*`.

    Raises:
        UserError: No data set is named or two are, or an option for files is given without files.
    """
    name, train = options["name"], options["train_file"]
    check_files(options)
    if name is None and train is None:
        raise UserError(
            f"no data chosen; give --recipe or --data.name ({', '.join(sorted(get_args(DatasetName)))}), or "
            "your own files with --data.train_file",
            status=2,
        )
    if name is not None and train is not None:
        raise UserError("both --data.name and --data.train_file are given; leave one of them out")
    if options["phrases"] and name not in _WITH_PHRASES:
        what = name or "your own files"
        raise UserError(f"--data.phrases is for {' and '.join(_WITH_PHRASES)}, not for {what}; leave it out")
    if name is None:
        return
    defaults = {"validation_file": None, "test_file": None, **_OF_FILES}
    for option, default in defaults.items():
        if options[option] != default:
            raise UserError(
                f"--data.{option} is for your own files, not for {name}; leave it out, or give "
                "--data.train_file instead of a recipe or name"
            )


def read_splits(options: Mapping[str, Any]) -> Splits:
    """Read the sentences.

    Args:
        options: The options `--data.*`.

    Raises:
        DataError: A file is missing or malformed.
    """
    fold, seed = options["fold"], options["seed"]
    if options["train_file"] is None:
        names = ("name", "data_dir", "phrases")
        return classification.load(**{name: options[name] for name in names}, fold=fold, seed=seed)
    files = (options[name] for name in ("train_file", "validation_file", "test_file"))
    return classification.load_files(
        *files, **{name: options[name] for name in _OF_FILES}, fold=fold or None, seed=seed
    )
