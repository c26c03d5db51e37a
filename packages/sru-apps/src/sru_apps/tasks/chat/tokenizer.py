"""Dialogues as token ids."""

from __future__ import annotations

import torch

from sru_data.datasets.dialogues import Dialogue
from sru_data.loaders import IGNORE, Segment
from sru_data.tokenizers import Tokenizer
from sru_data.tokenizers.sentences import MarkedTokenizer

MARKERS = ("<user>", "<bot>", "<end>")
"""Symbols of a dialogue besides its text: the user begins, the bot begins, the bot has ended."""


Lesson = Segment
"""The ids of a dialogue, (T,) int64, and the target of each step, IGNORE where the bot does not speak."""


class DialogueTokenizer(MarkedTokenizer):
    """A tokenizer for text, with three more ids that no text can produce.

        <user> what the user says <bot> what the bot says <end> <user> ...

    If the bot speaks first, the user's part is left out.

    Args:
        text: The tokenizer of the text.
    """

    def __init__(self, text: Tokenizer) -> None:
        super().__init__(text, MARKERS)
        self.user_id, self.bot_id, self.end_id = range(len(text), len(self))

    def encode_question(self, said: str | None) -> list[int]:
        """Return the ids that the model reads before it answers.

        Args:
            said: What the user says; None or an empty text makes the bot speak first.
        """
        question = [] if not said else [self.user_id, *self.text.encode(said)]
        return [*question, self.bot_id]

    def encode_dialogue(self, dialogue: Dialogue) -> Lesson:
        """Return the inputs and targets of a dialogue; the targets are the bot's words and their ends."""
        ids: list[int] = []
        targets: list[int] = []
        for turn in dialogue:
            question, answer = self.encode_question(turn.user), [*self.text.encode(turn.bot), self.end_id]
            ids += [*question, *answer]
            targets += [*[IGNORE] * len(question), *answer]
        return Lesson(torch.tensor(ids[:-1]), torch.tensor(targets[1:]))
