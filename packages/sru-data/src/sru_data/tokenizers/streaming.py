"""Text from ids that arrive one at a time."""

from __future__ import annotations

from sru_data.tokenizers.protocol import PAD_ID, Tokenizer

_REPLACEMENT = "\ufffd"
_MAX_UNCERTAIN = 3


class StreamingDecoder:
    """Decodes ids one at a time, returning text as soon as it is final, for any tokenizer.

    Together, the results of `feed` and, at the end, `finish` equal what `decode` returns for all ids at once.
    Only the bytes of an incomplete character are held back, because the next id may change them.

    Args:
        tokenizer: The tokenizer of the ids.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        # There may be a space between an id and the one before it, so the newest ids cannot be decoded alone.
        self._context: list[int] = []
        self._newest: list[int] = []
        self._num_given = 0

    def feed(self, token: int) -> str:
        """Take the next id and return the text that has become final, usually that of one token.

        Args:
            token: An id of the tokenizer; padding has no text.
        """
        if token == PAD_ID:
            return ""
        self._newest.append(token)
        text = self._tokenizer.decode(self._context + self._newest)
        # An incomplete character has at most three bytes, each of which may decode to one mark.
        uncertain = min(len(text) - len(text.rstrip(_REPLACEMENT)), _MAX_UNCERTAIN)
        certain = text[self._num_given : len(text) - uncertain]
        self._num_given += len(certain)
        if not uncertain and (own_text := self._tokenizer.decode(self._newest)):
            self._context, self._newest, self._num_given = self._newest, [], len(own_text)
        return certain

    def finish(self) -> str:
        """Return what was held back, and reset the decoder."""
        rest = self._tokenizer.decode(self._context + self._newest)[self._num_given :]
        self._context, self._newest, self._num_given = [], [], 0
        return rest
