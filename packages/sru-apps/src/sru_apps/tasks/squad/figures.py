"""The figures for comparing readers, and the report on a trained reader."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from sru_apps.tasks.squad.answers import answer_of, decode
from sru_apps.tasks.squad.groups import Groups, Measured, table, write_files
from sru_apps.tasks.squad.metrics import Version, best_threshold, exact_match, f1
from sru_apps.train.report import Report
from sru_apps.train.strict_json import write_json


class AnswerFigures(Metric):
    """Exact match and F1 of answers, as shares: those of the official scripts divided by 100.

    Args:
        version: The official script whose rules are used.
        threshold: The no-answer score above which a question is left unanswered; default: the one with the
            best F1.
    """

    full_state_update = False
    rows: list[Tensor]

    def __init__(self, version: Version = "1.1", *, threshold: float | None = None) -> None:
        super().__init__()
        self.version, self.threshold = version, threshold
        # For each question its exact match, its F1, whether it has an answer, and its no-answer score.
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
            references: The reference answers of each; none if it has no answer.
            no_answer: (B,) no-answer scores; default: all are answered as predicted.
        """
        na_scores = [-math.inf] * len(predictions) if no_answer is None else no_answer.tolist()
        rows = [
            (
                exact_match(prediction, truths, version=self.version),
                f1(prediction, truths, version=self.version),
                float(bool(truths)),
                na_score,
            )
            for prediction, truths, na_score in zip(predictions, references, na_scores, strict=True)
        ]
        self.rows.append(torch.tensor(rows, dtype=torch.float64, device=self.device).view(-1, 4))

    def compute(self) -> dict[str, Tensor]:
        """Return `exact_match` and `f1`; with no-answer scores also the `threshold` that was used."""
        exact, overlap, answerable, na_score = dim_zero_cat(self.rows).unbind(1)
        found = {}
        if (na_score > -math.inf).any():
            value = self.threshold
            if value is None:
                value = best_threshold(na_score.tolist(), overlap.tolist(), answerable.tolist()).value
            exact, overlap = (torch.where(na_score > value, 1 - answerable, x) for x in (exact, overlap))
            found = {"threshold": exact.new_tensor(value)}
        return {"exact_match": exact.mean(), "f1": overlap.mean(), **found}


def write(module: Any, data: Any, folder: Path, *, part: str, device: torch.device) -> Report:
    """Answer the questions of a part of the data, measure the answers and write the files.

    A model with a no-answer score leaves a question unanswered if that score exceeds the threshold with the
    best F1 on the validation set.

    Args:
        module: The trained module.
        data: The data, set up.
        folder: Where `predictions.json` in the official form, `questions.csv`, `groups.json`, `groups.csv`
            and `groups.png` go, and with a no-answer score `null_odds.json`.
        part: The part of the data to measure on.
        device: Where to compute.
    """
    module.network.eval().to(device)
    exported: dict[str, Any] = {}
    questions, found = data.parts[part], list(_answered(module, data, part, device))
    threshold = module.exported["threshold"] if module.config.no_answer else None
    if module.config.no_answer and threshold is None:
        validation = found if part == "validation" else list(_answered(module, data, "validation", device))
        threshold = exported["threshold"] = _choose_threshold(validation, data.parts["validation"])
    groups, rows = Groups(), {}
    for answered in found:
        row, context = _measure(answered, questions, threshold)
        rows[answered.index] = row
        groups.add(row, context)
    module.to("cpu")
    in_order = [rows[index] for index in sorted(rows)]
    figures = groups.figures()
    write_json(folder / "predictions.json", {row.id: row.prediction for row in in_order})
    if threshold is not None:
        figures["threshold"] = threshold
        write_json(folder / "null_odds.json", {row.id: row.no_answer for row in in_order})
    write_files(folder, in_order, figures, dataset=data.dataset, part=part)
    lines = table(figures, ["answerable", "question type"])
    if threshold is not None:
        lines.append(f"unanswered where the no-answer score is above {threshold:.3f}")
    lines.append(f"{part} figures by question, answer and passage: {folder}")
    return Report("\n".join(lines), {name: figures[name] for name in ("exact_match", "f1")}, exported)


class _Answered(NamedTuple):
    """The best span of a question, and its probability."""

    index: int  # type: ignore[assignment]  # hides the method of tuples
    start: int
    end: int
    probability: float
    na_score: float | None = None
    na_probability: float = 0.0


@torch.inference_mode()
def _answered(module: Any, data: Any, part: str, device: torch.device) -> Iterator[_Answered]:
    """Yield the questions of a part in batches of similar length."""
    for batch in data.val_dataloader() if part == "validation" else data.test_dataloader():
        inputs = (None if tensor is None else tensor.to(device) for tensor in batch.inputs)
        scores = module.network(type(batch.inputs)(*inputs))
        spans, sure, *of_none = decode(*scores, max_length=module.config.max_answer)
        columns = [batch.index, spans.start[:, 0], spans.end[:, 0], sure[:, 0]]
        columns += [column for column in of_none if column is not None]
        yield from map(_Answered, *(column.tolist() for column in columns))


def _measure(answered: _Answered, questions: Any, threshold: float | None) -> tuple[Measured, str]:
    """Score an answer after applying a threshold, and return it with its passage."""
    text = questions.text(answered.index)
    start, p, na_score = answered.start, answered.probability, answered.na_score
    if na_score is not None and threshold is not None and na_score > threshold:
        start, p = -1, answered.na_probability
    prediction, begin, after = answer_of(text, start, answered.end)
    version: Version = "1.1" if na_score is None else "2.0"
    exact = exact_match(prediction, text.answers, version=version)
    overlap = f1(prediction, text.answers, version=version)
    asked = (text.id, text.question, prediction, text.answers)
    return Measured(*asked, exact, overlap, p, begin, after, na_score), text.context


def _choose_threshold(found: Iterable[_Answered], questions: Any) -> float:
    rows = [_measure(answered, questions, None)[0] for answered in found]
    columns = zip(*((row.no_answer, row.f1, bool(row.references)) for row in rows), strict=True)
    return best_threshold(*columns).value
