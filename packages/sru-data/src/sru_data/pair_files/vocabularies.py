"""How the vocabularies of two languages are learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple, get_args

from sru_data.datasets.translation import PairFiles
from sru_data.tokenizers import CharTokenizer, SentenceTokenizer, SubwordTokenizer, Tokenizer, WordTokenizer
from sru_data.tokenizers.huggingface import PAD_TOKEN, most_frequent
from sru_data.tokenizers.training import UNKNOWN_WORD
from sru_data.tokenizers.words import LINE_END

Unit = Literal["words", "characters", "subwords"]
_SAMPLE_CHARACTERS = 1 << 25
"""The most text that sentencepiece learns from, in memory, at 20 bytes per character."""


class Vocabularies(NamedTuple):
    """The tokenizers of two languages; joint ones are the same object."""

    source: SentenceTokenizer
    """Makes the ids that the encoder reads."""
    target: SentenceTokenizer
    """Makes the ids that the decoder writes."""


@dataclass(frozen=True)
class VocabularyConfig:
    """How vocabularies are learned from the training pairs. The same pairs give the same vocabularies.

    Words are cut at white space alone: tokenise the texts before. Subwords are learned by sentencepiece from
    all pairs, or from at most 32 million characters of pairs spread evenly over them.

    Raises:
        ValueError: An option has no meaning, or the unit does not have it.
    """

    unit: Unit = "subwords"
    """What an id represents."""
    size: int | None = None
    """The largest size of a vocabulary, padding and unknown included, the two markers not; subwords need
    it."""
    model_type: Literal["unigram", "bpe"] = "unigram"
    """The algorithm for subwords."""
    min_count: int = 1
    """Words or characters that occur less often are unknown."""
    lowercase: bool = False
    """Whether to lower-case words."""
    joint: bool = False
    """Whether both languages share one vocabulary."""

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
            ("lowercase", self.lowercase, ("words",)),
        ):
            if is_given and self.unit not in units:
                raise ValueError(
                    f"VocabularyConfig: {option} is an option of {' and '.join(units)}, not of "
                    f"{self.unit}; leave it out"
                )

    def learn(self, files: PairFiles) -> Vocabularies:
        """Learn the vocabularies; memory grows with the number of different words alone.

        Args:
            files: The training pairs. Pairs with an empty sentence are ignored.

        Raises:
            ValueError: The texts do not have such a vocabulary.
            DataError: A file cannot be read.
        """
        if self.joint:
            shared = SentenceTokenizer(self._tokenizer(_texts(files, source=True, target=True)))
            return Vocabularies(shared, shared)
        source = self._tokenizer(_texts(files, source=True))
        target = self._tokenizer(_texts(files, target=True))
        return Vocabularies(SentenceTokenizer(source), SentenceTokenizer(target))

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
        # It would be decoded as a line feed.
        del counts[LINE_END]
        _, _, *words = most_frequent(
            counts, special=(PAD_TOKEN, UNKNOWN_WORD), min_count=self.min_count, max_size=self.size
        )
        return empty.extended(words)


def _texts(files: PairFiles, *, source: bool = False, target: bool = False) -> Iterator[tuple[str, ...]]:
    """Yield the sentences of each pair in the languages of the vocabulary."""
    for pair in files.pairs():
        if pair.source.strip() and pair.targets[0].strip():
            yield (pair.source,) * source + pair.targets[:1] * target


def _sampled(texts: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield the sentences of every n-th pair, with n the smallest power of two that gives few enough."""
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
