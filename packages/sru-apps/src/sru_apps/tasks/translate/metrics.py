"""BLEU and chrF of translations, computed by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from sru_apps.train.errors import UserError

BleuTokenizer = Literal["13a", "none", "intl", "zh", "char"]
"""How sacrebleu cuts texts into words: by the rules of mteval-v13a, at white space alone, ..."""


class Scores(NamedTuple):
    """How close translations are to their references, both from 0 to 100."""

    bleu: float
    chrf: float


class TranslationScorer:
    """Compares translations with references.

    Args:
        tokenizer: How BLEU cuts texts into words.
        lowercase: Whether case does not matter.

    Raises:
        UserError: sacrebleu is not installed.

    Source: Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation" (2002); Popović,
    "chrF: character n-gram F-score for automatic MT evaluation" (2015); Post, "A Call for Clarity in
    Reporting BLEU Scores" (2018).
    """

    def __init__(self, *, tokenizer: BleuTokenizer = "13a", lowercase: bool = False) -> None:
        metrics = import_sacrebleu().metrics
        # With `force`, sacrebleu does not warn of text that is tokenized.
        how = {"tokenize": tokenizer, "lowercase": lowercase, "force": tokenizer == "none"}
        self._bleu, self._chrf = metrics.BLEU(**how), metrics.CHRF(lowercase=lowercase)
        self._sentence_bleu = metrics.BLEU(**how, effective_order=True)

    def corpus(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
        """Score all translations together.

        Args:
            hypotheses: The translations.
            references: As many lists of references; all of one length. An empty one beside others is
                missing.
        """
        columns: Any = list(map(list, zip(*map(_given, references), strict=True)))
        return Scores(
            self._bleu.corpus_score(hypotheses, columns).score,
            self._chrf.corpus_score(hypotheses, columns).score,
        )

    def sentence(self, hypothesis: str, references: Sequence[str]) -> Scores:
        """Score one translation; BLEU without the orders of n-grams that it is too short for."""
        references = [text for text in references if text] or [""]
        return Scores(
            self._sentence_bleu.sentence_score(hypothesis, references).score,
            self._chrf.sentence_score(hypothesis, references).score,
        )

    @property
    def signatures(self) -> tuple[str, str]:
        """How BLEU and chrF were computed, as papers cite it; known after `corpus`."""
        return str(self._bleu.get_signature()), str(self._chrf.get_signature())


def _given(references: Sequence[str]) -> list[str | None]:
    """Return references with None for those that are missing, which sacrebleu leaves out."""
    return [text or None for text in references] if any(references) else list(references)


def import_sacrebleu() -> Any:
    """Return the module sacrebleu.

    Raises:
        UserError: It is not installed.
    """
    # Not above: whoever translates needs no references.
    try:
        import sacrebleu  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise UserError(
            "BLEU and chrF need sacrebleu, which is not installed; run `pip install 'sru-apps[translate]'`"
        ) from error
    return sacrebleu
