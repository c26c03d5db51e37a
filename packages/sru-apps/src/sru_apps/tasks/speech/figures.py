"""The report on a trained model: every utterance with its errors, or which labels are confused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_apps.tasks.classify.pictures import draw_confusion
from sru_apps.tasks.classify.tally import Tally
from sru_apps.tasks.speech.metrics import Errors, alignment, count_errors, rates_of, total
from sru_apps.tasks.speech.model import SPECIAL
from sru_apps.train.csv_rows import write_csv
from sru_apps.train.report import Report
from sru_apps.train.strict_json import write_json
from sru_data.atomic import atomic_write


class Measured(NamedTuple):
    """An utterance with its transcript."""

    id: str
    speaker: str
    reference: str
    hypothesis: str
    errors: Errors


def write(module: Any, data: Any, folder: Path, *, part: str, device: torch.device) -> Report:
    """Transcribe, or label, the utterances of a part of the data and write the files.

    Args:
        module: The trained module.
        data: The data, set up.
        folder: Where `utterances.tsv`, `alignments.txt` and `speakers.csv` go; for labels, `clips.csv`,
            `classes.json`, `classes.csv`, `confusion.json` and `confusion.png`.
        part: The part of the data to measure on.
        device: Where to compute.
    """
    module.network.eval().to(device)
    outputs = _outputs(module, data, part, device)
    if module.config.classify:
        report = _labels(outputs, data, folder, part)
    else:
        decoding = data.decoding(module.config)
        texts = [
            (index, text)
            for (logits, mask), indices in outputs
            for index, text in zip(indices, decoding.texts(logits, mask), strict=True)
        ]
        report = _transcripts(sorted(texts), data, folder, part)
    module.to("cpu")
    return report


@torch.inference_mode()
def _outputs(
    module: Any, data: Any, part: str, device: torch.device
) -> Iterator[tuple[tuple[Tensor, Tensor | None], list[int]]]:
    """Yield the network's output for each batch, and the indices of the utterances."""
    for batch in data.val_dataloader() if part == "validation" else data.test_dataloader():
        mask = None if batch.mask is None else batch.mask.to(device)
        yield module.network(batch.features.to(device), mask), batch.index.tolist()


def _transcripts(texts: list[tuple[int, str]], data: Any, folder: Path, part: str) -> Report:
    (rate, *_) = rates_of(data.unit_of_symbols)
    rows = []
    for index, hypothesis in texts:
        utterance, reference = data.utterance(part, index), data.transcript(part, index)
        errors = count_errors(rate, [reference], [hypothesis])
        rows.append(Measured(utterance.id, utterance.speaker or "", reference, hypothesis, errors))
    columns = ("id", "speaker", "errors", "length", "reference", "hypothesis")
    with atomic_write(folder / "utterances.tsv") as file:
        file.write(("\t".join(columns) + "\n").encode())
        for row in rows:
            cells = (row.id, row.speaker, row.errors.count, row.errors.length, row.reference, row.hypothesis)
            file.write(("\t".join(" ".join(str(cell).split()) for cell in cells) + "\n").encode())
    with atomic_write(folder / "alignments.txt") as file:
        for row in rows:
            head = f"{row.id}: {row.errors.count} of {row.errors.length} wrong\n"
            file.write((head + alignment(row.reference, row.hypothesis) + "\n").encode())
    if any(row.speaker for row in rows):
        write_csv(folder / "speakers.csv", _by_speaker(rows))
    summed = total(row.errors for row in rows)
    words = "phones" if rate == "per" else "words"
    lines = [
        f"{part}: {summed.length:,} {words}, {summed.substitutions:,} substituted, {summed.deletions:,} "
        f"deleted, {summed.insertions:,} inserted",
        f"{part} transcripts and alignments: {folder}",
    ]
    return Report("\n".join(lines))


def _by_speaker(rows: list[Measured]) -> list[dict[str, object]]:
    errors: dict[str, list[Errors]] = {}
    for row in rows:
        errors.setdefault(row.speaker, []).append(row.errors)
    found: list[dict[str, object]] = []
    for speaker, own in sorted(errors.items()):
        summed = total(own)
        found.append(
            {
                "speaker": speaker,
                "utterances": len(own),
                "length": summed.length,
                "errors": summed.count,
                "rate": round(summed.rate, 6),
            }
        )
    return found


def _labels(
    outputs: Iterator[tuple[tuple[Tensor, Tensor | None], list[int]]], data: Any, folder: Path, part: str
) -> Report:
    names = data.tokenizer.tokens[SPECIAL:]
    tally, rows = Tally(len(names)), []
    for (logits, _), indices in outputs:
        scores = logits.float().cpu()
        labels = torch.tensor([data.parts[part].targets[index].item() for index in indices])
        tally.add(scores, labels, indices)
        shares, predicted = scores.softmax(-1).max(-1)
        columns = zip(indices, labels.tolist(), predicted.tolist(), shares.tolist(), strict=True)
        rows += list(columns)
    found = tally.classes(names)
    place = {"dataset": data.dataset, "part": part}
    write_json(folder / "classes.json", {**place, **found})
    write_csv(folder / "classes.csv", found["classes"])
    write_csv(
        folder / "clips.csv",
        [
            {
                "id": data.utterance(part, index).id,
                "label": names[label],
                "predicted": names[guess],
                "probability": round(share, 6),
            }
            for index, label, guess, share in sorted(rows)
        ],
    )
    if tally.confusion is not None:
        counts = tally.confusion
        write_json(folder / "confusion.json", {**place, "labels": names, "counts": counts.tolist()})
        title = f"{data.dataset}, {part}: {tally.right:,} of {tally.texts:,} right"
        draw_confusion(folder / "confusion.png", counts, names, title)
    return Report(f"{part} figures per label: {folder}", {"macro_f1": found["macro"]["f1"]})
