"""Learns the vocabularies of two languages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple, get_args

from sru_data.datasets.translation import PairFiles
from sru_data.tokenizers import (
    CharTokenizer,
    SentenceTokenizer,
    SubwordTokenizer,
    TextForm,
    Tokenizer,
    WordTokenizer,
)
from sru_data.tokenizers.huggingface import PAD_TOKEN, most_frequent
from sru_data.tokenizers.training import UNKNOWN_WORD
from sru_data.tokenizers.words import LINE_END

Unit = Literal["words", "characters", "subwords"]
Pretokenizer = Literal["moses", "none"]
_SAMPLE_CHARACTERS = 1 << 25
"""The most text that sentencepiece learns from; it takes 20 bytes of memory per character."""


class Vocabularies(NamedTuple):
    """The tokenizers of two languages; joint ones have the same `text`."""

    source: SentenceTokenizer
    """Produces the ids that the encoder reads."""
    target: SentenceTokenizer
    """Produces the ids that the decoder writes."""

    @property
    def joint(self) -> bool:
        """Whether both languages share a vocabulary."""
        return self.source.text is self.target.text

    @property
    def forms(self) -> dict[str, TextForm]:
        """The forms of the texts of "source" and "target"."""
        return {side: tokenizer.form for side, tokenizer in self._asdict().items()}


@dataclass(frozen=True)
class VocabularyConfig:
    """How vocabularies are learned from the training pairs. The same pairs give the same vocabularies.

    Words are split at white space, after `pretokenizer` has split off the punctuation. Subwords are learned
    by sentencepiece from all pairs, or from evenly spaced pairs with at most 32 million characters in total.

    Raises:
        ValueError: An option is invalid, or does not apply to the unit.
    """

    unit: Unit = "subwords"
    """What an id represents."""
    size: int | None = None
    """The maximum size of a vocabulary, including padding and unknown but not the two markers; required for
    subwords."""
    model_type: Literal["unigram", "bpe"] = "unigram"
    """The algorithm for subwords."""
    min_count: int = 1
    """Words or characters that occur less often are unknown."""
    lowercase: bool = False
    """Whether to lower-case the sentences."""
    joint: bool = False
    """Whether both languages share one vocabulary."""
    pretokenizer: Pretokenizer = "none"
    """How sentences are first split into words: by Moses' rules for their languages, or not at all."""
    source_language: str | None = None
    """The language of the sentences, for `pretokenizer`, such as "en"."""
    target_language: str | None = None
    """The language of the translations."""

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise ValueError(
                f"VocabularyConfig: unit must be 'words', 'characters' or 'subwords', got {self.unit!r}"
            )
        if self.unit == "subwords" and self.size is None:
            raise ValueError(
                "VocabularyConfig: subwords need a size, got None; 8000 is usual for 100,000 pairs"
            )
        for option, is_given, units in (
            ("model_type", self.model_type != "unigram", ("subwords",)),
            ("min_count", self.min_count != 1, ("words", "characters")),
        ):
            if is_given and self.unit not in units:
                raise ValueError(
                    f"VocabularyConfig: {option} is an option of {' and '.join(units)}, not of "
                    f"{self.unit}; leave it out"
                )
        if self.pretokenizer not in get_args(Pretokenizer):
            raise ValueError(
                f"VocabularyConfig: pretokenizer must be 'moses' or 'none', got {self.pretokenizer!r}"
            )
        if self.pretokenizer == "moses" and None in (self.source_language, self.target_language):
            raise ValueError(
                "VocabularyConfig: the pretokenizer moses needs source_language and target_language, such as "
                f"'en' and 'de', got {self.source_language!r} and {self.target_language!r}"
            )
        # Raises an error for an invalid language.
        self.form("source"), self.form("target")

    def form(self, side: Literal["source", "target"]) -> TextForm:
        """Return the form of the texts of one side."""
        language = self.source_language if side == "source" else self.target_language
        return TextForm(moses=language if self.pretokenizer == "moses" else None, lowercase=self.lowercase)

    def learn(self, files: PairFiles) -> Vocabularies:
        """Learn the vocabularies; memory grows only with the number of distinct words.

        Args:
            files: The training pairs. Pairs with an empty sentence are ignored.

        Raises:
            ValueError: The texts do not have such a vocabulary.
            DataError: A file cannot be read, or a package is missing.
        """
        source, target = self.form("source"), self.form("target")
        if self.joint:
            shared = self._tokenizer(_texts(files, source=source, target=target))
            return Vocabularies(SentenceTokenizer(shared, source), SentenceTokenizer(shared, target))
        return Vocabularies(
            SentenceTokenizer(self._tokenizer(_texts(files, source=source)), source),
            SentenceTokenizer(self._tokenizer(_texts(files, target=target)), target),
        )

    def _tokenizer(self, texts: Iterator[tuple[str, ...]]) -> Tokenizer:
        if self.unit == "subwords":
            return SubwordTokenizer.train(
                _sampled(texts), vocab_size=self.size or 0, model_type=self.model_type
            )
        sentences = chain.from_iterable(texts)
        if self.unit == "characters":
            return CharTokenizer.train(sentences, min_count=self.min_count, max_size=self.size)
        return self._word_tokenizer(sentences)

    def _word_tokenizer(self, sentences: Iterable[str]) -> WordTokenizer:
        empty = WordTokenizer.from_words([], lowercase=self.lowercase, unk_token=UNKNOWN_WORD)
        counts = Counter(chain.from_iterable(map(empty.pieces, sentences)))
        # `LINE_END` would be decoded as a line feed.
        del counts[LINE_END]
        _, _, *words = most_frequent(
            counts, special=(PAD_TOKEN, UNKNOWN_WORD), min_count=self.min_count, max_size=self.size
        )
        return empty.extended(words)


def _texts(
    files: PairFiles, *, source: TextForm | None = None, target: TextForm | None = None
) -> Iterator[tuple[str, ...]]:
    """Yield the sentences of each pair, for the sides whose form is given."""
    for pair in files.pairs():
        if pair.source.strip() and pair.targets[0].strip():
            sides = ((source, pair.source), (target, pair.targets[0]))
            yield tuple(form.apply(text) for form, text in sides if form is not None)


def _sampled(texts: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield the sentences of every n-th pair, with n the smallest power of two that keeps to the limit."""
    kept: list[tuple[str, ...]] = []
    size, step = 0, 1
    for index, sentences in enumerate(texts):
        if index % step == 0:
            kept.append(sentences)
            size += sum(map(len, sentences))
        while size > _SAMPLE_CHARACTERS and len(kept) > 1:
            kept, step = kept[::2], step * 2
            size = sum(map(len, chain.from_iterable(kept)))
    return chain.from_iterable(kept)
