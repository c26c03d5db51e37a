"""The training of a model that answers."""

from __future__ import annotations

from sru_apps.chat.load import TASK
from sru_apps.language_modelling.module import LanguageModelModule


class ChatModule(LanguageModelModule):
    """A language model of dialogues, which learns the bot's words only.

        loss = (1/N) · Σ −log p(target)    over the N tokens of a batch that the bot says

    Each dialogue is read from its beginning; no state is carried from one to another.

    Args:
        config: The model, or what `dataclasses.asdict` makes of it.
        optimizer: The optimizer and its schedule, or the same.
        unit: What a token is.
    """

    task = TASK
