"""Words: what white space separates."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import normalizers, pre_tokenizers

from sru_data.tokenizers.huggingface import HuggingFaceTokenizer, train_word_level, untrained_word_level


class WordTokenizer(HuggingFaceTokenizer):
    """One token per word; `decode` joins words with single spaces."""

    @classmethod
    def train(
        cls, texts: Iterable[str], *, min_count: int = 1, max_size: int | None = None, lowercase: bool = True
    ) -> WordTokenizer:
        """Collect a vocabulary, the most frequent words first.

        Args:
            texts: The text to count in.
            min_count: Words that come less often are unknown.
            max_size: The largest size of the vocabulary, padding and unknown included.
            lowercase: Whether to lower-case text, here and in `encode`.

        Raises:
            ValueError: `min_count` or `max_size` is too small, or no word is left.
        """
        backend = untrained_word_level()
        if lowercase:
            backend.normalizer = normalizers.Lowercase()
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        train_word_level(backend, texts, min_count=min_count, max_size=max_size)
        return cls(backend)
