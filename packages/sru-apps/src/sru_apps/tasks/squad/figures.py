"""What readers are compared by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from sru_apps.tasks.squad.scores import Version, best_threshold, exact_match, f1


class AnswerFigures(Metric):
    """Exact match and F1 of answers, as shares: those of the official scripts divided by 100.

    Args:
        version: The official script whose rules count. With `2.0`, a question is answered if its no-answer
            score does not exceed the threshold that gives the best F1.
    """

    full_state_update = False
    rows: list[Tensor]

    def __init__(self, version: Version = "1.1") -> None:
        super().__init__()
        self.version = version
        # Of each question its exact match, its F1, whether it has an answer, and its no-answer score.
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    def update(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        no_answer: Tensor | None = None,
    ) -> None:
        """Add questions.

        Args:
            predictions: The text of the best span of each; empty for no answer.
            references: The right answers of each; none if it has no answer.
            no_answer: (B,) no-answer scores; default: all are answered as predicted.
        """
        doubts = [-math.inf] * len(predictions) if no_answer is None else no_answer.tolist()
        rows = [
            (
                exact_match(prediction, truths, version=self.version),
                f1(prediction, truths, version=self.version),
                float(bool(truths)),
                doubt,
            )
            for prediction, truths, doubt in zip(predictions, references, doubts, strict=True)
        ]
        self.rows.append(torch.tensor(rows, dtype=torch.float64, device=self.device).view(-1, 4))

    def compute(self) -> dict[str, Tensor]:
        """Return `exact_match` and `f1`; with no-answer scores also the `threshold` that was used."""
        rows = dim_zero_cat(self.rows) if len(self.rows) else torch.zeros(0, 4, dtype=torch.float64)
        exact, overlap, answerable, doubt = rows.double().unbind(1)
        if self.version == "1.1" or not (doubt > -math.inf).any():
            return {"exact_match": exact.mean(), "f1": overlap.mean()}
        value, score = best_threshold(doubt.tolist(), overlap.tolist(), (answerable > 0).tolist())
        exact = torch.where(doubt > value, 1 - answerable, exact)
        found = {"exact_match": exact.mean(), "f1": score, "threshold": value}
        return {
            name: torch.as_tensor(x, dtype=torch.float64, device=rows.device) for name, x in found.items()
        }
