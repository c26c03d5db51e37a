"""Decoding the outputs of a model to text."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sru_apps.decoding.arpa import NGramModel
from sru_apps.decoding.ctc import Decoder, Greedy, PrefixBeam, TokenText, WordScorer
from sru_apps.tasks.speech.model import SpeechConfig, lengths_of
from sru_apps.train.errors import UserError
from sru_data.tokenizers import Tokenizer

_SPACE_MARK = "\u2581"
"""The character that begins a subword at the beginning of a word."""


class Decoding:
    """How the outputs of a model are decoded to text.

    Args:
        config: The model; `beam`, `lm_weight`, `word_bonus` and `lm_unknown` are used.
        tokenizer: Its alphabet.
        unit: What a symbol is: characters, words, phones or subwords.
        language_model: A model of the words, or of the phones.

    Raises:
        UserError: There is a language model but no beam.
    """

    def __init__(
        self,
        config: SpeechConfig,
        tokenizer: Tokenizer,
        unit: str,
        language_model: NGramModel | None = None,
    ) -> None:
        if language_model is not None and config.beam == 1:
            raise UserError("a language model needs several hypotheses to choose from; give --beam 16 too")
        self.tokenizer, self._beam, self._scorer = tokenizer, config.beam, None
        if language_model is not None:
            texts = token_texts(tokenizer, unit)
            self._scorer = WordScorer(
                language_model,
                texts,
                weight=config.lm_weight,
                bonus=config.word_bonus,
                unknown=config.lm_unknown,
            )

    def decoder(self) -> Decoder:
        """Return a decoder for one utterance."""
        return Greedy() if self._beam == 1 else PrefixBeam(self._beam, scorer=self._scorer)

    def texts(self, logits: Tensor, mask: Tensor | None) -> list[str]:
        """Decode whole utterances.

        Args:
            logits: (T, B, V).
            mask: (T, B) bool, True at padding; None without padding.

        Returns:
            B transcripts.
        """
        log_probs = logits.float().log_softmax(-1).cpu()
        lengths = lengths_of(logits, mask).tolist()
        found = []
        for outputs, length in zip(log_probs.unbind(1), lengths, strict=True):
            decoder = self.decoder()
            tokens = [*decoder.feed(outputs[:length]), *decoder.finish()]
            found.append(self.tokenizer.decode(tokens))
        return found


def token_texts(tokenizer: Tokenizer, unit: str) -> Sequence[TokenText]:
    """Return how each symbol of an alphabet contributes to words.

    Args:
        tokenizer: The alphabet.
        unit: What a symbol is.
    """
    if unit == "characters":
        return [TokenText(token.strip(), begins=token.isspace()) for token in tokenizer.tokens]
    if unit == "subwords":
        return [
            TokenText(token.removeprefix(_SPACE_MARK), begins=token.startswith(_SPACE_MARK))
            for token in tokenizer.tokens
        ]
    return [TokenText(token, begins=True, ends=True) for token in tokenizer.tokens]
