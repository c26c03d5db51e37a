"""Dialogues as padded batches in which only the bot's words are targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_apps.ranges import check_at_least
from sru_apps.tasks.chat.tokenizer import DialogueTokenizer, EncodedDialogue
from sru_apps.train.loader import BatchLoader
from sru_apps.train.module import TaskData
from sru_apps.train.tokenizers import dump_tokenizer, parse_tokenizer
from sru_data import DataError
from sru_data.datasets.dialogues import Dialogue, read_dialogues
from sru_data.datasets.language_modelling import Unit
from sru_data.loaders import IGNORE, Segment
from sru_data.loaders.buckets import LengthBatchSampler, pad_sequences
from sru_data.tokenizers import (
    ByteTokenizer,
    CharTokenizer,
    SubwordTokenizer,
    Tokenizer,
    WordTokenizer,
    load_tokenizer,
)

_HELD_OUT = 20
"""Without a validation file, one dialogue in this many is held out."""
_SUBWORDS = 4000
"""Default size of a vocabulary of subwords."""


class Lesson(NamedTuple):
    """A dialogue to read, and the target after each step."""

    inputs: Tensor
    """(T,) int64."""
    targets: Tensor
    """(T,) int64, IGNORE where the bot does not speak."""


class ChatData(TaskData):
    """Dialogues as batches of similar lengths.

    Args:
        train_file: JSON lines with a field `bot`; `sru_data.datasets.dialogues` describes them.
        validation_file: The same for validation; default: every twentieth dialogue of `train_file`.
        unit: What a token is: bytes, characters, words or subwords.
        tokenizer: A Hugging Face `tokenizer.json` or a sentencepiece model instead of `unit`.
        vocab_size: The most words, characters or subwords to know.
        batch_size: Dialogues per batch.
        max_length: Maximum number of tokens in a dialogue; a longer one is truncated.
        seed: Seed of the order of the batches.

    Attributes:
        dialogues: What to train on, and what to validate on.
        tokenizer: Dialogues to numbers; trained on the training dialogues where none is given.

    Raises:
        ValueError: A size is less than 1.
    """

    has_test = False
    dialogues: tuple[list[Dialogue], list[Dialogue]]

    def __init__(
        self,
        train_file: str,
        validation_file: str | None = None,
        unit: Unit = "bytes",
        tokenizer: str | None = None,
        vocab_size: int | None = None,
        batch_size: int = 16,
        max_length: int = 1024,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(1, batch_size=batch_size, max_length=max_length)
        self.save_hyperparameters(logger=False)
        self.unit = unit
        self.dataset = self.group = Path(train_file).name.split(".")[0]
        self.tokenizer: DialogueTokenizer | Any = None
        self._lessons: list[list[Lesson]] = []

    def setup(self, stage: str) -> None:
        """Read the dialogues and turn them into numbers.

        Raises:
            DataError: A file is missing or wrongly formed, holds too few dialogues to hold one out, or has no
                answer within `max_length`.
        """
        if self._lessons:
            return
        files = [self.hparams["train_file"], self.hparams["validation_file"] or self.hparams["train_file"]]
        self.dialogues = self._read()
        if self.tokenizer is None:
            given = self.hparams["tokenizer"]
            self.tokenizer = DialogueTokenizer(
                self._train_tokenizer() if given is None else load_tokenizer(given)
            )
        self._lessons = [self._encode(*pair) for pair in zip(self.dialogues, files, strict=True)]

    def _read(self) -> tuple[list[Dialogue], list[Dialogue]]:
        file, other = self.hparams["train_file"], self.hparams["validation_file"]
        train = read_dialogues(file)
        if other is not None:
            return train, read_dialogues(other)
        if len(train) < 2:
            raise DataError.at(
                file,
                None,
                "expected at least two dialogues, one of them for validation, got one; "
                "add some, or give a file of others with --data.validation_file",
            )
        every = min(_HELD_OUT, len(train))
        kept = [dialogue for number, dialogue in enumerate(train, 1) if number % every]
        return kept, train[every - 1 :: every]

    def _train_tokenizer(self) -> Tokenizer:
        turns = [turn for dialogue in self.dialogues[0] for turn in dialogue]
        texts = [text for turn in turns for text in turn if text]
        size = self.hparams["vocab_size"]
        if self.unit == "bytes":
            return ByteTokenizer()
        if self.unit == "characters":
            return CharTokenizer.train(texts, max_size=size)
        if self.unit == "words":
            return WordTokenizer.train(texts, max_size=size, lowercase=False, line_ends=True)
        return SubwordTokenizer.train(texts, vocab_size=size or _SUBWORDS, lossless=True)

    def _encode(self, dialogues: list[Dialogue], file: str) -> list[Lesson]:
        longest = self.hparams["max_length"]
        lessons = [lesson(self.tokenizer.encode_dialogue(dialogue), longest) for dialogue in dialogues]
        kept = [item for item in lessons if bool((item.targets != IGNORE).any())]
        if not kept:
            raise DataError.at(
                file,
                None,
                f"expected an answer within the first {longest} tokens of some dialogue, got none; "
                "raise --data.max_length",
            )
        return kept

    def opening(self) -> str:
        """Count the dialogues."""
        train, validation = (len(part) for part in self.dialogues)
        return f"{train:,} dialogues for training, {validation:,} for validation"

    def train_dataloader(self) -> BatchLoader[Lesson, Segment]:
        """Shuffled batches of similar lengths; the order is a function of the seed and the epoch."""
        return self._loader(self._lessons[0], shuffle=True, rank=self.rank)

    def val_dataloader(self) -> BatchLoader[Lesson, Segment]:
        """The dialogues held out; every process evaluates them all."""
        return self._loader(self._lessons[1], shuffle=False, rank=(0, 1))

    def _loader(
        self, lessons: list[Lesson], *, shuffle: bool, rank: tuple[int, int]
    ) -> BatchLoader[Lesson, Segment]:
        lengths = [len(item.inputs) for item in lessons]
        options = self.hparams
        sampler = LengthBatchSampler(
            lengths, batch_size=options["batch_size"], shuffle=shuffle, seed=options["seed"]
        )
        return BatchLoader(lessons, sampler, collate, rank=rank)

    def state_dict(self) -> dict[str, Any]:
        """Return the tokenizer, so that a checkpoint can be used without the data it was trained on."""
        return {"tokenizer": dump_tokenizer(self.tokenizer.text)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a checkpoint's tokenizer.

        Raises:
            DataError: The data gave another one: the numbers would mean other tokens.
        """
        if self.tokenizer is not None and dump_tokenizer(self.tokenizer.text) != state_dict["tokenizer"]:
            raise DataError(
                f"the tokens of {self.hparams['train_file']} differ from those this checkpoint was trained with; "
                "continue with the same dialogues and the same unit"
            )
        self.tokenizer = DialogueTokenizer(parse_tokenizer(state_dict["tokenizer"]))


def lesson(dialogue: EncodedDialogue, max_length: int) -> Lesson:
    """Turn a dialogue into inputs and targets.

    Args:
        dialogue: The numbers.
        max_length: Maximum number of steps.
    """
    ids = torch.tensor(dialogue.ids[: max_length + 1])
    answers = torch.tensor(dialogue.answers[: max_length + 1])
    return Lesson(ids[:-1], ids[1:].masked_fill(~answers[1:], IGNORE))


def collate(items: Sequence[Lesson]) -> Segment:
    """Pad dialogues into a batch, with no targets at the padding."""
    inputs = pad_sequences([item.inputs for item in items], batch_first=False)
    targets = pad_sequences([item.targets for item in items], pad_id=IGNORE, batch_first=False)
    return Segment(inputs.ids, targets.ids)
