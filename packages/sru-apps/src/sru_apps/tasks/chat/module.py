"""The training of a chat model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sru_apps.tasks.chat.data import ChatData
from sru_apps.tasks.lm.module import LanguageModelModule
from sru_apps.train.optimizers import OptimizerConfig


class ChatModule(LanguageModelModule):
    """A language model of dialogues, trained on the bot's words only.

        loss = (1/N) · Σ −log p(target)    over the N tokens that the bot says in a batch

    Each dialogue is read from its beginning; no state is carried between dialogues. The figure is perplexity
    for every kind of token.
    """

    @classmethod
    def build(cls, data: ChatData, options: Mapping[str, Any], optimizer: OptimizerConfig) -> ChatModule:  # type: ignore[override]
        """Build the module for dialogues."""
        return cls({"vocab_size": len(data.tokenizer), **options}, optimizer, unit="subwords")
