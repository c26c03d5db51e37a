"""Data set readers, texts, tokenizers, pretrained embeddings and batching, for any model.

The parts are `datasets`, `tables`, `texts`, `tokenizers`, `annotation`, `features`, `token_files`,
`question_files`, `pair_files`, `feature_files`, `loaders`, `embeddings` and `download`. Each is imported on
demand, so `import sru_data` by itself costs nothing. The old names (`sru_data.batching`, `sru_data.streams`
and so on) can still be imported.
"""

from sru_data.errors import DataError
from sru_data.moved import redirect

__all__ = ["DataError"]
__version__ = "0.1.0"

redirect(
    {
        "sru_data.batching": "sru_data.loaders.buckets",
        "sru_data.chat": "sru_data.datasets.dialogues",
        "sru_data.classification": "sru_data.datasets.classification",
        "sru_data.home": "sru_data.download sru_data.datasets.sources",
        "sru_data.language_modelling": "sru_data.datasets.language_modelling",
        "sru_data.streams": "sru_data.loaders",
        "sru_data.text": "sru_data.texts.source sru_data.tokenizers",
        "sru_data.text_files": "sru_data.texts.files",
    }
)
