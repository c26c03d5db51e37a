"""Text from ids that come one at a time."""

from __future__ import annotations

import codecs

from sru_data.tokenizers.bytes import ByteTokenizer
from sru_data.tokenizers.protocol import PAD_ID, Tokenizer

_REPLACEMENT = "\ufffd"
_MAX_UNCERTAIN = 3


class StreamingDecoder:
    """Gives the text of ids as soon as it is certain, for any tokenizer.

    What `feed` and, at the end, `finish` return is together what `decode` returns for all ids at once. Held
    back is only what the next id may change: the bytes of a character that is not complete.

    Args:
        tokenizer: The tokenizer of the ids.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._recent: list[int] = []
        self._num_settled = 0
        self._num_given = 0

    def feed(self, token: int) -> str:
        """Take the next id and return the text that is certain now and was not before, often one token's.

        Args:
            token: An id of the tokenizer; padding has no text.
        """
        if token == PAD_ID:
            return ""
        if isinstance(self._tokenizer, ByteTokenizer):
            return self._utf8.decode(self._tokenizer.decode_bytes([token]))
        self._recent.append(token)
        text = self._tokenizer.decode(self._recent)
        # Of an incomplete character at most three bytes are there, each of which may show as one mark.
        uncertain = min(len(text) - len(text.rstrip(_REPLACEMENT)), _MAX_UNCERTAIN)
        certain = text[self._num_given : len(text) - uncertain]
        self._num_given += len(certain)
        if not uncertain:
            self._forget()
        return certain

    def finish(self) -> str:
        """Return what was held back; the decoder is then as new."""
        if isinstance(self._tokenizer, ByteTokenizer):
            rest = self._utf8.decode(b"", final=True)
            self._utf8.reset()
            return rest
        rest = self._tokenizer.decode(self._recent)[self._num_given :] if self._recent else ""
        self._recent, self._num_settled, self._num_given = [], 0, 0
        return rest

    def _forget(self) -> None:
        """Keep what the next tokens are decoded after: at least one token that has text.

        Between a token and the one before it there may be a space, so that a token cannot be decoded alone.
        """
        newest = self._recent[self._num_settled :]
        text = self._tokenizer.decode(newest)
        if text:
            self._recent, self._num_settled, self._num_given = newest, len(newest), len(text)
