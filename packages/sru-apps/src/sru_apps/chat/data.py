"""Dialogues for Lightning, as padded batches in which only the bot's words are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from sru_apps.chat.tokenizer import DialogueTokenizer, EncodedDialogue
from sru_apps.language_modelling.tokenizer_state import dump_tokenizer, parse_tokenizer
from sru_apps.training.errors import UserError
from sru_apps.training.loader import BatchLoader
from sru_data import DataError
from sru_data.batching import LengthBatchSampler, pad_sequences
from sru_data.chat import Dialogue, read_dialogues
from sru_data.language_modelling import Unit
from sru_data.streams import IGNORE, Segment
from sru_data.tokenizers import (
    ByteTokenizer,
    CharTokenizer,
    SubwordTokenizer,
    Tokenizer,
    WordTokenizer,
    load_tokenizer,
)

_HELD_OUT = 20
"""Without a validation file, one dialogue of so many is held out."""
_SUBWORDS = 4000
"""The size of a vocabulary of subwords, if none is given."""


class Lesson(NamedTuple):
    """A dialogue to read, and what to say after each step of it."""

    inputs: Tensor
    """(T,) int64."""
    targets: Tensor
    """(T,) int64, IGNORE where the bot does not speak."""


class ChatData(LightningDataModule):
    """Dialogues as batches of similar lengths.

    Args:
        train_file: JSON lines with a field `bot`; `sru_data.chat` describes them.
        validation_file: The same for validation; by default every twentieth dialogue of `train_file`.
        unit: What a token is: bytes, characters, words or subwords.
        tokenizer: A Hugging Face `tokenizer.json` or a sentencepiece model instead of `unit`.
        vocab_size: The most tokens that words, characters or subwords may have.
        batch_size: Dialogues a batch.
        max_length: Tokens of a dialogue; what follows them in a longer one is left out.
        seed: Seed of the order of the batches.

    Raises:
        ValueError: When a size is less than 1.
    """

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
        for option, size in (("batch_size", batch_size), ("max_length", max_length)):
            if size < 1:
                raise ValueError(f"{option} must be at least 1, got {size}")
        self.save_hyperparameters(logger=False)
        self.train_file = train_file
        self.validation_file = validation_file
        self.unit = unit
        self._tokenizer_file = tokenizer
        self.batch_size = batch_size
        self.max_length = max_length
        self.seed = seed
        self._vocab_size = vocab_size

    @cached_property
    def dialogues(self) -> tuple[list[Dialogue], list[Dialogue]]:
        """What to learn from and what to validate with.

        Raises:
            DataError: When a file is not as it should be, or holds too few dialogues to hold one out.
        """
        train = read_dialogues(self.train_file)
        if self.validation_file is not None:
            return train, read_dialogues(self.validation_file)
        if len(train) < 2:
            raise DataError.at(
                self.train_file,
                None,
                "expected at least two dialogues, one of them for validation, got one; "
                "add some, or name a file of others with --data.validation_file",
            )
        every = min(_HELD_OUT, len(train))
        kept = [dialogue for number, dialogue in enumerate(train, 1) if number % every]
        return kept, train[every - 1 :: every]

    @cached_property
    def tokenizer(self) -> DialogueTokenizer:
        """Dialogues to numbers; learnt from the training dialogues where it must be learnt."""
        if self._tokenizer_file is not None:
            return DialogueTokenizer(load_tokenizer(self._tokenizer_file))
        return DialogueTokenizer(self._learnt_tokenizer())

    def _learnt_tokenizer(self) -> Tokenizer:
        turns = [turn for dialogue in self.dialogues[0] for turn in dialogue]
        texts = [text for turn in turns for text in turn if text]
        if self.unit == "bytes":
            return ByteTokenizer()
        if self.unit == "characters":
            return CharTokenizer.train(texts, max_size=self._vocab_size)
        if self.unit == "words":
            return WordTokenizer.train(texts, max_size=self._vocab_size, lowercase=False, line_ends=True)
        return SubwordTokenizer.train(texts, vocab_size=self._vocab_size or _SUBWORDS, lossless=True)

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding."""
        return len(self.tokenizer)

    def train_dataloader(self) -> BatchLoader[Lesson, Segment]:
        """Shuffled batches of similar lengths; the order is a function of the seed and the epoch."""
        return self._loader(self._train_lessons, shuffle=True)

    def val_dataloader(self) -> BatchLoader[Lesson, Segment]:
        """The dialogues held out."""
        return self._loader(self._validation_lessons, shuffle=False)

    @cached_property
    def _train_lessons(self) -> list[Lesson]:
        return self._lessons(self.dialogues[0], self.train_file)

    @cached_property
    def _validation_lessons(self) -> list[Lesson]:
        return self._lessons(self.dialogues[1], self.validation_file or self.train_file)

    def _lessons(self, dialogues: list[Dialogue], file: str) -> list[Lesson]:
        lessons = [
            lesson(self.tokenizer.encode_dialogue(dialogue), self.max_length) for dialogue in dialogues
        ]
        kept = [item for item in lessons if bool((item.targets != IGNORE).any())]
        if not kept:
            raise DataError.at(
                file,
                None,
                f"expected an answer within the first {self.max_length} tokens of some dialogue, got none; "
                "raise --data.max_length",
            )
        return kept

    def _loader(self, lessons: list[Lesson], *, shuffle: bool) -> BatchLoader[Lesson, Segment]:
        if self.trainer is not None and self.trainer.world_size > 1:
            raise UserError(
                f"sru chat fit: expected one process, got {self.trainer.world_size}; "
                "leave out --trainer.devices and torchrun"
            )
        lengths = [len(item.inputs) for item in lessons]
        sampler = LengthBatchSampler(lengths, batch_size=self.batch_size, shuffle=shuffle, seed=self.seed)
        return BatchLoader(lessons, sampler, collate)

    def state_dict(self) -> dict[str, Any]:
        """The tokenizer, so that a checkpoint can be used without the data it was trained on."""
        return {"tokenizer": dump_tokenizer(self.tokenizer.text)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a checkpoint's tokenizer.

        Raises:
            DataError: When the data at hand gave another one: the numbers would mean other tokens.
        """
        if "tokenizer" in self.__dict__ and dump_tokenizer(self.tokenizer.text) != state_dict["tokenizer"]:
            raise DataError(
                f"the tokens of {self.train_file} differ from those this checkpoint was trained with; "
                "continue with the same dialogues and the same unit"
            )
        self.__dict__["tokenizer"] = DialogueTokenizer(parse_tokenizer(state_dict["tokenizer"]))


def lesson(dialogue: EncodedDialogue, max_length: int) -> Lesson:
    """Turn a dialogue into what to read and what to say.

    Args:
        dialogue: The numbers.
        max_length: The most steps to read.
    """
    ids = torch.tensor(dialogue.ids[: max_length + 1])
    answers = torch.tensor(dialogue.answers[: max_length + 1])
    return Lesson(ids[:-1], ids[1:].masked_fill(~answers[1:], IGNORE))


def collate(items: Sequence[Lesson]) -> Segment:
    """Pad dialogues into a batch; nothing is learnt at the padding."""
    inputs = pad_sequences([item.inputs for item in items], batch_first=False)
    targets = pad_sequences([item.targets for item in items], pad_id=IGNORE, batch_first=False)
    return Segment(inputs.ids, targets.ids)
