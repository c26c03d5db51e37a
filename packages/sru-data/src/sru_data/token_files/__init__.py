"""Text as ids in memory-mapped files, for data larger than memory; prepared once.

A prepared corpus is a folder:

    tokenizer.json     the tokenizer (tokenizer.model where it is one of sentencepiece)
    corpus.json        the name, the options and the fingerprints of the texts
    train.tokens       the ids, little-endian uint16 or int32, and nothing else
    train.json         their type, checksum and counts; likewise for validation and test
"""

from sru_data.token_files.counts import TextCounts
from sru_data.token_files.files import TokenFile
from sru_data.token_files.preparation import Progress, prepare
from sru_data.token_files.prepared import PreparedCorpus, open_prepared, prepared_folder
from sru_data.token_files.settings import tokenizer_digest

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
