"""Any tokenizer of the Hugging Face `tokenizers` library, with padding at id 0 and unknown at id 1."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import models, trainers

from sru_data.tokenizers.protocol import PAD_ID, UNK_ID

PAD_TOKEN = "[PAD]"
UNK_TOKEN = "[UNK]"


class HuggingFaceTokenizer:
    """A Hugging Face tokenizer whose ids are renumbered so that padding is 0 and unknown is 1.

    The other tokens keep their order; where the tokenizer has no padding or no unknown token, one that text
    never yields is added. Special tokens that its post-processor would add, such as `[CLS]`, are not added.

    Args:
        backend: The tokenizer; its own padding and truncation are not applied.
    """

    pad_id = PAD_ID
    unk_id = UNK_ID

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._saved = backend
        if backend.padding or backend.truncation:
            backend = tokenizers.Tokenizer.from_str(backend.to_str())
            backend.no_padding()
            backend.no_truncation()
        self._backend = backend
        token_of = {index: token for token, index in backend.get_vocab().items()}
        pad, unk = _pad_token(self._saved), _unk_token(self._saved)
        others = [index for index in sorted(token_of) if token_of[index] not in (pad, unk)]
        self._tokens = [pad, unk, *(token_of[index] for index in others)]
        self._own_ids: list[int | None] = [backend.token_to_id(pad), backend.token_to_id(unk), *others]
        # Text that spells out the padding token must not pass for padding, so no id becomes PAD_ID.
        self._ids = {own: max(index, UNK_ID) for index, own in enumerate(self._own_ids) if own is not None}

    @property
    def tokens(self) -> list[str]:
        """The vocabulary in the order of its ids."""
        return list(self._tokens)

    def __len__(self) -> int:
        """Return the size of the vocabulary."""
        return len(self._tokens)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, at least one and none of them `pad_id`.

        Args:
            text: Any text; one that yields no token gives `[unk_id]`.
        """
        ids = self._backend.encode(text, add_special_tokens=False).ids
        return [self._ids[own] for own in ids] or [UNK_ID]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, leaving out padding.

        Args:
            ids: Ids of this tokenizer.
        """
        own_ids = [self._own_ids[index] for index in ids if index != PAD_ID]
        return self._backend.decode([own for own in own_ids if own is not None], skip_special_tokens=False)

    def save(self, path: str | Path) -> None:
        """Write a Hugging Face `tokenizer.json`, under any name.

        Args:
            path: The file to write.
        """
        Path(path).write_text(self._saved.to_str(), encoding="utf-8")


def train_word_level(
    backend: tokenizers.Tokenizer,
    texts: Iterable[str],
    *,
    min_count: int = 1,
    max_size: int | None = None,
    unk_token: str = UNK_TOKEN,
) -> None:
    """Fill the vocabulary of a word-level backend: the most frequent pieces first, equal ones by alphabet.

    Args:
        backend: An untrained tokenizer made by `untrained_word_level`.
        texts: The text to count in.
        min_count: Pieces that come less often are left out.
        max_size: The largest size of the vocabulary, padding and unknown included.
        unk_token: The backend's unknown token.

    Raises:
        ValueError: `min_count` or `max_size` is too small, or no piece is left.
    """
    if min_count < 1:
        raise ValueError(f"tokenizer training: min_count must be at least 1, got {min_count}")
    if max_size is not None and max_size < 3:
        raise ValueError(
            f"tokenizer training: max_size must be at least 3 (padding, unknown, a token), got {max_size}"
        )
    trainer = trainers.WordLevelTrainer(
        vocab_size=sys.maxsize if max_size is None else max_size,
        min_frequency=min_count,
        special_tokens=[PAD_TOKEN, unk_token],
        show_progress=False,
    )
    backend.train_from_iterator(iter(texts), trainer)
    if backend.get_vocab_size() < 3:
        raise ValueError(
            f"tokenizer training: texts must hold a token that comes {min_count} times or more, got none"
        )


def untrained_word_level(unk_token: str = UNK_TOKEN) -> tokenizers.Tokenizer:
    """Return a backend that looks each piece up in a vocabulary, still empty."""
    return tokenizers.Tokenizer(models.WordLevel(unk_token=unk_token))


def _pad_token(backend: tokenizers.Tokenizer) -> str:
    padding: dict[str, Any] = backend.padding or {}
    return _first_known(backend, [padding.get("pad_token"), PAD_TOKEN, "<pad>"]) or PAD_TOKEN


def _unk_token(backend: tokenizers.Tokenizer) -> str:
    own = getattr(backend.model, "unk_token", None)
    return _first_known(backend, [own, UNK_TOKEN, "<unk>"]) or UNK_TOKEN


def _first_known(backend: tokenizers.Tokenizer, candidates: list[str | None]) -> str | None:
    return next((t for t in candidates if t is not None and backend.token_to_id(t) is not None), None)
