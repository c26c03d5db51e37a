"""Dialogues as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sru_data.datasets.dialogues import Dialogue
from sru_data.tokenizers import Tokenizer

MARKERS = ("<user>", "<bot>", "<end>")
"""Symbols of a dialogue besides its text: the user begins, the bot begins, the bot has ended."""


class EncodedDialogue(NamedTuple):
    """A dialogue as one sequence."""

    ids: list[int]
    """The numbers."""
    answers: list[bool]
    """For each number whether the bot says it, including the end marker."""


class DialogueTokenizer:
    """A tokenizer for text, with three more numbers that no text can contain.

        <user> what the user says <bot> what the bot says <end> <user> ...

    Where the bot speaks first, the part of the user is left out.

    Args:
        text: The tokenizer of the text.
    """

    def __init__(self, text: Tokenizer) -> None:
        self.text = text
        self.user_id, self.bot_id, self.end_id = range(len(text), len(text) + len(MARKERS))

    @property
    def pad_id(self) -> int:
        """The number of padding."""
        return self.text.pad_id

    @property
    def unk_id(self) -> int:
        """The number of everything that is not in the vocabulary."""
        return self.text.unk_id

    @property
    def tokens(self) -> list[str]:
        """The vocabulary in the order of its numbers."""
        return [*self.text.tokens, *MARKERS]

    def __len__(self) -> int:
        """Return the size of the vocabulary, with the markers."""
        return len(self.text) + len(MARKERS)

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text, none of them a marker."""
        return self.text.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of numbers, leaving out padding and markers."""
        return self.text.decode([index for index in ids if index < len(self.text)])

    def save(self, path: str | Path) -> None:
        """Write the tokenizer of the text; the markers are the same for all."""
        self.text.save(path)

    def encode_question(self, said: str | None) -> list[int]:
        """Return what the model reads before it answers.

        Args:
            said: What the user says; None or nothing makes the bot speak first.
        """
        question = [] if not said else [self.user_id, *self.text.encode(said)]
        return [*question, self.bot_id]

    def encode_dialogue(self, dialogue: Dialogue) -> EncodedDialogue:
        """Return the numbers of a whole dialogue, and which of them the bot says."""
        ids: list[int] = []
        answers: list[bool] = []
        for turn in dialogue:
            question, answer = self.encode_question(turn.user), [*self.text.encode(turn.bot), self.end_id]
            ids += [*question, *answer]
            answers += [False] * len(question) + [True] * len(answer)
        return EncodedDialogue(ids, answers)
