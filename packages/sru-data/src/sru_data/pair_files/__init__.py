"""Pairs of sentences in memory-mapped files, for data larger than memory; prepared once.

Prepared pairs are a folder:

    pairs.json            the name, the options, the checksums of all files, and what was left out
    source.tokenizer      the vocabulary of each language, or joint.tokenizer for both
    target.tokenizer
    train.rows            for each pair, its offsets in the next two files: int64
    train.ids             the ids of both sentences: int32; both little-endian
    train.texts           the texts; the same three files for validation and test
"""

from sru_data.pair_files.files import Example, PairPart
from sru_data.pair_files.preparation import Progress, prepare, prepared_folder
from sru_data.pair_files.prepared import PreparedPairs, open_prepared
from sru_data.pair_files.vocabularies import Vocabularies, VocabularyConfig
from sru_data.pair_files.writing import PartReport

__all__ = [
    "Example",
    "PairPart",
    "PartReport",
    "PreparedPairs",
    "Progress",
    "Vocabularies",
    "VocabularyConfig",
    "open_prepared",
    "prepare",
    "prepared_folder",
]
