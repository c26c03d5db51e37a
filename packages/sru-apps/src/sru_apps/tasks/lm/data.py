"""Texts for Lightning: token files as contiguous streams, or as windows with a longer context."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, get_args

from sru_apps.ranges import check_at_least
from sru_apps.tasks.lm.texts import (
    check_source,
    find_corpus,
    prepare_corpus,
    settled_options,
    token_of,
    usual_unit,
)
from sru_apps.train.data import TaskData
from sru_apps.train.errors import UserError
from sru_apps.train.export import dump_tokenizer, parse_tokenizer
from sru_apps.train.own_files import Files, name_of_files
from sru_apps.train.prepared_folder import check_settled
from sru_data import DataError
from sru_data.loaders import StreamLoader, WindowLoader
from sru_data.texts import Unit
from sru_data.token_files import TextCounts, TokenFile, open_prepared
from sru_data.tokenizers import Tokenizer


class LanguageModelData(TaskData):
    """The splits of a text as token files, which are prepared once and then mapped into memory.

    The tokens of the training text form `batch_size` contiguous streams, read in parallel in segments of
    `length` steps; each process has its own streams. Validation and test read the text in the same way and
    score each token once, or, with `window`, read it in overlapping windows.

    Args:
        name: The corpus: ptb, wikitext-2, wikitext-103, one-billion-words, enwik8, text8, tiny-shakespeare or
            python-help.
        train_file: Your own text instead of `name`: plain text, JSON lines, CSV, TSV or Parquet, plain or
            compressed; one path, a list, or a pattern such as 'books/*.txt.gz'.
        validation_file: Validation files; default: the end of `train_file` is held out.
        test_file: Test files.
        text_field: The field or column with the text, in files that have fields; default: text.
        encoding: The encoding of the files; default: utf-8.
        data_dir: Folder with the data; default: $SRU_DATA; if unset, the data is downloaded.
        unit: What a token is: words, characters, bytes or subwords; default: the usual one for the corpus.
        tokenizer: A Hugging Face `tokenizer.json` or a sentencepiece model; default: train one.
        vocab_size: Maximum size of the vocabulary.
        min_count: Treat words and characters that occur less often as unknown.
        lowercase: Lowercase the words.
        prepared_dir: Folder of the token files; default: one in the cache. With a folder written by
            `sru lm prepare`, `name` and files are not needed.
        document_separator: The token that ends a document, such as <eos> for a line of words; the state is
            reset after it. Default: the text is one document.
        batch_size: Streams per process.
        length: Steps of a segment, the length of back-propagation.
        random_lengths: Vary the length of segments, as in AWD-LSTM.
        evaluation_batch_size: Streams, or windows at a time, in validation and test, over all processes.
        evaluation_length: Steps of a segment in validation and test; does not affect the results.
        window: Steps of a window in validation and test; each window starts from a fresh state.
        stride: Steps between windows; each window scores only its last `stride` steps; default: half the
            window.
        seed: Seed of the random lengths.

    Attributes:
        prepared: The token files.
        tokenizer: Converts text to tokens.
        separator: The id of `document_separator`, or None.

    Raises:
        ValueError: A size is out of its range.
        UserError: No text is named, or two are.
    """

    def __init__(
        self,
        name: str | None = None,
        train_file: Files | None = None,
        validation_file: Files | None = None,
        test_file: Files | None = None,
        text_field: str | None = None,
        encoding: str | None = None,
        data_dir: str | None = None,
        unit: Unit | None = None,
        tokenizer: str | None = None,
        vocab_size: int | None = None,
        min_count: int = 1,
        lowercase: bool = False,
        prepared_dir: str | None = None,
        document_separator: str | None = None,
        batch_size: int = 32,
        length: int = 64,
        random_lengths: bool = False,
        evaluation_batch_size: int = 8,
        evaluation_length: int = 256,
        window: int | None = None,
        stride: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(
            1,
            vocab_size=vocab_size,
            min_count=min_count,
            batch_size=batch_size,
            length=length,
            evaluation_batch_size=evaluation_batch_size,
            evaluation_length=evaluation_length,
            window=window,
            stride=stride,
        )
        if stride is not None and window is None:
            raise ValueError(f"stride needs a window, got only a stride of {stride}; give the window too")
        if stride is not None and window is not None and stride > window:
            raise ValueError(f"stride must be at most window, got a stride of {stride}, a window of {window}")
        self.save_hyperparameters(logger=False)
        check_source(self.hparams)
        self.group = name or name_of_files(train_file or prepared_dir or "")
        self._expected: dict[str, Any] | None = None
        self._adopted: Tokenizer | None = None

    def prepare_data(self) -> None:
        """Write the token files if they are missing, in one process while others wait.

        Raises:
            DataError: A text is missing, empty or not UTF-8, or the folder holds another text.
            UserError: No vocabulary can be built from the text, or an option differs from how the folder was
                prepared.
        """
        if hasattr(self, "prepared"):
            return
        options = self.hparams
        if options["name"] is None and options["train_file"] is None:
            prepared = open_prepared(options["prepared_dir"])
            unit = options["unit"] or ("subwords" if options["tokenizer"] else prepared.options.get("unit"))
            if unit not in get_args(Unit):
                raise UserError(f"{prepared.folder} does not say what its tokens are; give --data.unit")
            check_settled(self, prepared.folder, settled_options(prepared, options))
        else:
            corpus = find_corpus(options)
            unit = options["unit"] or usual_unit(corpus, options, self._adopted)
            prepared = prepare_corpus(corpus, unit, options, tokenizer=self._adopted)
        self.prepared, self.unit, self.dataset = prepared, str(unit), prepared.name
        self.tokenizer, self.has_test = prepared.tokenizer, prepared.test is not None

    def take_tokenizer(self, tokenizer: str, config: Mapping[str, Any]) -> None:
        """Use the tokenizer of a trained model."""
        self._adopted = parse_tokenizer(tokenizer)

    def setup(self, stage: str) -> None:
        """Open the token files.

        Raises:
            DataError: They do not match the checkpoint whose state was loaded.
            UserError: The vocabulary has no `document_separator`.
        """
        self.prepare_data()
        separator = self.hparams["document_separator"]
        self.separator = None if separator is None else token_of(self.tokenizer, separator)
        expected = self._expected
        if expected is not None and expected["digest"] != self.prepared.tokenizer_digest:
            theirs = len(parse_tokenizer(expected["tokenizer"]))
            raise DataError(
                f"the vocabulary of {self.dataset} in {self.prepared.folder} ({len(self.tokenizer):,} "
                f"{self.unit}) does not match the checkpoint's ({theirs:,} {expected['unit']}); use the text "
                "and the options that the model was trained with, or give its tokenizer with --data.tokenizer"
            )

    def opening(self) -> str:
        """Count the tokens."""
        return (
            f"{self.dataset}: {len(self.prepared.train):,} {self.unit} for training, "
            f"{len(self.tokenizer):,} different"
        )

    def report(self) -> str:
        """Describe the token files, for `sru lm prepare`."""
        files = {split: getattr(self.prepared, split) for split in ("train", "validation", "test")}
        rows = [
            f"{split:<11}{file.counts.tokens:>14,} tokens  {file.counts.words:>13,} words  "
            f"{file.counts.lines:>11,} lines  {file.counts.bytes:>14,} bytes"
            for split, file in files.items()
            if file is not None
        ]
        head = f"{self.dataset}: {len(self.tokenizer):,} different {self.unit}"
        return "\n".join([head, *rows, f"Token files: {self.prepared.folder}"])

    def warn_about(self, stage: str) -> None:
        """Warn about streams so short that most tokens are scored without context."""
        streams, tokens = self.hparams["evaluation_batch_size"], self.counts(stage).tokens
        length = self.hparams["length"]
        if self.hparams["window"] is None and streams > 1 and tokens < streams * length:
            warnings.warn(
                f"a batch size of {streams} splits the {tokens:,} tokens of the {stage} text into streams of "
                f"{max(1, tokens // streams):,}, each starting without context and shorter than the {length} "
                "steps of a segment in training; a smaller --batch-size gives a more meaningful figure",
                stacklevel=2,
            )

    def counts(self, split: str) -> TextCounts:
        """The length of a split in all units."""
        return self._file(split).counts

    def _file(self, split: str) -> TokenFile:
        found: TokenFile | None = getattr(self.prepared, split)
        if found is None:
            raise UserError(f"{self.dataset} has no {split} split; give --data.{split}_file")
        return found

    def train_dataloader(self) -> StreamLoader:
        """The streams of this process."""
        return self._streams("train", self.hparams["batch_size"], self.hparams["length"])

    def val_dataloader(self) -> StreamLoader | WindowLoader:
        """The validation text."""
        return self._evaluation("validation")

    def test_dataloader(self) -> StreamLoader | WindowLoader:
        """The test text."""
        return self._evaluation("test")

    def _evaluation(self, split: str) -> StreamLoader | WindowLoader:
        rank, world_size = self.rank
        tokens = self._file(split).tokens
        # Steps beyond the text would be padding, but still take memory.
        steps = max(1, len(tokens) - 1)
        # The figure must not depend on the number of processes.
        batch_size = min(-(-self.hparams["evaluation_batch_size"] // world_size), steps)
        if self.hparams["window"] is None:
            return self._streams(split, batch_size, self.hparams["evaluation_length"])
        window = min(self.hparams["window"], steps)
        stride = min(self.hparams["stride"] or max(1, window // 2), window)
        return WindowLoader(
            tokens,
            batch_size=min(batch_size, 1 - (window - steps) // stride),
            window=window,
            stride=stride,
            separator=self.separator,
            rank=rank,
            world_size=world_size,
        )

    def _streams(self, split: str, batch_size: int, length: int) -> StreamLoader:
        rank, world_size = self.rank
        train = split == "train"
        try:
            return StreamLoader(
                self._file(split).tokens,
                batch_size=batch_size,
                length=length,
                separator=self.separator,
                random_lengths=train and self.hparams["random_lengths"],
                whole=not train,
                seed=self.hparams["seed"],
                rank=rank,
                world_size=world_size,
            )
        except DataError as error:
            raise DataError(f"the {split} split of {self.dataset}: {error}") from error

    def state_dict(self) -> dict[str, Any]:
        """Return the tokenizer, so that a checkpoint can be used without the text it was trained on."""
        return {
            "tokenizer": dump_tokenizer(self.tokenizer),
            "digest": self.prepared.tokenizer_digest,
            "unit": self.unit,
            "adopted": self._adopted is not None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Require the token files to have a checkpoint's tokenizer.

        Raises:
            DataError: They have a different one, so the ids would mean other tokens.
        """
        self._expected = {name: state_dict[name] for name in ("tokenizer", "digest", "unit")}
        if state_dict.get("adopted"):
            self._adopted = parse_tokenizer(state_dict["tokenizer"])
        if hasattr(self, "prepared"):
            self.setup("fit")
