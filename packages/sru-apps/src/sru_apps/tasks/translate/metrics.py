"""BLEU and chrF of translations, computed by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from sru_apps.train.errors import UserError

BleuTokenizer = Literal["13a", "none", "intl", "zh", "char"]
"""How sacrebleu splits texts into words: 13a follows mteval-v13a, none splits only at white space, ..."""


class Scores(NamedTuple):
    """BLEU and chrF of translations, both from 0 to 100."""

    bleu: float
    chrf: float


class TranslationScorer:
    """Compares translations with references.

    Args:
        tokenizer: How BLEU splits texts into words.
        lowercase: Whether to ignore case.

    Raises:
        UserError: sacrebleu is not installed.

    Source: Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation" (2002); Popović,
    "chrF: character n-gram F-score for automatic MT evaluation" (2015); Post, "A Call for Clarity in
    Reporting BLEU Scores" (2018).
    """

    def __init__(self, *, tokenizer: BleuTokenizer = "13a", lowercase: bool = False) -> None:
        metrics = import_sacrebleu().metrics
        # With `force`, sacrebleu does not warn that the text looks tokenized.
        how = {"tokenize": tokenizer, "lowercase": lowercase, "force": tokenizer == "none"}
        self._bleu, self._chrf = metrics.BLEU(**how), metrics.CHRF(lowercase=lowercase)
        self._sentence_bleu = metrics.BLEU(**how, effective_order=True)

    def corpus(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
        """Score all translations together.

        Args:
            hypotheses: The translations.
            references: A list of references for each, all lists of the same length. An empty reference counts
                as missing if the list has others.
        """
        columns: Any = list(map(list, zip(*map(_given, references), strict=True)))
        return Scores(
            self._bleu.corpus_score(hypotheses, columns).score,
            self._chrf.corpus_score(hypotheses, columns).score,
        )

    def sentence(self, hypothesis: str, references: Sequence[str]) -> Scores:
        """Score one translation; BLEU omits n-gram orders longer than the translation."""
        references = [text for text in references if text] or [""]
        return Scores(
            self._sentence_bleu.sentence_score(hypothesis, references).score,
            self._chrf.sentence_score(hypothesis, references).score,
        )

    @property
    def signatures(self) -> tuple[str, str]:
        """The signatures of BLEU and chrF, as cited in papers; available after `corpus`."""
        return str(self._bleu.get_signature()), str(self._chrf.get_signature())


def _given(references: Sequence[str]) -> list[str | None]:
    """Replace missing references by None, which sacrebleu skips."""
    return [text or None for text in references] if any(references) else list(references)


def import_sacrebleu() -> Any:
    """Return the module sacrebleu.

    Raises:
        UserError: It is not installed.
    """
    # Imported here, since translating does not need it.
    try:
        import sacrebleu  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise UserError(
            "BLEU and chrF need sacrebleu, which is not installed; run `pip install 'sru-apps[translate]'`"
        ) from error
    return sacrebleu
