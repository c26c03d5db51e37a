"""The report on a trained classifier: figures per class, confusion, calibration and the worst mistakes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_apps.tasks.classify.calibration import Reliability, fit_temperature, probabilities
from sru_apps.tasks.classify.pictures import draw_confusion, draw_reliability, shorten
from sru_apps.train.report import Report
from sru_apps.train.strict_json import dump_json
from sru_data.atomic import atomic_write

MOST_MISTAKES = 100
LARGEST_MATRIX = 500
"""The most classes for which there is a confusion matrix; it would have a million entries for 1,000."""
_MOST_ROWS = 10


class Mistake(NamedTuple):
    """A wrong prediction, in the order in which they are sorted."""

    doubt: float
    """Minus the probability given to what was predicted."""
    place: int
    """The place of the text."""
    label: int
    """The true label; of several, the label that was decided wrongly."""
    predicted: int
    """The predicted label; of several, 1 where the label was given wrongly and 0 where it was missed."""
    truth: float
    """The probability given to the truth."""


class Tally:
    """What is counted of the scores of all texts, batch by batch.

    Args:
        classes: C.
        multi_label: Whether a text may have several labels.
        temperature: What the scores are divided by for the calibrated probabilities.

    Attributes:
        texts: How many there were.
        right: How many texts had their label, or all their labels, predicted.
        hits: (C,) int64, how often each label was predicted rightly.
        predicted: (C,) int64, how often it was predicted.
        support: (C,) int64, how often it was true.
        confusion: (C, C) int64, true label by predicted label; None with several labels or too many classes.
        raw: The calibration of the probabilities as they are.
        calibrated: That with the temperature.
        mistakes: The worst, at most 100.
    """

    def __init__(self, classes: int, *, multi_label: bool = False, temperature: float = 1.0) -> None:
        self.multi_label, self.temperature = multi_label, temperature
        self.texts = self.right = 0
        self.hits, self.predicted, self.support = (torch.zeros(classes, dtype=torch.int64) for _ in range(3))
        self.confusion: Tensor | None = None
        if not multi_label and classes <= LARGEST_MATRIX:
            self.confusion = torch.zeros(classes, classes, dtype=torch.int64)
        self.raw, self.calibrated = Reliability(), Reliability()
        self.mistakes: list[Mistake] = []

    def add(self, logits: Tensor, labels: Tensor, indices: Sequence[int]) -> None:
        """Count a batch.

        Args:
            logits: (B, C) scores.
            labels: (B,) int64, or (B, C) bool with several labels.
            indices: The places of the B texts.
        """
        self.raw.add(logits, labels, 1.0, multi_label=self.multi_label)
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
        for row in (~right).nonzero().flatten().tolist():
            label, wrong = int(labels[row]), int(predicted[row])
            yield Mistake(-float(confidence[row]), indices[row], label, wrong, float(found[row, label]))

    def _add_several(self, found: Tensor, labels: Tensor, indices: Sequence[int]) -> Iterator[Mistake]:
        predicted = found > 0.5
        self.right += int((predicted == labels).all(-1).sum())
        self.hits += (predicted & labels).sum(0)
        self.predicted += predicted.sum(0)
        self.support += labels.sum(0)
        for row, label in (predicted != labels).nonzero().tolist():
            given, p = bool(predicted[row, label]), float(found[row, label])
            doubt, truth = (-p, 1 - p) if given else (p - 1, p)
            yield Mistake(doubt, indices[row], label, int(given), truth)

    def classes(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the figures of each class, and their means, as plain types.

            precision = hits/predicted      recall = hits/support      F1 = 2·hits/(predicted + support)

        What would be divided by zero is 0. The macro mean is over the classes that are true or predicted
        somewhere; the weighted mean counts each as often as it is true; the micro figures are those of the
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


def _figures(hits: Tensor, predicted: Tensor, support: Tensor) -> dict[str, Tensor]:
    """Precision, recall and F1 from counts."""
    return {
        "precision": hits.double() / predicted.clamp(min=1),
        "recall": hits.double() / support.clamp(min=1),
        "f1": 2 * hits.double() / (predicted + support).clamp(min=1),
    }


@torch.inference_mode()
def scores(
    network: Any, data: Any, part: str, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """Yield the scores of each batch of a part of the data, the labels, and the places of the texts.

    Args:
        network: The network, in evaluation mode, on the device.
        data: The data, set up.
        part: `validation` or `test`.
        device: Where to compute.
    """
    loader = data.val_dataloader() if part == "validation" else data.test_dataloader()
    for indices in loader.sampler:
        batch = loader.collate([loader.items[index] for index in indices])
        mask = None if batch.mask is None else batch.mask.to(device)
        yield network(batch.ids.to(device), mask).float().cpu(), batch.labels, indices


def write(
    module: Any, data: Any, folder: Path, *, part: str, device: torch.device, calibrate: bool = False
) -> Report:
    """Measure a classifier class by class and write the files.

    Args:
        module: The trained module.
        data: The data, set up.
        folder: Where `classes.json`, `classes.csv`, `confusion.json`, `confusion.png`, `calibration.json`,
            `calibration.png` and `mistakes.csv` go.
        part: The part of the data to measure on.
        device: Where to compute.
        calibrate: Fit a temperature on the validation set first.
    """
    network = module.network.eval().to(device)
    multi_label = bool(getattr(data.splits, "multi_label", False))
    temperature, fitted = 1.0, None
    if calibrate:
        batches = [(logits, labels) for logits, labels, _ in scores(network, data, "validation", device)]
        logits, labels = map(torch.cat, zip(*batches, strict=True))
        temperature = fit_temperature(logits, labels)
        fitted = {"temperature": temperature, "part": "validation", "examples": len(labels)}
    tally = Tally(len(module.label_names), multi_label=multi_label, temperature=temperature)
    for logits, labels, indices in scores(network, data, part, device):
        tally.add(logits, labels, indices)
    module.to("cpu")
    found = tally.classes(module.label_names)
    _write_files(folder, tally, found, module.label_names, getattr(data.splits, part), (data.dataset, part))
    _write_calibration(folder, tally, (data.dataset, part), fitted)
    lines = _table(found) if len(module.label_names) <= _MOST_ROWS else []
    if fitted is not None:
        before, after = tally.raw, tally.calibrated
        lines.append(
            f"temperature {temperature:.3f}, fitted on validation: {part} NLL {before.nll:.4f} becomes "
            f"{after.nll:.4f}, calibration error {100 * before.ece:.1f} % becomes {100 * after.ece:.1f} %"
        )
    lines.append(f"{part} figures per class: {folder}")
    exported = {} if fitted is None else {"temperature": temperature}
    return Report("\n".join(lines), {"macro_f1": found["macro"]["f1"]}, exported)


def _table(found: dict[str, Any]) -> list[str]:
    """Format the figures of each class, in percent, for the console."""
    names = [shorten(row["label"]) for row in found["classes"]]
    width = max(map(len, [*names, "weighted mean"]))
    lines = [f"{'':<{width}}  precision  recall     F1  support"]
    rows = [(name, row, row["support"]) for name, row in zip(names, found["classes"], strict=True)]
    total = sum(row["support"] for row in found["classes"])
    rows += [(f"{mean} mean", found[mean], total) for mean in ("macro", "weighted")]
    for name, row, support in rows:
        precision, recall, f1 = (100 * row[key] for key in ("precision", "recall", "f1"))
        lines.append(f"{name:<{width}}  {precision:9.1f}  {recall:6.1f}  {f1:5.1f}  {support:7,}")
    return lines


def _write_files(
    folder: Path,
    tally: Tally,
    found: dict[str, Any],
    names: Sequence[str],
    examples: Sequence[Any],
    place: tuple[str, str],
) -> None:
    dataset, part = place
    _write_json(folder / "classes.json", {"dataset": dataset, "part": part, **found})
    _write_csv(folder / "classes.csv", list(found["classes"][0]), [row.values() for row in found["classes"]])
    _write_csv(folder / "mistakes.csv", *_mistakes(tally, names, examples))
    if tally.multi_label:
        hits, predicted, support = (x.tolist() for x in (tally.hits, tally.predicted, tally.support))
        tables = [
            {"label": name, "counts": [[tally.texts - p - s + h, p - h], [s - h, h]]}
            for name, h, p, s in zip(names, hits, predicted, support, strict=True)
        ]
        _write_json(folder / "confusion.json", {"dataset": dataset, "part": part, "labels": tables})
    elif tally.confusion is not None:
        counts = tally.confusion
        shares = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
        matrix = {"labels": list(names), "counts": counts.tolist(), "row_normalised": shares.tolist()}
        _write_json(folder / "confusion.json", {"dataset": dataset, "part": part, **matrix})
        title = (
            f"{dataset}, {part}: {tally.right:,} of {tally.texts:,} right ({100 * found['accuracy']:.1f} %)"
        )
        draw_confusion(folder / "confusion.png", counts, names, title)


def _mistakes(
    tally: Tally, names: Sequence[str], examples: Sequence[Any]
) -> tuple[list[str], list[list[object]]]:
    """Return the columns and rows of the table of mistakes."""
    pairs = any(getattr(example, "pair", None) is not None for example in examples)
    columns = ["text", *(["pair"] if pairs else []), "label", "predicted"]
    columns += ["label_probability", "predicted_probability"]
    rows: list[list[object]] = []
    for wrong in tally.mistakes:
        example = examples[wrong.place]
        predicted = ("not given", "given")[wrong.predicted] if tally.multi_label else names[wrong.predicted]
        texts = [example.text, *([example.pair] if pairs else [])]
        shown = [f"{wrong.truth:.6f}", f"{-wrong.doubt:.6f}"]
        rows.append([*texts, names[wrong.label], predicted, *shown])
    return columns, rows


def _write_calibration(
    folder: Path, tally: Tally, place: tuple[str, str], fitted: dict[str, Any] | None
) -> None:
    dataset, part = place
    curves = {"uncalibrated" if fitted else "predictions": tally.raw}
    content = {"dataset": dataset, "part": part, "examples": tally.texts, **tally.raw.as_dict()}
    if fitted is not None:
        curves[f"temperature {fitted['temperature']:.2f}"] = tally.calibrated
        content["calibrated"] = {**fitted, **tally.calibrated.as_dict()}
    _write_json(folder / "calibration.json", content)
    y_label = "share of texts with the label" if tally.multi_label else "share of right predictions"
    draw_reliability(folder / "calibration.png", curves, f"{dataset}, {part}: reliability", y_label)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path) as file:
        file.write((dump_json(content, indent=2) + "\n").encode())


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Any]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
