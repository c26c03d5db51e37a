"""Text to ids and back: words, characters, bytes and subwords behind one protocol.

Every tokenizer here has `pad_id` 0 and `unk_id` 1, never makes the padding id from text, and encodes a text
without content to `[unk_id]`, so every sentence has at least one token.
"""

from sru_data.tokenizers.bytes import ByteTokenizer, encode_block
from sru_data.tokenizers.characters import CharTokenizer
from sru_data.tokenizers.huggingface import HuggingFaceTokenizer
from sru_data.tokenizers.loading import load_tokenizer
from sru_data.tokenizers.protocol import PAD_ID, UNK_ID, Tokenizer
from sru_data.tokenizers.subwords import SubwordTokenizer
from sru_data.tokenizers.words import WordTokenizer

__all__ = [
    "PAD_ID",
    "UNK_ID",
    "ByteTokenizer",
    "CharTokenizer",
    "HuggingFaceTokenizer",
    "SubwordTokenizer",
    "Tokenizer",
    "WordTokenizer",
    "encode_block",
    "load_tokenizer",
]
