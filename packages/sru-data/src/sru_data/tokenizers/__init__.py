"""Text to ids and back: words, characters, bytes and subwords behind one protocol.

Every tokenizer here has `pad_id` 0 and `unk_id` 1, never encodes text as padding, and encodes a text without
content as `[unk_id]`, so every sentence has at least one token.
"""

from pathlib import Path

import tokenizers

from sru_data.errors import DataError, shortened
from sru_data.reading import read_bytes
from sru_data.tokenizers.bytes import ByteTokenizer, encode_block
from sru_data.tokenizers.characters import CharTokenizer
from sru_data.tokenizers.huggingface import HuggingFaceTokenizer
from sru_data.tokenizers.protocol import PAD_ID, UNK_ID, Tokenizer
from sru_data.tokenizers.sentences import SentenceTokenizer
from sru_data.tokenizers.subwords import SubwordTokenizer
from sru_data.tokenizers.text_forms import TextForm
from sru_data.tokenizers.words import WordTokenizer

__all__ = [
    "PAD_ID",
    "UNK_ID",
    "ByteTokenizer",
    "CharTokenizer",
    "HuggingFaceTokenizer",
    "SentenceTokenizer",
    "SubwordTokenizer",
    "TextForm",
    "Tokenizer",
    "WordTokenizer",
    "encode_block",
    "load_tokenizer",
]

_KINDS = (CharTokenizer, ByteTokenizer, WordTokenizer)
_TRIAL = "  A word, e\u0301\u2603 \U0001f600\n"


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Read a file that a tokenizer's `save` wrote, or any Hugging Face `tokenizer.json`.

    Args:
        path: The file; its content, not its name, determines its kind.

    Raises:
        DataError: The file is missing or holds no tokenizer.
    """
    content = read_bytes(path, expected="a tokenizer file")
    kinds = "tokenizer.json or a sentencepiece model, got neither"
    try:
        if not content.lstrip().startswith(b"{"):
            return SubwordTokenizer(content)
        kinds = "tokenizer.json, got other JSON"
        backend = tokenizers.Tokenizer.from_str(content.decode("utf-8"))
        kinds = "tokenizer.json, got one that does not work"
        kind = next((kind for kind in _KINDS if kind.fits(backend)), HuggingFaceTokenizer)
        tokenizer = kind(backend)
        tokenizer.decode(tokenizer.encode(_TRIAL))
    # The library raises bare Exception, and its Rust code, if it panics, a BaseException of its own.
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise DataError.at(
            path, None, f"expected a Hugging Face {kinds}: {shortened(str(error), 200)}"
        ) from error
    return tokenizer
