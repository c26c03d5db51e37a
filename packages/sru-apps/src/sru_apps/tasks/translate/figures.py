"""The report on a trained model: every sentence with its translation, and what translations are scored by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from sru_apps.tasks.translate.decoding import search
from sru_apps.train.report import Report
from sru_apps.train.strict_json import write_json
from sru_data.atomic import atomic_write

_COLUMNS = ("bleu", "chrf", "source", "reference", "translation")


def write(module: Any, data: Any, folder: Path, *, part: str, device: torch.device) -> Report:
    """Translate the sentences of a part of the data, compare them with the references and write the files.

    Args:
        module: The trained module.
        data: The data, set up.
        folder: Where `translations.txt` (one line per sentence, in the order of the data), `sentences.tsv`
            and `scores.json` go.
        part: The part of the data to measure on.
        device: Where to compute.
    """
    module.network.eval().to(device)
    pairs = data.parts[part]
    found = sorted(_translations(module, data, part, device))
    module.to("cpu")
    texts, translations = [pairs.text(index) for index, _ in found], [translation for _, translation in found]
    scorer = data.scorer()
    scores = scorer.corpus(translations, [text.targets for text in texts])
    bleu, chrf = scorer.signatures
    rows = [_COLUMNS]
    for text, translation in zip(texts, translations, strict=True):
        own = scorer.sentence(translation, text.targets)
        rows.append((f"{own.bleu:.2f}", f"{own.chrf:.2f}", text.source, text.targets[0], translation))
    with atomic_write(folder / "translations.txt") as file:
        file.writelines(f"{_on_one_line(translation)}\n".encode() for translation in translations)
    with atomic_write(folder / "sentences.tsv") as file:
        file.writelines(("\t".join(map(_on_one_line, row)) + "\n").encode() for row in rows)
    place = {"dataset": data.dataset, "part": part, "sentences": len(texts), "beam": module.config.beam}
    signatures = {"bleu_signature": bleu, "chrf_signature": chrf}
    write_json(folder / "scores.json", {**place, **scores._asdict(), **signatures})
    lines = [
        f"{part} BLEU {scores.bleu:.2f} ({bleu})",
        f"{part} chrF {scores.chrf:.2f} ({chrf})",
        f"{part} translations: {folder}",
    ]
    return Report("\n".join(lines))


@torch.inference_mode()
def _translations(module: Any, data: Any, part: str, device: torch.device) -> Iterator[tuple[int, str]]:
    """Yield the numbers of the sentences with their translations, in batches of like length."""
    for batch in data.val_dataloader() if part == "validation" else data.test_dataloader():
        mask = None if batch.source_mask is None else batch.source_mask.to(device)
        hypotheses = search(module.network, batch.source.to(device), mask, beam=module.config.beam)
        for index, (best, *_) in zip(batch.index.tolist(), hypotheses, strict=True):
            yield index, data.tokenizer.decode(best.ids)


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
