"""How reliable the probabilities of a classifier are, and the temperature that corrects them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

BINS = 15
_LOWEST, _HIGHEST = 0.05, 20.0


def probabilities(logits: Tensor, temperature: float = 1.0, *, multi_label: bool = False) -> Tensor:
    """Turn scores into probabilities, in float64.

        p = softmax(logits/temperature), or sigmoid(logits/temperature) for each label separately

    Args:
        logits: (B, C) scores.
        temperature: Values above 1 move probabilities away from 0 and 1.
        multi_label: Whether a text may have several labels.

    Returns:
        (B, C) float64.
    """
    scores = logits.double() / temperature
    return scores.sigmoid() if multi_label else scores.softmax(-1)


class Reliability:
    """Predicted probabilities compared with outcomes.

        ECE = Σ_bins (n_b/n) |accuracy_b − confidence_b|        over 15 bins of equal width

    With one label per text, only the predicted label's probability is counted; with several, every label's.

    Source: Guo et al., "On Calibration of Modern Neural Networks" (2017), section 2.

    Attributes:
        count: (15,) int64 predictions in each bin.
        confidence: (15,) float64, the sum of their probabilities.
        right: (15,) int64, the number that were correct.
    """

    def __init__(self) -> None:
        self.count = torch.zeros(BINS, dtype=torch.int64)
        self.confidence = torch.zeros(BINS, dtype=torch.float64)
        self.right = torch.zeros(BINS, dtype=torch.int64)
        self._nats = 0.0
        self._texts = 0

    def add(self, logits: Tensor, labels: Tensor, temperature: float, *, multi_label: bool) -> None:
        """Add a batch.

        Args:
            logits: (B, C) scores.
            labels: (B,) int64, or (B, C) bool.
            temperature: As for `probabilities`.
            multi_label: As for `probabilities`.
        """
        found = probabilities(logits, temperature, multi_label=multi_label)
        self._nats += float(nll(logits, labels, temperature)) * len(labels)
        self._texts += len(labels)
        if multi_label:
            confidence, right = found.flatten(), labels.flatten()
        else:
            confidence, predicted = found.max(-1)
            right = predicted == labels
        place = (confidence * BINS).long().clamp(0, BINS - 1)
        self.count += torch.bincount(place, minlength=BINS)
        self.confidence += torch.zeros(BINS, dtype=torch.float64).index_add_(0, place, confidence)
        self.right += torch.bincount(place[right], minlength=BINS)

    @property
    def nll(self) -> float:
        """The mean negative log-likelihood, in nats."""
        return self._nats / self._texts if self._texts else math.nan

    @property
    def ece(self) -> float:
        """The expected calibration error."""
        total = int(self.count.sum())
        return float((self.right - self.confidence).abs().sum()) / total if total else math.nan

    def as_dict(self) -> dict[str, Any]:
        """Return the figures and the non-empty bins, as plain types."""
        rows = zip(self.count.tolist(), self.confidence.tolist(), self.right.tolist(), strict=True)
        bins = [
            {
                "from": place / BINS,
                "to": (place + 1) / BINS,
                "count": count,
                "confidence": confidence / count,
                "accuracy": right / count,
            }
            for place, (count, confidence, right) in enumerate(rows)
            if count
        ]
        return {"nll": self.nll, "ece": self.ece, "bins": bins}


def nll(logits: Tensor, labels: Tensor, temperature: Tensor | float = 1.0) -> Tensor:
    """The mean negative log-likelihood of labels, in float64; with several labels per text, over all labels.

    Args:
        logits: (B, C) scores.
        labels: (B,) int64, or (B, C) bool.
        temperature: The divisor of the scores.
    """
    scores = logits.double() / temperature
    if labels.ndim == 2:
        return F.binary_cross_entropy_with_logits(scores, labels.double())
    return F.cross_entropy(scores, labels)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Find the temperature with the least negative log-likelihood, by L-BFGS on its logarithm.

    It is kept between 0.05 and 20: if every label is right, the likelihood alone would drive it to 0.

    Args:
        logits: (N, C) scores.
        labels: (N,) int64, or (N, C) bool.

    Returns:
        The temperature; 1 without texts.
    """
    if not len(labels):
        return 1.0
    # The command may have disabled gradients for its measurements.
    with torch.inference_mode(False), torch.enable_grad():
        scores, truth = logits.clone(), labels.clone()
        logarithm = torch.zeros((), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [logarithm], max_iter=100, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
        )
        bounds = math.log(_LOWEST), math.log(_HIGHEST)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = nll(scores, truth, logarithm.clamp(*bounds).exp())
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return float(logarithm.detach().clamp(*bounds).exp())
