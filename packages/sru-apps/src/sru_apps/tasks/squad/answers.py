"""Answers from the scores of a reader: the best spans, their probabilities, and whether there is one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from sru_data.question_files import QuestionText


class Spans(NamedTuple):
    """The k best spans of each passage, best first."""

    scores: Tensor
    """(B, k) floating point; -inf where there are fewer than k spans."""
    start: Tensor
    """(B, k) int64, the first token; -1 where there is none."""
    end: Tensor
    """(B, k) int64, the last token; -1 where there is none."""


def best_spans(start_log: Tensor, end_log: Tensor, *, max_length: int, k: int = 1) -> Spans:
    """Find the k spans with the highest scores, exactly.

        score(i, j) = start_log[i] + end_log[j]      i <= j < i + max_length

    Among equal scores the span that starts first comes first, then the shorter one. Spans whose scores are
    not finite, as at padding or from a diverged model, are skipped.

    Args:
        start_log: (B, T) scores of the first token, in any floating-point type.
        end_log: (B, T) scores of the last token.
        max_length: The maximum number of tokens in a span.
        k: How many spans to find.

    Returns:
        The spans, with scores in float32, or float64 if the arguments are.

    Raises:
        ValueError: The shapes differ, or `max_length` or `k` is not positive.
    """
    if k < 1:
        raise ValueError(f"best_spans: k must be at least 1, got {k}")
    start_log, end_log, lengths = _checked(start_log, end_log, max_length)
    ends = _windows(end_log, lengths)
    # The best score at each start; the k best spans have their starts among the k best.
    best = (
        start_log + F.max_pool1d(F.pad(end_log, (0, lengths - 1), value=-math.inf)[:, None], lengths, 1)[:, 0]
    )
    starts = _first_largest(best, k).sort(1).values
    table = start_log.gather(1, starts)[:, :, None] + ends.gather(
        1, starts[:, :, None].expand(-1, -1, lengths)
    )
    place = _first_largest(table.flatten(1), k)
    scores = table.flatten(1).gather(1, place)
    start = starts.gather(1, place.div(lengths, rounding_mode="floor"))
    none, rest = scores == -math.inf, (0, k - place.shape[1])
    start, end = (part.masked_fill(none, -1) for part in (start, start + place % lengths))
    return Spans(
        F.pad(scores, rest, value=-math.inf), *(F.pad(part, rest, value=-1) for part in (start, end))
    )


def span_probabilities(
    spans: Spans, start_log: Tensor, end_log: Tensor, *, max_length: int, none: Tensor | None = None
) -> Tensor:
    """Return the probabilities of spans, which are comparable within a passage and between passages.

        p(i, j) = exp(score(i, j))/Z      Z = exp(none) + sum of exp(score) over all valid spans

    They are normalised over all spans of the example that `best_spans` may choose, and over no answer if
    the model scores it, so unlike products of start and end probabilities they add up to 1.

    Args:
        spans: The result of `best_spans`.
        start_log: (B, T), as passed to `best_spans`.
        end_log: (B, T), as passed to `best_spans`.
        max_length: The maximum number of tokens in a span.
        none: (B,) score of no answer, on the scale of a span's.

    Returns:
        (B, k) probabilities; 0 where there is no span.
    """
    start_log, end_log, lengths = _checked(start_log, end_log, max_length)
    # Relative to the best score, because large sums lose precision.
    best = spans.scores[:, :1].nan_to_num(neginf=0.0)
    table = (start_log[:, :, None] + _windows(end_log, lengths)).flatten(1)
    total = (table - best).logsumexp(1, keepdim=True)
    if none is not None:
        total = torch.logaddexp(total, none.to(total.dtype)[:, None] - best)
    found = (spans.scores - best - total).exp()
    return found.masked_fill(spans.start < 0, 0.0)


def no_answer_probability(start_log: Tensor, end_log: Tensor, none: Tensor, *, max_length: int) -> Tensor:
    """Return the probability that there is no answer: 1 minus the sum over all spans.

    Args:
        start_log: (B, T) scores of the first token.
        end_log: (B, T) scores of the last token.
        none: (B,) score of no answer, on the scale of a span's.
        max_length: The maximum number of tokens in a span.

    Returns:
        (B,) exp(none)/Z, with the Z of `span_probabilities`.
    """
    place = torch.zeros_like(none, dtype=torch.int64)[:, None]
    as_span = Spans(none[:, None].to(torch.promote_types(none.dtype, torch.float32)), place, place)
    return span_probabilities(as_span, start_log, end_log, max_length=max_length, none=none)[:, 0]


def no_answer_score(spans: Spans, none: Tensor) -> Tensor:
    """Return how much better no answer is than the best span: the `na_prob` of the official script.

    Args:
        spans: The result of `best_spans`.
        none: (B,) score of no answer, on the scale of a span's.

    Returns:
        (B,) `none - best score`, on the scale of logits; inf where there is no span.
    """
    return none.to(spans.scores.dtype) - spans.scores[:, 0]


class Decoded(NamedTuple):
    """The answers of a reader, and their probabilities."""

    spans: Spans
    """The best spans."""
    probabilities: Tensor
    """(B, k) probabilities of the spans."""
    na_score: Tensor | None
    """(B,) no-answer scores; None for a model without."""
    na_probability: Tensor | None
    """(B,) probabilities of no answer; None for a model without."""


def decode(
    start_log: Tensor, end_log: Tensor, none: Tensor | None, *, max_length: int, k: int = 1
) -> Decoded:
    """Find the k best spans, and the probabilities of these and of no answer.

    Args:
        start_log: (B, T) scores of the first token.
        end_log: (B, T) scores of the last token.
        none: (B,) score of no answer; None for a model without.
        max_length: The maximum number of tokens in a span.
        k: How many spans to find.
    """
    spans = best_spans(start_log, end_log, max_length=max_length, k=k)
    sure = span_probabilities(spans, start_log, end_log, max_length=max_length, none=none)
    if none is None:
        return Decoded(spans, sure, None, None)
    na_probability = no_answer_probability(start_log, end_log, none, max_length=max_length)
    return Decoded(spans, sure, no_answer_score(spans, none), na_probability)


def answer_of(text: QuestionText, start: int, end: int) -> tuple[str, int | None, int | None]:
    """Return the answer at a span, and the characters of the passage at which it begins and ends.

    Args:
        text: The question with its passage.
        start: The first token of the span; -1 for no answer.
        end: The last token.
    """
    if start < 0:
        return "", None, None
    first, after = text.starts[start], text.ends[end]
    return text.context[first:after], first, after


def _checked(start_log: Tensor, end_log: Tensor, max_length: int) -> tuple[Tensor, Tensor, int]:
    """Return the scores in float32 or float64, with -inf if not finite, and the maximum length of a span."""
    if start_log.dim() != 2 or start_log.shape != end_log.shape or not start_log.shape[1]:
        raise ValueError(
            "best_spans: start_log and end_log must have the same shape (B, T) with T > 0, got "
            f"{tuple(start_log.shape)} and {tuple(end_log.shape)}"
        )
    if max_length < 1:
        raise ValueError(f"best_spans: max_length must be at least 1, got {max_length}")
    start_log, end_log = (
        torch.where(part.isfinite(), part if part.dtype == torch.float64 else part.float(), -math.inf)
        for part in (start_log, end_log)
    )
    return start_log, end_log, min(max_length, start_log.shape[1])


def _windows(end_log: Tensor, lengths: int) -> Tensor:
    """View the scores as (B, T, L): the end scores of the spans that start at each token."""
    return F.pad(end_log, (0, lengths - 1), value=-math.inf).unfold(1, lengths, 1)


def _first_largest(scores: Tensor, k: int) -> Tensor:
    """Return the indices of the k largest scores of each row, largest first; ties keep their order."""
    if k == 1:
        return scores.argmax(1, keepdim=True)
    return scores.sort(dim=1, descending=True, stable=True).indices[:, :k]
