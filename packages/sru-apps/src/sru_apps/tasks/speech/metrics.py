"""Error rates of transcripts, computed by jiwer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from sru_apps.train.errors import UserError

Rate = Literal["wer", "cer", "per"]
UNITS = ("characters", "words", "phones", "subwords")
"""What a symbol of a transcript may be."""


def rates_of(unit: str) -> tuple[Rate, ...]:
    """Return the error rates for transcripts in a unit, the figure of merit first.

    Args:
        unit: What a symbol of the alphabet is.
    """
    return ("per",) if unit == "phones" else ("wer", "cer")


class Errors(NamedTuple):
    """How a transcript differs from the reference, in words, phones or characters."""

    substitutions: int
    deletions: int
    insertions: int
    length: int
    """The length of the reference."""

    @property
    def count(self) -> int:  # type: ignore[override]  # hides the method of tuples
        """The number of errors."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """The errors per word of the reference; the number of errors if the reference is empty."""
        return self.count / max(1, self.length)


def total(errors: Iterable[Errors]) -> Errors:
    """Add up errors."""
    return Errors(*map(sum, zip(Errors(0, 0, 0, 0), *errors, strict=True)))


def count_errors(rate: Rate, references: Sequence[str], hypotheses: Sequence[str]) -> Errors:
    """Count the errors of transcripts, over all of them.

    Args:
        rate: What to count: `wer` and `per` count items between white space, `cer` characters, including
            the spaces between words.
        references: The true transcripts.
        hypotheses: The transcripts to score, one per reference.

    Raises:
        UserError: jiwer is not installed.
    """
    jiwer = import_jiwer()
    process = jiwer.process_characters if rate == "cer" else jiwer.process_words
    references, hypotheses = (
        [" ".join(text.split()) for text in texts] for texts in (references, hypotheses)
    )
    found = process(references, hypotheses)
    length = found.hits + found.substitutions + found.deletions
    return Errors(found.substitutions, found.deletions, found.insertions, length)


def alignment(reference: str, hypothesis: str) -> str:
    """Write a transcript below its reference, word by word: S, D and I mark the errors.

    Args:
        reference: The true transcript.
        hypothesis: The transcript to compare with it.

    Returns:
        Lines with their ends.
    """
    jiwer = import_jiwer()
    found = jiwer.process_words([" ".join(reference.split())], [" ".join(hypothesis.split())])
    text = jiwer.visualize_alignment(found, show_measures=False, skip_correct=False)
    # The first line is the number of the utterance.
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines()[1:] if line.strip())


class ErrorRates:
    """Adds up the errors of utterances.

    Args:
        rates: The error rates to compute.
    """

    def __init__(self, rates: Sequence[Rate]) -> None:
        self._rates = rates
        self.reset()

    def reset(self) -> None:
        """Reset the errors."""
        self.errors = dict.fromkeys(self._rates, Errors(0, 0, 0, 0))

    def update(self, references: Sequence[str], hypotheses: Sequence[str]) -> None:
        """Add utterances."""
        for rate, errors in self.errors.items():
            more = count_errors(rate, references, hypotheses)
            self.errors[rate] = total([errors, more])

    def compute(self) -> dict[str, float]:
        """Return each rate over all utterances."""
        return {rate: errors.rate for rate, errors in self.errors.items()}


def import_jiwer() -> Any:
    """Return the module jiwer.

    Raises:
        UserError: jiwer is not installed.
    """
    # Imported here because transcribing does not need it.
    try:
        import jiwer  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise UserError(
            "error rates need jiwer, which is not installed; run `pip install 'sru-apps[speech]'`"
        ) from error
    return jiwer
