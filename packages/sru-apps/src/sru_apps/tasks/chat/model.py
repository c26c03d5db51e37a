"""Models that answer: their training, files, and conversations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from sru_apps.decoding.continuation import Continuation
from sru_apps.decoding.sampling import Sampling
from sru_apps.nn import State
from sru_apps.tasks import chat
from sru_apps.tasks.chat.data import MARKERS, ChatData, DialogueTokenizer
from sru_apps.tasks.lm.model import LanguageModel
from sru_apps.tasks.lm.module import LanguageModelModule
from sru_apps.train.checkpoints import place_seed
from sru_apps.train.evaluate import Trained, load_trained
from sru_apps.train.export import export_model
from sru_apps.train.optimizers import OptimizerConfig
from sru_data.tokenizers.streaming import StreamingDecoder

TASK = chat.TASK.name
"""The task of the models, as `sru` calls it."""


TrainedChatModel = Trained
"""A language model whose tokenizer is a `DialogueTokenizer`."""


def export_chat_model(folder: Path, network: LanguageModel, tokenizer: DialogueTokenizer) -> None:
    """Write a model that `load_chat_model` reads.

    Args:
        folder: The folder; made when missing.
        network: The model.
        tokenizer: Its tokenizer.
    """
    export_model(folder, network, {"task": TASK, "model": asdict(network.config)}, tokenizer)


def load_chat_model(path: Path) -> TrainedChatModel:
    """Read a model that answers.

    Args:
        path: A run folder, the `model` folder in it, or a checkpoint.

    Returns:
        The model on the CPU.

    Raises:
        UserError: There is none, or it is damaged or of another task.
        DataError: The tokenizer is damaged.
    """
    trained = load_trained(chat.TASK, path, extra_symbols=len(MARKERS))
    return trained._replace(tokenizer=DialogueTokenizer(trained.tokenizer))


class ChatModule(LanguageModelModule):
    """A language model of dialogues, trained on the bot's words only.

        loss = (1/N) · Σ −log p(target)    over the N tokens of a batch that the bot says

    Each dialogue is read from its beginning; no state is carried from one to another. The figure is the
    perplexity, whatever a token is.
    """

    @classmethod
    def build(cls, data: ChatData, options: Mapping[str, Any], optimizer: OptimizerConfig) -> ChatModule:  # type: ignore[override]
        """Build the module for dialogues."""
        return cls({"vocab_size": len(data.tokenizer), **options}, optimizer, unit="subwords")


class Conversation:
    """A conversation, whose state is kept from one message to the next.

    Args:
        model: The trained model.
        sampling: How tokens are chosen; default: the most likely one at each step.
        max_tokens: The most tokens of an answer.
        seed: Seed of the draws.

    Raises:
        ValueError: `max_tokens` is less than 1.
    """

    def __init__(
        self,
        model: TrainedChatModel,
        *,
        sampling: Sampling | None = None,
        max_tokens: int = 256,
        seed: int = 0,
    ) -> None:
        if max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {max_tokens}")
        self._network, self._tokenizer = model.network, model.tokenizer
        self._max_tokens, self._seed = max_tokens, seed
        text = model.tokenizer
        self._sampling = (sampling or Sampling(temperature=0.0)).without(
            text.pad_id, text.unk_id, text.user_id, text.bot_id
        )
        self._turns = 0
        self._state: State | None = None
        # The end of the last answer is read together with the next message.
        self._unread: list[int] = []

    def reply(self, message: str | None) -> Iterator[str]:
        """Answer.

        Args:
            message: What the user says; None lets the bot speak first.

        Yields:
            The text of the answer, in pieces as they become certain.
        """
        end = self._tokenizer.end_id
        question = [*self._unread, *self._tokenizer.encode_question(message)]
        answer = Continuation(
            self._network,
            [question],
            sampling=self._sampling,
            seeds=place_seed(self._seed, self._turns),
            state=self._state,
        )
        self._turns += 1
        decoder = StreamingDecoder(self._tokenizer.text)
        for (token,) in islice(answer, self._max_tokens):
            self._state = answer.state
            self._unread = [end] if token == end else [token, end]
            if token == end:
                break
            if piece := decoder.feed(token):
                yield piece
        if piece := decoder.finish():
            yield piece
