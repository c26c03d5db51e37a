"""Trained language models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sru_apps.decoding.completion import complete, encode_prompt
from sru_apps.decoding.sampling import Sampling
from sru_apps.inference.trained import Trained
from sru_apps.tasks.lm.model import LanguageModel, LanguageModelConfig
from sru_apps.tasks.lm.scoring import Score, score_groups


class TrainedLanguageModel(Trained):
    """A trained language model, ready to use.

    Continue one text, and score another:

        model = sru_apps.load("runs/lm/quick/first")
        print("The king" + model.generate("The king", seed=1))
        print(model.score(["A line of text."])[0].perplexity)

    Attributes:
        separator: The id of the token that ends a document, as in training; None if a text is one document.
    """

    config_class = LanguageModelConfig
    network_class = LanguageModel

    def __init__(self, network: Any, tokenizer: Any, entries: Mapping[str, Any] | None = None) -> None:
        super().__init__(network, tokenizer, entries)
        self.separator: int | None = (entries or {}).get("separator")

    @classmethod
    def check(cls, config: LanguageModelConfig, entries: Mapping[str, Any]) -> None:
        """Refuse a separator that is not a token id.

        Raises:
            ValueError: The separator is not a token id.
        """
        separator = entries.get("separator")
        if separator is not None and (type(separator) is not int or not 0 <= separator < config.vocab_size):
            raise ValueError(f"separator must be the number of a symbol, below {config.vocab_size:,}")

    def generate(
        self,
        prompt: str = "",
        *,
        max_tokens: int = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> str:
        """Continue a text, as `sru lm generate` does.

        Args:
            prompt: The text; an empty one starts a new line.
            max_tokens: Tokens to add.
            temperature: As in `Sampling`; 0 takes the most likely token.
            top_k: As in `Sampling`.
            top_p: As in `Sampling`.
            repetition_penalty: As in `Sampling`.
            seed: Seed of the sampling.
            stop: The text ends before the first of these strings.

        Returns:
            The added text, without the prompt.

        Raises:
            ValueError: A number is out of range.
            UserError: The prompt is empty and the vocabulary has no line end.
        """
        return "".join(
            self.stream(
                prompt,
                max_tokens=max_tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                repetition_penalty=repetition_penalty,
                seed=seed,
                stop=stop,
            )
        )

    def stream(
        self,
        prompt: str = "",
        *,
        max_tokens: int = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> Iterator[str]:
        """Continue a text as `generate` does, yielding it piece by piece."""
        if max_tokens < 0:
            raise ValueError(f"max_tokens must be at least 0, got {max_tokens}")
        sampling = Sampling(
            temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=repetition_penalty
        )
        ids = encode_prompt(self.tokenizer, prompt)
        pieces = complete(
            self.network,
            self.tokenizer,
            [ids],
            sampling=sampling,
            seeds=[seed],
            max_tokens=max_tokens,
            stop=stop,
        )
        return (piece.text for piece in pieces)

    def score(self, texts: Iterable[str], *, independent: bool = True) -> list[Score]:
        """Score texts, as `sru lm score` does the lines of a file.

        The state is reset after the token that ended a document in training.

        Args:
            texts: The texts. A line feed at the end of a text is also scored if the vocabulary has line ends.
            independent: Score each text by itself; otherwise the state is carried from one to the next.

        Returns:
            One score per text, in order: tokens, negative log-likelihood, perplexity.

        Raises:
            ValueError: A single text is passed instead of a list.
        """
        if isinstance(texts, str):
            raise ValueError(f"score: texts must be a list of texts, got one text: [{texts[:40]!r}]")
        return list(score_groups(self, [list(texts)], independent=independent, separator=self.separator))
