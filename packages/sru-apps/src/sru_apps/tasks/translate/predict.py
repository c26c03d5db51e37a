"""Trained translators."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from torch import Tensor

from sru_apps.decoding.hypotheses import Hypothesis
from sru_apps.decoding.unknown import UnknownParts, encode
from sru_apps.inference.trained import Trained
from sru_apps.tasks.translate.config import TranslationConfig
from sru_apps.tasks.translate.decoding import Search, search
from sru_apps.tasks.translate.scoring import LONGEST, PairScore, batches, score_pairs, windows
from sru_apps.tasks.translate.systems import build
from sru_apps.tasks.translate.vocabularies import TokenizerPair
from sru_apps.train.errors import UserError
from sru_data.loaders import pad_sequences
from sru_data.tokenizers import CharTokenizer, WordTokenizer

NOTHING_KNOWN = "none of it is in the model's vocabulary"
"""The note on a sentence of unknown words only, whose translation is meaningless."""
CUT_OFF = f"only its first {LONGEST:,} symbols were translated"
"""The note on a sentence that was cut off at `LONGEST` symbols."""
NO_END = "its translation does not end within the limit and was cut off"
"""The note on a translation that reached the maximum length."""
NO_SCORE = "the model gives no translation a finite score"
"""The note instead of a translation after a numerical overflow."""


class Alignment(NamedTuple):
    """The attention of a translation."""

    source: list[str]
    """The S symbols of the sentence."""
    target: list[str]
    """The T symbols of the translation, including the end marker."""
    weights: Tensor
    """(T, S) float32; each row sums to 1."""


class Translation(NamedTuple):
    """A translation of a sentence."""

    text: str
    """The translation; empty for a sentence without words."""
    score: float | None
    """The log-probability divided by the length penalty; translations are ranked by it. None if nothing was
    translated."""
    log_prob: float | None
    """Its log-probability, in nats, including its end."""
    note: str | None = None
    """Why it is doubtful: `NOTHING_KNOWN`, `CUT_OFF`, `NO_END`, `NO_SCORE`, several of them, or None."""
    alignment: Alignment | None = None
    """Its attention, if requested."""


class Translator(Trained):
    """A trained translator.

    Translate sentences, and score given translations:

        model = sru_apps.load("runs/translate/multi30k-en-de-sru/first")
        print(model.translate("A dog runs.")[0].text)
        for best in model.predict(["A dog runs.", "Two men."]):
            print(best.text)
        print(model.score([("A dog runs.", "Ein Hund rennt.")])[0].perplexity)
    """

    config_class = TranslationConfig
    network_class = staticmethod(build)
    read_tokenizer = staticmethod(TokenizerPair.read)

    def __init__(self, network: Any, tokenizer: Any, entries: Mapping[str, Any] | None = None) -> None:
        super().__init__(network, tokenizer, entries)
        wanted, found = self.config.source_vocab_size, len(self.tokenizer.source)
        if wanted != found:
            raise UserError(
                f"the model reads {wanted} tokens and its tokenizer has {found}; they do not belong together"
            )
        self._unknown = UnknownParts(self.tokenizer.source.text)
        self._spellings: list[str] = self.tokenizer.tokens

    def translate(
        self, text: str, options: Search | None = None, *, prefix: str = "", replace_unknown: bool = False
    ) -> list[Translation]:
        """Translate a sentence, as `sru translate translate` does.

        Args:
            text: The sentence.
            options: The search options; `n_best` is the number of translations.
            prefix: The beginning of the translations.
            replace_unknown: As for `stream`.

        Returns:
            The translations, at least one, the best first; with their alignments.
        """
        found = self.stream(
            [text], options, prefix=prefix, replace_unknown=replace_unknown, keep_alignment=True
        )
        return next(found)

    def predict(self, texts: Iterable[str], options: Search | None = None) -> list[Translation]:
        """Translate many sentences.

        Args:
            texts: The sentences.
            options: The search options.

        Returns:
            The best translation of each, in order.

        Raises:
            ValueError: A single text is passed instead of a list.
        """
        if isinstance(texts, str):
            raise ValueError(f"predict: texts must be a list of texts, got one text: [{texts[:40]!r}]")
        return [best for best, *_ in self.stream(texts, options)]

    def stream(
        self,
        texts: Iterable[str],
        options: Search | None = None,
        *,
        prefix: str = "",
        seed: int = 0,
        replace_unknown: bool = False,
        keep_alignment: bool = False,
        report: Callable[[Iterable[tuple[str, Sequence[int]]]], object] | None = None,
    ) -> Iterator[list[Translation]]:
        """Translate a stream of sentences, in batches.

        Args:
            texts: The sentences.
            options: The search options.
            prefix: The beginning of every translation.
            seed: When sampling, the seed of each sentence; other sentences do not affect it.
            replace_unknown: Replace the unknown token with the word of the sentence that it attends to most.
            keep_alignment: Whether to return the alignments of the translations.
            report: Called with the sentences and their tokens, like `UnknownParts.report` or `count`.

        Yields:
            The translations of one sentence, at least one, the best first.

        Raises:
            ValueError: `n_best` exceeds the beam, or the prefix exceeds the maximum length.
            UserError: `replace_unknown` is set, but the vocabularies are neither words nor characters.
        """
        options = options or Search()
        if options.sampling is None:
            options.beam_of(self.config)
        begun = self.tokenizer.encode_target(prefix)
        if options.max_length is not None and len(begun) > options.max_length:
            raise ValueError(
                f"max_length must be at least {len(begun)}, the symbols of the prefix, got "
                f"{options.max_length}"
            )
        if replace_unknown:
            self._check_words()

        form = self.tokenizer.source.form

        def translated(raw: Sequence[str]) -> list[list[Translation]]:
            window = list(map(form.apply, raw))
            ids = [self._encode(text) for text in window]
            if report is not None:
                report(zip(window, ids, strict=True))
            found = [[Translation("", None, None)]] * len(window)
            rows = [row for row, symbols in enumerate(ids) if symbols]
            keep = keep_alignment or replace_unknown
            for batch in batches([len(ids[row]) for row in rows]):
                chosen = [rows[place] for place in batch]
                results = self._search([ids[row] for row in chosen], options, begun, seed, keep)
                for row, hypotheses in zip(chosen, results, strict=True):
                    found[row] = [
                        self._as_translation(
                            window[row], ids[row], hypothesis, replace_unknown, keep_alignment
                        )
                        for hypothesis in hypotheses
                    ]
            return found

        return chain.from_iterable(map(translated, windows(texts)))

    def _encode(self, text: str) -> list[int]:
        return encode(self.tokenizer.source.text, text) if text.strip() else []

    def _search(
        self, ids: Sequence[Sequence[int]], options: Search, prefix: Sequence[int], seed: int, keep: bool
    ) -> list[list[Hypothesis]]:
        padded = pad_sequences([part[:LONGEST] for part in ids], batch_first=False)
        mask = padded.mask.to(self.device) if padded.mask.any() else None
        return search(
            self.network,
            padded.ids.to(self.device),
            mask,
            options,
            prefixes=[prefix] * len(ids),
            seeds=[seed] * len(ids),
            keep_attention=keep,
        )

    def _as_translation(
        self, text: str, ids: Sequence[int], found: Hypothesis, replace: bool, keep: bool
    ) -> Translation:
        if math.isnan(found.score):
            return Translation("", None, None, NO_SCORE)
        symbols = [self._spellings[index] for index in found.ids]
        written = self.tokenizer.decode(found.ids)
        source = self.tokenizer.source.pieces(text)[:LONGEST] if found.attention is not None else []
        unknown = self.tokenizer.unk_id
        if replace and found.attention is not None and unknown in found.ids:
            places = found.attention[:, : len(source)].argmax(1).tolist()
            symbols = [
                source[place] if index == unknown else symbol
                for index, symbol, place in zip(found.ids, symbols, places, strict=False)
            ]
            written = ("" if isinstance(self.tokenizer.target.text, CharTokenizer) else " ").join(symbols)
        alignment = None
        if keep and found.attention is not None:
            weights = found.attention[:, : len(source)].float().cpu()
            alignment = Alignment(source, [*symbols, self._spellings[self.tokenizer.eos_id]], weights)
        notes = (
            (self._unknown.all_unknown(ids), NOTHING_KNOWN),
            (len(ids) > LONGEST, CUT_OFF),
            (found.cut, NO_END),
        )
        note = "; ".join(text for holds, text in notes if holds) or None
        written = self.tokenizer.target.form.undo(written)
        return Translation(written, found.score, found.log_prob, note, alignment)

    def _check_words(self) -> None:
        texts = (self.tokenizer.source.text, self.tokenizer.target.text)
        if not all(isinstance(text, (WordTokenizer, CharTokenizer)) for text in texts):
            raise UserError(
                "only word and character models can replace unknown words, but this model's vocabulary has "
                "subwords, which spell almost every word; leave out --replace-unknown"
            )

    def score(self, pairs: Iterable[tuple[str, str]]) -> list[PairScore]:
        """Score given translations, as `sru translate score` does.

        Args:
            pairs: Sentences, each with its translation.

        Returns:
            One score per pair, in order.

        Raises:
            ValueError: A side has more than 1,024 symbols.
        """
        return list(score_pairs(self, pairs))
