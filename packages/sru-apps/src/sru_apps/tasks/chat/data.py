"""Dialogues as padded batches in which only the bot's words are targets."""

from __future__ import annotations

from collections.abc import Sequence

from sru_apps.ranges import check_at_least
from sru_apps.tasks.chat.tokenizer import DialogueTokenizer, Lesson
from sru_apps.train.data import BatchData
from sru_apps.train.export import parse_tokenizer
from sru_apps.train.own_files import Files, check_files, first_of_files, name_of_files
from sru_data import DataError
from sru_data.datasets.dialogues import Dialogue, read_dialogues
from sru_data.datasets.language_modelling import Unit
from sru_data.loaders import IGNORE, Segment
from sru_data.loaders.buckets import pad_sequences
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
"""Default size of a subword vocabulary."""


class ChatData(BatchData[Lesson, Segment]):
    """Dialogues as batches of similar lengths.

    Args:
        train_file: Dialogues as JSON lines or a JSON array, plain or compressed, in the format of OpenAI
            (`messages`), ShareGPT (`conversations`), Alpaca (`instruction`) or with a field `bot`; one path,
            a list, or a pattern such as 'talks/*.jsonl.gz'.
        validation_file: The same for validation; default: every twentieth dialogue of `train_file`.
        unit: What a token is: bytes, characters, words or subwords.
        tokenizer: A Hugging Face `tokenizer.json` or a sentencepiece model instead of `unit`.
        vocab_size: Maximum size of the vocabulary.
        batch_size: Dialogues per batch.
        evaluation_batch_size: Dialogues per batch in validation; default: `batch_size`.
        max_length: Maximum number of tokens in a dialogue; a longer one is truncated.
        seed: Seed of the order of the batches.

    Attributes:
        dialogues: The dialogues to train on, and those to validate on.
        tokenizer: The tokenizer of dialogues; trained on the training dialogues if none is given.

    Raises:
        ValueError: A size is less than 1.
        UserError: There is no file.
    """

    has_test = False

    def __init__(
        self,
        train_file: Files,
        validation_file: Files | None = None,
        unit: Unit = "bytes",
        tokenizer: str | None = None,
        vocab_size: int | None = None,
        batch_size: int = 16,
        evaluation_batch_size: int | None = None,
        max_length: int = 1024,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(
            1,
            batch_size=batch_size,
            evaluation_batch_size=evaluation_batch_size,
            max_length=max_length,
        )
        self.save_hyperparameters(logger=False)
        self.unit = unit
        check_files(self.hparams)
        self.dataset = self.group = name_of_files(train_file)

    def setup(self, stage: str) -> None:
        """Read the dialogues and turn them into token ids.

        Raises:
            DataError: A file is missing or malformed, contains too few dialogues to hold one out, or has no
                answer within `max_length`.
        """
        if self.parts:
            return
        file, other, given = (self.hparams[name] for name in ("train_file", "validation_file", "tokenizer"))
        train = read_dialogues(file)
        if other is not None:
            self.dialogues = train, read_dialogues(other)
        elif len(train) > 1:
            every = min(_HELD_OUT, len(train))
            kept = [dialogue for number, dialogue in enumerate(train, 1) if number % every]
            self.dialogues = kept, train[every - 1 :: every]
        else:
            raise DataError.at(
                first_of_files(file),
                None,
                "expected at least two dialogues, one of them for validation, got one; "
                "add some, or give separate ones with --data.validation_file",
            )
        if self.tokenizer is None:
            self.tokenizer = DialogueTokenizer(load_tokenizer(given) if given else self._train_tokenizer())
        self.parts["train"] = self._encode(self.dialogues[0], file)
        self.parts["validation"] = self._encode(self.dialogues[1], other or file)

    def _train_tokenizer(self) -> Tokenizer:
        texts = [text for dialogue in self.dialogues[0] for turn in dialogue for text in turn if text]
        size = self.hparams["vocab_size"]
        if self.unit == "bytes":
            return ByteTokenizer()
        if self.unit == "characters":
            return CharTokenizer.train(texts, max_size=size)
        if self.unit == "words":
            return WordTokenizer.train(texts, max_size=size, lowercase=False, line_ends=True)
        return SubwordTokenizer.train(texts, vocab_size=size or _SUBWORDS, lossless=True)

    def _encode(self, dialogues: list[Dialogue], files: Files) -> list[Lesson]:
        longest = self.hparams["max_length"]
        whole = map(self.tokenizer.encode_dialogue, dialogues)
        lessons = [Lesson(lesson.inputs[:longest], lesson.targets[:longest]) for lesson in whole]
        kept = [lesson for lesson in lessons if bool((lesson.targets != IGNORE).any())]
        if not kept:
            raise DataError.at(
                first_of_files(files),
                None,
                f"expected an answer within the first {longest} tokens of some dialogue, got none; "
                "raise --data.max_length",
            )
        return kept

    def opening(self) -> str:
        """Count the dialogues."""
        train, validation = (len(part) for part in self.dialogues)
        return f"{train:,} dialogues for training, {validation:,} for validation"

    def length(self, item: Lesson) -> int:
        """The number of steps."""
        return len(item.inputs)

    @staticmethod
    def collate(items: Sequence[Lesson]) -> Segment:
        """Pad dialogues into a batch, with no targets at the padding."""
        inputs = pad_sequences([item.inputs for item in items], batch_first=False)
        targets = pad_sequences([item.targets for item in items], pad_id=IGNORE, batch_first=False)
        return Segment(inputs.ids, targets.ids)

    def parse_tokenizer(self, content: str) -> DialogueTokenizer:
        """Add the dialogue markers to a checkpoint's tokenizer."""
        return DialogueTokenizer(parse_tokenizer(content))
