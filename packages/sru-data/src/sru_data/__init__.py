"""Data set readers, texts, tokenizers, pretrained embeddings and batching; knows no model.

The modules are `classification`, `language_modelling`, `text`, `token_files`, `streams`, `tokenizers`,
`embeddings`, `batching` and `home`; each is imported only when asked for, so that `import sru_data` itself
costs nothing.
"""

from sru_data.errors import DataError

__all__ = ["DataError"]
__version__ = "0.1.0"
