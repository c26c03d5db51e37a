"""Trained chat models, and conversations with them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from sru_apps.decoding.continuation import Continuation
from sru_apps.decoding.sampling import Sampling
from sru_apps.inference.trained import Trained
from sru_apps.nn import State
from sru_apps.seeds import place_seed
from sru_apps.tasks.chat.tokenizer import DialogueTokenizer
from sru_apps.tasks.lm.model import LanguageModel, LanguageModelConfig
from sru_data.tokenizers import Tokenizer
from sru_data.tokenizers.streaming import StreamingDecoder


class Conversation:
    """A conversation, whose state is kept from one message to the next.

    Args:
        model: The trained model.
        sampling: How tokens are chosen; default: the most likely one at each step.
        max_tokens: Maximum number of tokens in an answer.
        seed: Seed of the sampling.

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
            The text of the answer, in pieces as they become final.
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


class TrainedChatModel(Trained):
    """A trained chat model, and one conversation with it.

        bot = sru_apps.load("runs/chat/small/first")
        print(bot.reply("Hello!"))
        print(bot.reply("And you?"))

    Its tokenizer is a `DialogueTokenizer`. For several conversations at a time, or to stream an answer,
    create a `Conversation` with the model for each.
    """

    config_class = LanguageModelConfig
    network_class = LanguageModel
    _talk: Conversation | None = None

    @classmethod
    def wrap(cls, tokenizer: Tokenizer) -> DialogueTokenizer:
        """Add the markers of a dialogue."""
        return tokenizer if isinstance(tokenizer, DialogueTokenizer) else DialogueTokenizer(tokenizer)

    def start(
        self,
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        seed: int = 0,
    ) -> None:
        """Begin a new conversation; the first one needs no call.

        Args:
            max_tokens: Maximum number of tokens in an answer.
            temperature: As in `Sampling`; 0 takes the most likely token.
            top_k: As in `Sampling`.
            top_p: As in `Sampling`.
            repetition_penalty: As in `Sampling`.
            seed: Seed of the sampling.

        Raises:
            ValueError: A number is out of range.
        """
        sampling = Sampling(
            temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=repetition_penalty
        )
        self._talk = Conversation(self, sampling=sampling, max_tokens=max_tokens, seed=seed)

    def reply(self, message: str | None) -> str:
        """Answer a message of the current conversation, as `sru chat reply` does.

        Args:
            message: What the user says; None, or only spaces, lets the bot speak first.
        """
        if self._talk is None:
            self.start()
        assert self._talk is not None
        return "".join(self._talk.reply(message if message and message.strip() else None))
