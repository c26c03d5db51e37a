"""Counts over a classifier's scores, batch by batch, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_apps.tasks.classify.calibration import Reliability, probabilities

MOST_MISTAKES = 100
LARGEST_MATRIX = 500
"""The maximum number of classes for a confusion matrix; 1,000 classes would need a million entries."""


class Mistake(NamedTuple):
    """A wrong prediction; mistakes are sorted by these fields."""

    doubt: float
    """Minus the probability of the prediction."""
    place: int
    """The index of the text."""
    label: int
    """The true label; with several labels, the one that was decided wrongly."""
    predicted: int
    """The predicted label; with several labels, 1 if the label was given wrongly and 0 if it was missed."""
    truth: float
    """The probability of the truth."""


class Tally:
    """Counts over the scores of all texts, batch by batch.

    Args:
        classes: C.
        multi_label: Whether a text may have several labels.
        temperature: The divisor of the scores for the calibrated probabilities.

    Attributes:
        texts: The number of texts.
        right: How many texts had their label, or all their labels, predicted.
        hits: (C,) int64, how often each label was predicted rightly.
        predicted: (C,) int64, how often it was predicted.
        support: (C,) int64, how often it was true.
        confusion: (C, C) int64, true label by predicted label; None with several labels or too many classes.
        raw: The calibration of the probabilities as they are.
        calibrated: The same with the temperature.
        mistakes: The worst mistakes, at most 100.
    """

    def __init__(self, classes: int, *, multi_label: bool = False, temperature: float = 1.0) -> None:
        self.multi_label, self.temperature = multi_label, temperature
        self.texts = self.right = 0
        self.hits, self.predicted, self.support = (torch.zeros(classes, dtype=torch.int64) for _ in range(3))
        self.confusion: Tensor | None = None
        if not multi_label and classes <= LARGEST_MATRIX:
            self.confusion = torch.zeros(classes, classes, dtype=torch.int64)
        self.raw = Reliability()
        self.calibrated = self.raw if temperature == 1 else Reliability()
        self.mistakes: list[Mistake] = []

    def add(self, logits: Tensor, labels: Tensor, indices: Sequence[int]) -> None:
        """Count a batch.

        Args:
            logits: (B, C) scores.
            labels: (B,) int64, or (B, C) bool with several labels.
            indices: The indices of the B texts.
        """
        self.raw.add(logits, labels, 1.0, multi_label=self.multi_label)
        if self.calibrated is not self.raw:
            self.calibrated.add(logits, labels, self.temperature, multi_label=self.multi_label)
        found = probabilities(logits, self.temperature, multi_label=self.multi_label)
        self.texts += len(labels)
        add = self._add_several if self.multi_label else self._add_one
        self.mistakes = sorted([*self.mistakes, *add(found, labels, indices)])[:MOST_MISTAKES]

    def _add_one(self, found: Tensor, labels: Tensor, indices: Sequence[int]) -> Iterator[Mistake]:
        confidence, predicted = found.max(-1)
        right = predicted == labels
        classes = len(self.support)
        self.right += int(right.sum())
        self.hits += torch.bincount(labels[right], minlength=classes)
        self.predicted += torch.bincount(predicted, minlength=classes)
        self.support += torch.bincount(labels, minlength=classes)
        if self.confusion is not None:
            cells = torch.bincount(labels * classes + predicted, minlength=classes**2)
            self.confusion += cells.view(classes, classes)
        wrong_rows = (~right).nonzero().flatten()
        for row in wrong_rows[_largest(confidence[wrong_rows])].tolist():
            label, wrong = int(labels[row]), int(predicted[row])
            yield Mistake(-float(confidence[row]), indices[row], label, wrong, float(found[row, label]))

    def _add_several(self, found: Tensor, labels: Tensor, indices: Sequence[int]) -> Iterator[Mistake]:
        predicted = found > 0.5
        self.right += int((predicted == labels).all(-1).sum())
        self.hits += (predicted & labels).sum(0)
        self.predicted += predicted.sum(0)
        self.support += labels.sum(0)
        wrong = (predicted != labels).nonzero()
        probability = found[wrong.unbind(1)]
        for row, label in wrong[_largest(torch.maximum(probability, 1 - probability))].tolist():
            given, p = bool(predicted[row, label]), float(found[row, label])
            doubt, truth = (-p, 1 - p) if given else (p - 1, p)
            yield Mistake(doubt, indices[row], label, int(given), truth)

    def classes(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the figures of each class, and their means, as plain types.

            precision = hits/predicted      recall = hits/support      F1 = 2·hits/(predicted + support)

        A division by zero results in 0. The macro mean is over classes that occur as a label or prediction;
        the weighted mean weights each class by how often it is true; the micro figures are computed from the
        sums over all classes.
        """
        figures = _figures(self.hits, self.predicted, self.support)
        seen = (self.predicted + self.support) > 0
        share = self.support.double() / self.support.sum().clamp(min=1)
        columns = {
            "label": list(names),
            **{name: values.tolist() for name, values in figures.items()},
            "support": self.support.tolist(),
            "predicted": self.predicted.tolist(),
        }
        rows = zip(*columns.values(), strict=True)
        micro = _figures(self.hits.sum(), self.predicted.sum(), self.support.sum())
        return {
            "examples": self.texts,
            "accuracy": self.right / max(1, self.texts),
            "classes": [dict(zip(columns, row, strict=True)) for row in rows],
            "macro": {
                name: float(values[seen].mean()) if seen.any() else 0.0 for name, values in figures.items()
            },
            "micro": {name: float(value) for name, value in micro.items()},
            "weighted": {name: float((values * share).sum()) for name, values in figures.items()},
        }


def _largest(probabilities: Tensor) -> Tensor:
    """Return the indices of the largest, at most `MOST_MISTAKES`; ties keep their order."""
    return probabilities.argsort(descending=True, stable=True)[:MOST_MISTAKES]


def _figures(hits: Tensor, predicted: Tensor, support: Tensor) -> dict[str, Tensor]:
    """Precision, recall and F1 from counts."""
    return {
        "precision": hits.double() / predicted.clamp(min=1),
        "recall": hits.double() / support.clamp(min=1),
        "f1": 2 * hits.double() / (predicted + support).clamp(min=1),
    }
