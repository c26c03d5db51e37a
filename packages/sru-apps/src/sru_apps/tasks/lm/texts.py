"""Where the text of a language model comes from, and its token files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sru_apps.train.console import preparation_bar
from sru_apps.train.errors import UserError
from sru_apps.train.own_files import check_files
from sru_data import DataError
from sru_data.datasets import language_modelling
from sru_data.datasets.language_modelling import Corpus
from sru_data.texts import Unit
from sru_data.token_files import PreparedCorpus, prepare, prepared_folder, tokenizer_digest
from sru_data.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer, WordTokenizer, load_tokenizer
from sru_data.tokenizers.training import train_tokenizer

_TEXT_FIELD, _ENCODING = "text", "utf-8"


def check_source(options: Mapping[str, Any]) -> None:
    """Refuse options that name no text, or two.

    Args:
        options: The arguments of `LanguageModelData`.

    Raises:
        UserError: No text is named or two are, or an option for files is given without files.
    """
    name, train_file = options["name"], options["train_file"]
    if name is not None and train_file is not None:
        raise UserError("both --data.name and --data.train_file are given; leave one of them out")
    if train_file is None and (options["validation_file"] is not None or options["test_file"] is not None):
        raise UserError("validation_file and test_file need a train_file; give --data.train_file too")
    for option in ("text_field", "encoding"):
        if train_file is None and options[option] is not None:
            raise UserError(f"{option} is for your own files; give --data.train_file too")
    check_files(options)
    if name is None and train_file is None and options["prepared_dir"] is None:
        known = ", ".join(language_modelling.NAMES)
        raise UserError(f"no text chosen; give --recipe, --data.train_file, or --data.name ({known})")


def find_corpus(options: Mapping[str, Any]) -> Corpus:
    """Find the texts that the options name.

    Args:
        options: The arguments of `LanguageModelData`.

    Raises:
        DataError: A file is missing or damaged.
    """
    if options["train_file"] is None:
        return language_modelling.load(options["name"], data_dir=options["data_dir"])
    return language_modelling.from_files(
        options["train_file"],
        validation=options["validation_file"],
        test=options["test_file"],
        text_field=options["text_field"] or _TEXT_FIELD,
        encoding=options["encoding"] or _ENCODING,
    )


def usual_unit(corpus: Corpus, options: Mapping[str, Any], tokenizer: Tokenizer | None = None) -> Unit:
    """Return what a token is if no option specifies it.

    Args:
        corpus: The texts.
        options: The arguments of `LanguageModelData`.
        tokenizer: A tokenizer to use regardless of the options.
    """
    if tokenizer is None:
        return "subwords" if options["tokenizer"] else corpus.unit
    kinds: dict[type, Unit] = {ByteTokenizer: "bytes", CharTokenizer: "characters", WordTokenizer: "words"}
    return next((unit for kind, unit in kinds.items() if isinstance(tokenizer, kind)), "subwords")


def prepare_corpus(
    corpus: Corpus, unit: Unit, options: Mapping[str, Any], *, tokenizer: Tokenizer | None = None
) -> PreparedCorpus:
    """Write the token files if they are missing.

    Args:
        corpus: The texts.
        unit: What a token is.
        options: The arguments of `LanguageModelData`.
        tokenizer: A tokenizer to use regardless of the options.

    Raises:
        DataError: A text is empty or not UTF-8, or the folder holds another text.
        UserError: No vocabulary can be built from the text.
    """
    given = tokenizer
    if given is None and options["tokenizer"] is not None:
        given = load_tokenizer(options["tokenizer"])
    settings = {name: options[name] for name in ("vocab_size", "min_count", "lowercase")}
    source: Any = given or partial(_train_tokenizer, corpus, unit, settings)
    if given is not None:
        settings = {"tokenizer": tokenizer_digest(given)}
    folder = options["prepared_dir"] or prepared_folder(corpus, unit=unit, **settings)
    with preparation_bar(corpus.name, unit="B") as report:
        return prepare(
            corpus,
            Path(folder),
            tokenizer=source,
            options={"unit": unit, **settings},
            progress=lambda progress: report(progress.stage, progress.bytes, progress.total),
        )


def settled_options(prepared: PreparedCorpus, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with which a corpus was prepared.

    Args:
        prepared: The corpus.
        options: The arguments of `LanguageModelData`.

    Raises:
        UserError: They name another tokenizer.
    """
    path = options["tokenizer"]
    if path is not None and tokenizer_digest(load_tokenizer(path)) != prepared.tokenizer_digest:
        raise UserError(
            f"{prepared.folder} was prepared with another tokenizer than that of {path}; leave "
            "--data.tokenizer out, or prepare the data with it"
        )
    names = ("unit", "vocab_size", "min_count", "lowercase")
    return {name: prepared.options[name] for name in names if name in prepared.options}


def token_of(tokenizer: Tokenizer, text: str) -> int:
    """Return the id of the token that ends a document.

    Args:
        tokenizer: The tokenizer.
        text: A token as in the vocabulary, such as `<eos>`, or a text that is one token, such as a line end.

    Raises:
        UserError: The vocabulary has no such token.
    """
    tokens = tokenizer.tokens
    if text in tokens:
        return tokens.index(text)
    ids = tokenizer.encode(text) if text else []
    if len(ids) == 1 and ids[0] != tokenizer.unk_id:
        return ids[0]
    found = f"{len(ids)} tokens" if len(ids) > 1 else "not in it"
    raise UserError(
        f"document_separator must be one token of the vocabulary, got {text!r}, which is {found}; choose a "
        "token of the vocabulary, such as <eos> for the end of a line of words"
    )


def _train_tokenizer(corpus: Corpus, unit: Unit, options: dict[str, Any]) -> Tokenizer:
    try:
        return train_tokenizer(corpus.train, unit=unit, **options)
    except DataError:
        raise
    except ValueError as error:
        raise UserError(f"cannot build a vocabulary from {corpus.train.name}: {error}") from error
