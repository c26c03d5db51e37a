"""Exact match and F1 as the official scripts of SQuAD 1.1 and 2.0 compute them; imports no torch."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

Version = Literal["1.1", "2.0"]
"""The rules to use: those of `evaluate-v1.1.py` or of `evaluate-v2.0.py`."""

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Return the normalised form of an answer, in which answers are compared.

    Lower case, without ASCII punctuation, without the words `a`, `an` and `the`, with single spaces. Other
    punctuation, such as `–` and `“`, stays.

    Args:
        text: The answer.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, references: Sequence[str], *, version: Version = "1.1") -> float:
    """Return 1 if a prediction equals one of the references after normalisation, otherwise 0.

    Args:
        prediction: The predicted text; empty for no answer.
        references: The reference answers; none if the question has no answer.
        version: The rules to use. SQuAD 2.0 ignores references that normalise to nothing, such as `.`.
    """
    return _best(_same, prediction, references, version)


def f1(prediction: str, references: Sequence[str], *, version: Version = "1.1") -> float:
    """Return the F1 of the words of a prediction, for the reference with the highest F1.

        precision = common/predicted      recall = common/true
        F1 = 2·precision·recall/(precision + recall)

    Args:
        prediction: The predicted text; empty for no answer.
        references: The reference answers; none if the question has no answer.
        version: The rules to use. If both prediction and reference normalise to nothing, F1 is 0 in SQuAD
            1.1 and 1 in SQuAD 2.0, which uses such a reference only if there is no other.
    """
    return _best(_overlap, prediction, references, version)


def _best(
    score: Callable[[list[str], list[str]], float],
    prediction: str,
    references: Sequence[str],
    version: Version,
) -> float:
    found = normalize_answer(prediction).split()
    truths = [normalize_answer(reference).split() for reference in dict.fromkeys(references)]
    if version == "2.0":
        truths = [truth for truth in truths if truth]
    if truths:
        return max(score(found, truth) for truth in truths)
    return float(not found)


def _same(found: list[str], truth: list[str]) -> float:
    return float(found == truth)


def _overlap(found: list[str], truth: list[str]) -> float:
    common = sum((Counter(found) & Counter(truth)).values())
    if not common:
        return 0.0
    # In the order of the official scripts, so that the result is the same to the last bit.
    precision, recall = common / len(found), common / len(truth)
    return 2 * precision * recall / (precision + recall)


class Threshold(NamedTuple):
    """The no-answer score above which a question is left unanswered, and the resulting score."""

    value: float
    """The threshold."""
    score: float
    """The mean score of all questions with this threshold."""


def best_threshold(
    no_answer: Iterable[float], scores: Iterable[float], answerable: Iterable[bool]
) -> Threshold:
    """Choose the no-answer threshold with the best mean score.

    A question whose no-answer score is above the threshold is left unanswered: it scores 1 if it has no
    answer, otherwise 0. This is the choice of `evaluate-v2.0.py`, except that questions with equal no-answer
    scores stay together, because no threshold separates them, and that a prediction that normalises to
    nothing counts as no answer here too.

    Args:
        no_answer: The no-answer score of each question.
        scores: The score of each prediction, such as its F1.
        answerable: Whether each question has an answer.

    Returns:
        The smallest of the best thresholds: the no-answer score of the last question that is answered. If
        leaving all unanswered is best, the next number below the lowest no-answer score.
    """
    # Among equal no-answer scores, questions that lower the sum come first, so it never peaks between them.
    rows = sorted(zip(no_answer, scores, answerable, strict=True))
    if not rows:
        return Threshold(0.0, math.nan)
    total = best = float(sum(not row[2] for row in rows))
    value = math.nextafter(rows[0][0], -math.inf)
    for na_score, score, has_answer in rows:
        total += score - (not has_answer)
        if total > best:
            best, value = total, na_score
    return Threshold(value, best / len(rows))
