"""Any tokenizer of the Hugging Face `tokenizers` library, with padding at id 0 and unknown at id 1."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import models
from tokenizers.pre_tokenizers import ByteLevel

from sru_data.reading import HALF_OF_A_PAIR
from sru_data.tokenizers.protocol import PAD_ID, UNK_ID

PAD_TOKEN = "[PAD]"
UNK_TOKEN = "[UNK]"
_MOST_UNUSED_IDS = 1_000_000
"""The library lists all unused ids whenever it serialises a model."""


class HuggingFaceTokenizer:
    """A Hugging Face tokenizer whose ids are renumbered so that padding is 0 and unknown is 1.

    The other tokens keep their order. If the tokenizer has no padding or unknown token, one that never occurs
    in text is added. Special tokens of its post-processor, such as `[CLS]`, are not added to texts.

    Args:
        backend: The tokenizer; its own padding and truncation are not applied.

    Raises:
        ValueError: Its model has an unknown token that is not in its vocabulary, two tokens with the same id,
            or a million unused ids.
    """

    pad_id = PAD_ID
    unk_id = UNK_ID

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        _check_model(backend)
        self._saved = backend
        padding: dict[str, Any] = backend.padding or {}
        if backend.padding or backend.truncation:
            backend = tokenizers.Tokenizer.from_str(backend.to_str())
            backend.no_padding()
            backend.no_truncation()
        self._backend = backend
        vocabulary = backend.get_vocab()
        own_unk = getattr(backend.model, "unk_token", None)
        pad = next((t for t in (padding.get("pad_token"), PAD_TOKEN, "<pad>") if t in vocabulary), PAD_TOKEN)
        unk = next((t for t in (own_unk, UNK_TOKEN, "<unk>") if t in vocabulary), UNK_TOKEN)
        others = sorted(vocabulary.keys() - {pad, unk}, key=vocabulary.__getitem__)
        self._tokens = [pad, unk, *others]
        self._id_of = {token: index for index, token in enumerate(self._tokens)}
        self._own_ids = [vocabulary.get(token) for token in self._tokens]
        # Text that spells out the padding token must not be read as padding, so no id becomes PAD_ID.
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
            text: Any text; one without tokens is encoded as `[unk_id]`.
        """
        ids = self._backend.encode(without_surrogates(text), add_special_tokens=False).ids
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


def without_surrogates(text: str) -> str:
    """Replace invalid characters, such as unpaired surrogates in JSON, which the library does not accept.

    Args:
        text: Any text.
    """
    return text if text.isascii() else HALF_OF_A_PAIR.sub("\ufffd", text)


def _check_model(backend: tokenizers.Tokenizer) -> None:
    """Refuse a model that the library accepts, but which fails at the first unknown token or mixes up ids."""
    vocabulary = backend.get_vocab(with_added_tokens=False)
    last = max(vocabulary, key=vocabulary.__getitem__, default="")
    if vocabulary and vocabulary[last] - len(vocabulary) >= _MOST_UNUSED_IDS:
        raise ValueError(
            f"HuggingFaceTokenizer: the ids of {len(vocabulary):,} tokens must leave fewer than "
            f"{_MOST_UNUSED_IDS:,} ids unused, got {vocabulary[last]:,} for {last!r}; number them from 0"
        )
    if isinstance(backend.model, models.WordLevel):
        # Other models are serialised for inspection, which takes seconds for a large vocabulary.
        model = {"type": "WordLevel", "unk_token": backend.model.unk_token, "vocab": vocabulary}
    else:
        model = description(backend)["model"]
    kind = model["type"]
    is_unigram = kind == "Unigram"
    unknown = model["unk_id"] if is_unigram else model["unk_token"]
    is_known = unknown is not None if is_unigram else unknown in vocabulary
    # BPE needs no unknown token, and with a vocabulary of all bytes, no token is unknown.
    can_lack = (kind == "BPE" and unknown is None) or vocabulary.keys() >= set(ByteLevel.alphabet())
    if not is_known and not can_lack:
        raise ValueError(
            f"HuggingFaceTokenizer: the vocabulary of a {kind} model must have its unknown token, got "
            f"{unknown!r} for it; add that token to the vocabulary"
        )
    if not len(vocabulary) == len(set(vocabulary.values())) == len(model["vocab"]):
        raise ValueError(f"HuggingFaceTokenizer: each token of a {kind} model must have its own id")


def description(backend: tokenizers.Tokenizer) -> dict[str, Any]:
    """Return the content of a backend's `tokenizer.json`.

    Args:
        backend: The tokenizer.
    """
    return dict(json.loads(backend.to_str()))


def alike(one: tokenizers.Tokenizer, other: tokenizers.Tokenizer, *parts: str) -> bool:
    """Whether some parts of two backends are equivalent.

    Args:
        one: A tokenizer.
        other: Another one.
        parts: "normalizer", "pre_tokenizer", "decoder" or "added_tokens".
    """
    return all(_state(one, part) == _state(other, part) for part in parts)


def _state(backend: tokenizers.Tokenizer, part: str) -> object:
    """Return the content of a part, without writing out the vocabulary, which may be large."""
    if part == "added_tokens":
        return {index: token.__getstate__() for index, token in backend.get_added_tokens_decoder().items()}
    component = getattr(backend, part)
    return component and json.loads(component.__getstate__())


def most_frequent(
    counts: Mapping[str, int],
    *,
    special: tuple[str, ...],
    min_count: int = 1,
    max_size: int | None = None,
    always: tuple[str, ...] = (),
) -> dict[str, int]:
    """Number tokens: special ones first, then the most frequent, ties in alphabetical order.

    Args:
        counts: How often each token occurs.
        special: The tokens that come first, regardless of their counts.
        min_count: Tokens that occur less often are left out.
        max_size: The largest number of tokens, special ones included.
        always: Tokens to keep however rare they are, ranked by frequency.

    Returns:
        The id of each token.

    Raises:
        ValueError: `min_count` or `max_size` is too small, or no token is left.
    """
    smallest = len(special) + len(always) + 1
    if min_count < 1:
        raise ValueError(f"tokenizer training: min_count must be at least 1, got {min_count}")
    if max_size is not None and max_size < smallest:
        names = ", ".join(["padding", "unknown", *always, "a token"])
        raise ValueError(
            f"tokenizer training: max_size must be at least {smallest} ({names}), got {max_size}"
        )

    def rank(token: str) -> tuple[int, str]:
        return -counts.get(token, 0), token

    frequent = {token for token, count in counts.items() if count >= min_count} - {*special, *always}
    if not frequent:
        raise ValueError(
            f"tokenizer training: texts must contain a token that occurs at least {min_count} times, got none"
        )
    number = None if max_size is None else max_size - smallest + 1
    kept = sorted([*sorted(frequent, key=rank)[:number], *always], key=rank)
    return {token: index for index, token in enumerate([*special, *kept])}
