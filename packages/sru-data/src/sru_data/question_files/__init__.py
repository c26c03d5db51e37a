"""Questions about texts in memory-mapped files, for data larger than memory; prepared once.

Prepared questions are a folder:

    questions.json     the name, the options, the checksums of all files, and what was left out
    vocabulary.json    the words, and lemmas, parts of speech and named entities if there are any
    train.rows         for each question, its offsets in the next two files and its answer: int64
    train.tokens       the tokens of contexts and questions as numbers: int32; both little-endian
    train.texts        the texts; the same three files for validation and test
"""

from sru_data.question_files.files import Example, QuestionFile, QuestionText, Tokens
from sru_data.question_files.preparation import Progress, prepare, prepared_folder
from sru_data.question_files.prepared import PreparedQuestions, open_prepared
from sru_data.question_files.writing import PartReport, find_span

__all__ = [
    "Example",
    "PartReport",
    "PreparedQuestions",
    "Progress",
    "QuestionFile",
    "QuestionText",
    "Tokens",
    "find_span",
    "open_prepared",
    "prepare",
    "prepared_folder",
]
