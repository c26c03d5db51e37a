"""Subwords: a sentencepiece model."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import sentencepiece

from sru_data.tokenizers.protocol import PAD_ID, UNK_ID

# sentencepiece silently drops longer texts; its default of 4,192 bytes would lose whole paragraphs.
_MOST_PIECES = 2**31 - 1
_MAX_TEXT_BYTES = 1 << 30
_PAD_PIECE = "<pad>"
_SPACE_MARK = "\u2581"
_LOSSLESS: dict[str, Any] = {
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "add_dummy_prefix": False,
    "allow_whitespace_only_pieces": True,
    "user_defined_symbols": ["\n"],
    "byte_fallback": True,
}


class SubwordTokenizer:
    """Pieces of words, learned by sentencepiece.

    Text is NFKC-normalised and runs of white space become one space, so `decode` returns the normalised text.
    With `lossless=True` in training, text is not changed, line feeds are tokens, characters unseen in
    training are encoded as bytes, and `decode` is the exact inverse.

    Args:
        model: A serialised sentencepiece model. Its pieces are renumbered so that padding, which is added if
            the model has none, is 0 and unknown is 1; the others keep their order.

    Raises:
        ValueError: It is not a sentencepiece model, or a piece of it is not UTF-8.
    """

    pad_id = PAD_ID
    unk_id = UNK_ID

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
            size = self._processor.GetPieceSize()
            pieces = self._processor.IdToPiece(list(range(size)))
        # UnicodeDecodeError is a ValueError.
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"SubwordTokenizer: expected a sentencepiece model, got something else ({error})"
            ) from error
        special = self._processor.pad_id(), self._processor.unk_id()
        self._own_ids = [*special, *(own for own in range(size) if own not in special)]
        self._tokens = [pieces[own] if own >= 0 else _PAD_PIECE for own in self._own_ids]
        # Text is never encoded as padding, and -1 is not a piece.
        self._id_of = {own: index for index, own in enumerate(self._own_ids)}
        self._is_renumbered = self._own_ids != list(range(size))
        bytes_of_mark = self._processor.PieceToId([f"<0x{byte:02X}>" for byte in _SPACE_MARK.encode()])
        self._space_mark_ids: list[int] = bytes_of_mark if all(self._processor.IsByte(bytes_of_mark)) else []

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        vocab_size: int,
        model_type: Literal["unigram", "bpe"] = "unigram",
        lossless: bool = False,
        threads: int = 16,
    ) -> SubwordTokenizer:
        """Learn pieces from text.

        Args:
            texts: The text to learn from.
            vocab_size: The size of the vocabulary, including padding and unknown; it is smaller for a short
                text.
            model_type: The algorithm.
            lossless: Whether `decode` reproduces every text exactly, including line ends and white space.
                This adds 257 entries to the vocabulary.
            threads: The number of threads; a different number may give slightly different pieces.

        Raises:
            ValueError: Unknown `model_type`, no text, or a `vocab_size` too small for its characters.
        """
        if model_type not in ("unigram", "bpe"):
            raise ValueError(f"SubwordTokenizer: model_type must be 'unigram' or 'bpe', got {model_type!r}")
        if vocab_size > _MOST_PIECES:
            raise ValueError(
                f"SubwordTokenizer: vocab_size must be at most {_MOST_PIECES:,}, got {vocab_size}"
            )
        written = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.Train(
                sentence_iterator=filter(str.strip, texts),
                model_writer=written,
                vocab_size=vocab_size,
                hard_vocab_limit=False,
                model_type=model_type,
                character_coverage=1.0,
                max_sentence_length=_MAX_TEXT_BYTES,
                pad_id=PAD_ID,
                unk_id=UNK_ID,
                bos_id=-1,
                eos_id=-1,
                minloglevel=2,
                num_threads=threads,
                **(_LOSSLESS if lossless else {}),
            )
        except RuntimeError as error:
            raise ValueError(
                f"SubwordTokenizer: cannot learn vocab_size={vocab_size} pieces from this text ({error})"
            ) from error
        return cls(written.getvalue())

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
            text: Any text; a blank one is encoded as `[unk_id]`.
        """
        # sentencepiece represents a space by this character, so it would be decoded as a space.
        pieces = text.split(_SPACE_MARK) if self._space_mark_ids else [text]
        ids: list[int] = self._processor.EncodeAsIds(pieces[0])
        for piece in pieces[1:]:
            ids += self._space_mark_ids + self._processor.EncodeAsIds(piece)
        if self._is_renumbered:
            ids = [self._id_of[own] for own in ids]
        return ids or [UNK_ID]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, leaving out padding.

        Args:
            ids: Ids of this tokenizer.
        """
        return str(self._processor.DecodeIds([self._own_ids[index] for index in ids if index != PAD_ID]))

    def save(self, path: str | Path) -> None:
        """Write a sentencepiece model file, under any name.

        Args:
            path: The file to write.
        """
        Path(path).write_bytes(self._model)
