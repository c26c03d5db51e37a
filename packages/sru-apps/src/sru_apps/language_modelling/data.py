"""Texts for Lightning: token files as contiguous streams, or as windows with a longer context."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import LightningDataModule
from torch import Tensor

from sru_apps.language_modelling.figures import FIGURE
from sru_apps.language_modelling.preparation_bar import PreparationBar
from sru_apps.language_modelling.tokenizer_state import dump_tokenizer, parse_tokenizer
from sru_apps.training.errors import UserError
from sru_data import DataError, language_modelling
from sru_data.language_modelling import Corpus
from sru_data.streams import StreamLoader, WindowLoader
from sru_data.text import Unit
from sru_data.token_files import (
    PreparedCorpus,
    TextCounts,
    TokenFile,
    open_prepared,
    prepare,
    prepared_folder,
    tokenizer_digest,
)
from sru_data.tokenizers import Tokenizer, load_tokenizer
from sru_data.tokenizers.training import train_tokenizer

Split = Literal["validation", "test"]


class LanguageModelData(LightningDataModule):
    """The splits of a text as token files, which are prepared once and then mapped into memory.

    The tokens of the training text come as `batch_size` contiguous streams, read side by side in segments of
    `length` steps; where there are several processes each has its own streams. Validation and test read the
    text in the same way, each token scored once, or with `window` in overlapping windows.

    Args:
        name: The corpus: ptb, wikitext-2, wikitext-103, one-billion-words, enwik8, text8, tiny-shakespeare or
            python-help.
        train_file: A text or JSON-lines file of your own instead of `name`.
        validation_file: Another for validation; by default the end of `train_file` is held out.
        test_file: Another for the test.
        data_dir: Folder with the data; the environment variable SRU_DATA or a download by default.
        unit: What a token is: words, characters, bytes or subwords; by default as is usual for the corpus.
        tokenizer: A Hugging Face `tokenizer.json` or a sentencepiece model; by default one is learnt.
        vocab_size: The most words, characters or subwords to know.
        min_count: Words and characters that are rarer are unknown.
        lowercase: Whether words lose their case.
        prepared_dir: Where the token files lie, or go; a folder of the cache by default. One that `sru lm
            prepare` has filled needs neither `name` nor files.
        batch_size: Streams that each process reads.
        length: Steps of a segment: gradients reach so far back.
        random_lengths: Whether segments vary in length, as in AWD-LSTM.
        evaluation_batch_size: Streams, or windows at a time, in validation and test, over all processes.
        evaluation_length: Steps of a segment in validation and test; no figure depends on it.
        window: Steps of a window in validation and test, each read without what came before.
        stride: Steps between windows, the only ones that a window scores; half the window by default.
        seed: Seed of the random lengths.

    Raises:
        ValueError: When a size is out of its range.
        UserError: When there is no text, or two.
    """

    def __init__(
        self,
        name: str | None = None,
        train_file: str | None = None,
        validation_file: str | None = None,
        test_file: str | None = None,
        data_dir: str | None = None,
        unit: Unit | None = None,
        tokenizer: str | None = None,
        vocab_size: int | None = None,
        min_count: int = 1,
        lowercase: bool = False,
        prepared_dir: str | None = None,
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
        sizes = {
            "vocab_size": vocab_size,
            "min_count": min_count,
            "batch_size": batch_size,
            "length": length,
            "evaluation_batch_size": evaluation_batch_size,
            "evaluation_length": evaluation_length,
            "window": window,
            "stride": stride,
        }
        for option, size in sizes.items():
            if size is not None and size < 1:
                raise ValueError(f"{option} must be at least 1, got {size}")
        if stride is not None and window is None:
            raise ValueError(
                f"stride goes with a window, got a stride of {stride} alone; give the window too"
            )
        if stride is not None and window is not None and stride > window:
            raise ValueError(f"stride must be at most window, got a stride of {stride}, a window of {window}")
        if name is not None and train_file is not None:
            raise UserError("both --data.name and --data.train_file name a text; leave one of them out")
        if train_file is None and (validation_file is not None or test_file is not None):
            raise UserError("validation_file and test_file go with a train_file; give --data.train_file too")
        if name is None and train_file is None and prepared_dir is None:
            known = ", ".join(language_modelling.NAMES)
            raise UserError(f"no text chosen; give --recipe, --data.train_file, or --data.name ({known})")
        self.save_hyperparameters(logger=False)
        self.options = self.hparams
        self.batch_size = batch_size
        self.length = length
        self.random_lengths = random_lengths
        self.evaluation_batch_size = evaluation_batch_size
        self.evaluation_length = evaluation_length
        self.window = window
        self.stride = stride
        self.seed = seed

    @cached_property
    def corpus(self) -> Corpus:
        """The texts."""
        options = self.options
        if options["train_file"] is not None:
            return language_modelling.from_files(
                options["train_file"], validation=options["validation_file"], test=options["test_file"]
            )
        return language_modelling.load(options["name"], data_dir=options["data_dir"])

    @property
    def unit(self) -> Unit:
        """What a token is."""
        if self.options["unit"] is not None:
            return self.options["unit"]  # type: ignore[no-any-return]
        if self.options["tokenizer"] is not None:
            return "subwords"
        if self._names_text:
            return self.corpus.unit
        unit = self.prepared.options.get("unit")
        if unit not in FIGURE:
            raise UserError(f"{self.prepared.folder} does not say what its tokens are; give --data.unit")
        return unit  # type: ignore[return-value]

    @property
    def _names_text(self) -> bool:
        return self.options["name"] is not None or self.options["train_file"] is not None

    @cached_property
    def prepared(self) -> PreparedCorpus:
        """The token files, which are made at the first call, by one process while others wait."""
        if not self._names_text:
            return open_prepared(self.options["prepared_dir"])
        given = self.options["tokenizer"]
        options: dict[str, str | int | float | bool | None]
        if given is None:
            options = {name: self.options[name] for name in ("vocab_size", "min_count", "lowercase")}
            made: Tokenizer | None = None
        else:
            made = load_tokenizer(given)
            options = {"tokenizer": tokenizer_digest(made)}
        folder = self.options["prepared_dir"]
        if folder is None:
            folder = prepared_folder(self.corpus, unit=self.unit, **options)
        with PreparationBar(self.corpus.name) as bar:
            return prepare(
                self.corpus,
                Path(folder),
                tokenizer=self._learn if made is None else made,
                options={"unit": self.unit, **options},
                progress=bar.report,
            )

    def _learn(self) -> Tokenizer:
        options = self.options
        try:
            return train_tokenizer(
                self.corpus.train,
                unit=self.unit,
                vocab_size=options["vocab_size"],
                min_count=options["min_count"],
                lowercase=options["lowercase"],
            )
        except DataError:
            raise
        except ValueError as error:
            raise UserError(f"no vocabulary can be made of {self.corpus.train.name}: {error}") from error

    @property
    def dataset(self) -> str:
        """What to call the text."""
        return self.prepared.name

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to tokens."""
        return self.prepared.tokenizer

    @property
    def vocab_size(self) -> int:
        """V."""
        return len(self.tokenizer)

    def counts(self, split: Split) -> TextCounts:
        """The length of a split in all units."""
        return self._file(split).counts

    def _file(self, split: Split) -> TokenFile:
        found: TokenFile | None = getattr(self.prepared, split)
        if found is None:
            raise UserError(f"{self.dataset} has no {split} split; give --data.{split}_file")
        return found

    def train_dataloader(self) -> StreamLoader:
        """The streams of this process."""
        return self._streams(
            self.prepared.train.tokens, "train", self.batch_size, self.length, self.random_lengths
        )

    def val_dataloader(self) -> StreamLoader | WindowLoader:
        """The validation text."""
        return self._evaluation("validation")

    def test_dataloader(self) -> StreamLoader | WindowLoader:
        """The test text."""
        return self._evaluation("test")

    @property
    def _rank(self) -> tuple[int, int]:
        """The number of this process, and how many there are."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _evaluation(self, split: Split) -> StreamLoader | WindowLoader:
        tokens = self._file(split).tokens
        rank, world_size = self._rank
        # The figure must not depend on the number of processes.
        batch_size = -(-self.evaluation_batch_size // world_size)
        if self.window is None:
            return self._streams(tokens, split, batch_size, self.evaluation_length, False)
        return WindowLoader(
            tokens,
            batch_size=batch_size,
            window=self.window,
            stride=self.stride or max(1, self.window // 2),
            rank=rank,
            world_size=world_size,
        )

    def _streams(
        self, tokens: Tensor, split: str, batch_size: int, length: int, random_lengths: bool
    ) -> StreamLoader:
        rank, world_size = self._rank
        try:
            return StreamLoader(
                tokens,
                batch_size=batch_size,
                length=length,
                random_lengths=random_lengths,
                whole=split != "train",
                seed=self.seed,
                rank=rank,
                world_size=world_size,
            )
        except DataError as error:
            raise DataError(f"the {split} split of {self.dataset}: {error}") from error

    def state_dict(self) -> dict[str, Any]:
        """The tokenizer, so that a checkpoint can be used without the text it was trained on."""
        return {"tokenizer": self._dumped, "digest": self.prepared.tokenizer_digest, "unit": self.unit}

    @cached_property
    def _dumped(self) -> str:
        return dump_tokenizer(self.tokenizer)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare a checkpoint's tokenizer with that of the token files.

        Raises:
            DataError: When they differ: the tokens would mean something else.
        """
        if state_dict["digest"] != self.prepared.tokenizer_digest:
            theirs = len(parse_tokenizer(state_dict["tokenizer"]))
            raise DataError(
                f"the vocabulary of {self.dataset} in {self.prepared.folder} ({self.vocab_size:,} "
                f"{self.unit}) does not match the checkpoint's ({theirs:,} {state_dict['unit']}); use "
                "the text and the options that the model was trained with, or give its tokenizer with "
                "--data.tokenizer"
            )
