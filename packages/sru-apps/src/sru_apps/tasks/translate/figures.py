"""The report on a trained model: every sentence with its translation, and the scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sru_apps.train.report import Report
from sru_apps.train.strict_json import write_json
from sru_apps.utf8 import on_one_line
from sru_data.atomic import atomic_write

_COLUMNS = ("bleu", "chrf", "source", "reference", "translation")


def write(module: Any, data: Any, folder: Path, *, part: str, device: torch.device) -> Report:
    """Write the translations of a part of the data, and compare them with the references.

    Args:
        module: The trained module, which has just evaluated the part and stores its translations.
        data: The data, set up.
        folder: Where to write `translations.txt` (one line per sentence, in the order of the data),
            `sentences.tsv` and `scores.json`.
        part: The part of the data to report on.
        device: Not used; the translations already exist.
    """
    found = sorted(module.translations[part].items())
    texts = [data.parts[part].text(index) for index, _ in found]
    references = [data.references(text.targets) for text in texts]
    translations = [translation for _, translation in found]
    scorer = data.scorer()
    scores = scorer.corpus(translations, references)
    bleu, chrf = scorer.signatures
    rows = [_COLUMNS]
    for text, targets, translation in zip(texts, references, translations, strict=True):
        own = scorer.sentence(translation, targets)
        rows.append((f"{own.bleu:.2f}", f"{own.chrf:.2f}", text.source, targets[0], translation))
    with atomic_write(folder / "translations.txt") as file:
        file.writelines(f"{on_one_line(translation)}\n".encode() for translation in translations)
    with atomic_write(folder / "sentences.tsv") as file:
        file.writelines(("\t".join(map(on_one_line, row)) + "\n").encode() for row in rows)
    place = {"dataset": data.dataset, "part": part, "sentences": len(texts), "beam": module.config.beam}
    signatures = {"bleu_signature": bleu, "chrf_signature": chrf}
    write_json(folder / "scores.json", {**place, **scores._asdict(), **signatures})
    lines = [
        f"{part} BLEU {scores.bleu:.2f} ({bleu})",
        f"{part} chrF {scores.chrf:.2f} ({chrf})",
        f"{part} translations: {folder}",
    ]
    return Report("\n".join(lines))
