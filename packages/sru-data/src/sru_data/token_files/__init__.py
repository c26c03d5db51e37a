"""Texts as ids in memory-mapped files, for data larger than memory; prepared once.

A prepared corpus is a folder:

    tokenizer.json     the tokenizer (tokenizer.model if it is a sentencepiece model)
    corpus.json        the name, the options and the fingerprints of the texts
    train.tokens       the ids, little-endian uint16 or int32, and nothing else
    train.json         their type, checksum and counts; the same for validation and test
"""

from sru_data.token_files.files import TextCounts, TokenFile
from sru_data.token_files.preparation import Progress, prepare
from sru_data.token_files.prepared import PreparedCorpus, open_prepared, prepared_folder, tokenizer_digest

__all__ = [
    "PreparedCorpus",
    "Progress",
    "TextCounts",
    "TokenFile",
    "open_prepared",
    "prepare",
    "prepared_folder",
    "tokenizer_digest",
]
