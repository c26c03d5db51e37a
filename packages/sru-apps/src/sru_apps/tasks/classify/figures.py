"""The report on a trained classifier: figures per class, confusion, calibration and the worst mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sru_apps.tasks.classify.calibration import fit_temperature
from sru_apps.tasks.classify.pictures import draw_confusion, draw_reliability, shorten
from sru_apps.tasks.classify.tally import Tally
from sru_apps.train.csv_rows import write_csv
from sru_apps.train.report import Report
from sru_apps.train.strict_json import write_json

_MOST_ROWS = 10


@torch.inference_mode()
def scores(
    network: Any, data: Any, part: str, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """Yield the scores and labels of each batch of a part of the data, and the indices of its texts.

    Args:
        network: The network, in evaluation mode, on the device.
        data: The data, set up.
        part: `validation` or `test`.
        device: Where to compute.
    """
    loader = data.val_dataloader() if part == "validation" else data.test_dataloader()
    for indices in loader.sampler:
        batch = loader.collate([loader.items[index] for index in indices])
        inputs = (None if tensor is None else tensor.to(device) for tensor in batch.inputs)
        yield network(*inputs).float().cpu(), batch.labels, indices


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
        calibrate: Fit a temperature on the validation set first; otherwise the module's own is used.
    """
    network = module.network.eval().to(device)
    multi_label = module.config.multi_label
    temperature = module.exported["temperature"]
    fitted: dict[str, Any] | None = None if temperature == 1 else {"temperature": temperature}
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
    # With one label per text, all micro figures equal the accuracy.
    means = ("micro", "macro", "weighted") if multi_label else ("macro", "weighted")
    lines = _table(found, means) if len(module.label_names) <= _MOST_ROWS else []
    if fitted is not None:
        before, after = tally.raw, tally.calibrated
        lines.append(
            f"temperature {temperature:.3f}, fitted on validation: {part} NLL {before.nll:.4f} becomes "
            f"{after.nll:.4f}, calibration error {100 * before.ece:.1f} % becomes {100 * after.ece:.1f} %"
        )
    lines.append(f"{part} figures per class: {folder}")
    exported = {} if fitted is None else {"temperature": temperature}
    return Report("\n".join(lines), {"macro_f1": found["macro"]["f1"]}, exported)


def _table(found: dict[str, Any], means: Sequence[str]) -> list[str]:
    """Format the figures of each class, in percent, for the console."""
    names = [shorten(row["label"]) for row in found["classes"]]
    width = max(map(len, [*names, "weighted mean"]))
    lines = [f"{'':<{width}}  precision  recall     F1  support"]
    rows = [(name, row, row["support"]) for name, row in zip(names, found["classes"], strict=True)]
    total = sum(row["support"] for row in found["classes"])
    rows += [(f"{mean} mean", found[mean], total) for mean in means]
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
    write_json(folder / "classes.json", {"dataset": dataset, "part": part, **found})
    write_csv(folder / "classes.csv", found["classes"])
    columns, mistakes = _mistakes(tally, names, examples)
    write_csv(folder / "mistakes.csv", [dict(zip(columns, row, strict=True)) for row in mistakes], columns)
    if tally.multi_label:
        hits, predicted, support = (x.tolist() for x in (tally.hits, tally.predicted, tally.support))
        tables = [
            {"label": name, "counts": [[tally.texts - p - s + h, p - h], [s - h, h]]}
            for name, h, p, s in zip(names, hits, predicted, support, strict=True)
        ]
        write_json(folder / "confusion.json", {"dataset": dataset, "part": part, "labels": tables})
    elif tally.confusion is not None:
        counts = tally.confusion
        shares = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
        matrix = {"labels": list(names), "counts": counts.tolist(), "row_normalised": shares.tolist()}
        write_json(folder / "confusion.json", {"dataset": dataset, "part": part, **matrix})
        title = (
            f"{dataset}, {part}: {tally.right:,} of {tally.texts:,} right ({100 * found['accuracy']:.1f} %)"
        )
        draw_confusion(folder / "confusion.png", counts, names, title)


def _mistakes(
    tally: Tally, names: Sequence[str], examples: Sequence[Any]
) -> tuple[list[str], list[list[object]]]:
    """Return the columns and rows of the table of mistakes."""
    pairs = any(examples[wrong.place].pair is not None for wrong in tally.mistakes)
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
    write_json(folder / "calibration.json", content)
    y_label = "share of texts with the label" if tally.multi_label else "share of right predictions"
    draw_reliability(folder / "calibration.png", curves, f"{dataset}, {part}: reliability", y_label)
